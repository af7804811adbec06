//! The replicated database of the cluster, which every node can read and write.
//!
//! ```no_run
//! # async fn example(cluster: rumormill::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let data = cluster.data();
//! data.put("color", "green").await?;
//! data.put("session/7", "ann").ttl(Duration::from_mins(5)).replicas(2).await?;
//! data.add("hits", 1).await?;
//! data.put_as("limits", &vec![10, 20]).await?;
//! assert_eq!(data.get_as::<Vec<u32>>("limits")?, Some(vec![10, 20]));
//!
//! let mut watch = data.watch("flags/").await?;
//! for entry in data.list("flags/") {
//!     println!("{entry}");
//! }
//! while let Some(news) = watch.next().await {
//!     println!("{news}");
//! }
//! # Ok(())
//! # }
//! ```

mod entries;
mod typed;
mod watch;
mod writing;

use std::sync::Arc;

pub use entries::Entries;
pub use rumormill_core::data::{
    Change, ChangeKind, Condition, ELEMENT_BYTES_MAX, Edit, Entry, Holds, KEY_BYTES_MAX, Kind, Page, Position,
    PositionError, Revision, Summary, Value, Write, Written,
};
pub use typed::TypeError;
pub use watch::{Changed, News, Watch};
pub use writing::Writing;

pub(crate) use watch::{Feed, limits};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::clock;
use crate::cluster::Shared;
use crate::error::Closed;
use crate::request::Request;

/// A handle to the data of a node, as good as the [`Cluster`](crate::Cluster) that it comes from: clones share it, and
/// it keeps the node running.
///
/// Reads are of what this node holds, at once, on any thread and without the node's task; after the node has stopped
/// they go on with what it held last. Writes are made when they are awaited, and done when they are durable here, or,
/// on request, on others too.
#[derive(Clone, Debug)]
pub struct Data(pub(crate) Arc<Shared>);

impl Data {
    /// What a key holds.
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.0.shelf.get(key, clock::wall())
    }

    /// What a key holds, as a type of the application's. A register holds it as JSON, as [`put_as`](Self::put_as) writes
    /// it; a counter is read as a number, a set as an array of strings.
    ///
    /// # Errors
    /// Where the key holds something that is no `T`.
    pub fn get_as<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, TypeError> {
        self.get(key).map(|entry| typed::decode(&entry)).transpose()
    }

    /// All keys that begin with `prefix`, with what they hold, in the order of their bytes. They are read piece by piece
    /// while the iterator is used, so that nobody waits for a long list; what changes meanwhile may or may not be seen.
    ///
    /// To follow a prefix without a gap, begin to [`watch`](Self::watch) it first.
    pub fn list(&self, prefix: impl Into<String>) -> Entries {
        Entries::new(self.0.shelf.clone(), prefix.into())
    }

    /// A piece of a list: keys that begin with `prefix` and come after `after`. At most 1,000, fewer where they are large.
    pub fn page(&self, prefix: &str, after: Option<&str>) -> Page {
        self.0.shelf.page(prefix, after, clock::wall())
    }

    /// The place of the last change: what is read from now on contains all changes up to it.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn position(&self) -> Result<Position, Closed> {
        let (sender, position) = oneshot::channel();
        let inspection = Box::new(move |node: &rumormill_core::Node| {
            // Who asked may have gone in the meantime.
            sender.send(node.data_position()).ok();
        });
        self.0.requests.send(Request::Inspect(inspection)).await.map_err(|_| Closed)?;
        position.await.map_err(|_| Closed)
    }

    /// What happens to keys that begin with `prefix`, from now on. It is in force when this returns, so that a list read
    /// afterwards misses nothing; a change may show in both.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn watch(&self, prefix: impl Into<String>) -> Result<Watch, Closed> {
        self.begin_watch(prefix.into(), None).await
    }

    /// What happened after a position that an earlier watch or list of this node gave, then what happens from now on.
    /// Begins with [`News::Reload`] where that is not known any more, or is of another start or node.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn watch_since(&self, prefix: impl Into<String>, since: Position) -> Result<Watch, Closed> {
        self.begin_watch(prefix.into(), Some(since)).await
    }

    async fn begin_watch(&self, prefix: String, since: Option<Position>) -> Result<Watch, Closed> {
        let (sender, watch) = oneshot::channel();
        self.0.requests.send(Request::Watch { prefix, since, watch: sender }).await.map_err(|_| Closed)?;
        watch.await.map_err(|_| Closed)
    }

    /// Gives a register a value.
    pub fn put(&self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Writing {
        self.one(key, Edit::Put { value: value.into(), ttl: None })
    }

    /// Gives a register a value of the application's, as JSON.
    pub fn put_as<T: Serialize + ?Sized>(&self, key: impl Into<String>, value: &T) -> Writing {
        match typed::encode(value) {
            Ok(value) => self.put(key, value),
            Err(refusal) => Writing::refused(&self.0, refusal),
        }
    }

    /// Deletes what this node sees of a key, of whatever kind. What others write at the same time stays.
    pub fn delete(&self, key: impl Into<String>) -> Writing {
        self.one(key, Edit::Delete)
    }

    /// Adds to a counter, which is made if there is none. Adds of all nodes count, also those made at the same time.
    pub fn add(&self, key: impl Into<String>, amount: i64) -> Writing {
        self.one(key, Edit::Add { amount })
    }

    /// Adds an element, 1 to 512 bytes, to a set, which is made if there is none.
    pub fn insert(&self, key: impl Into<String>, element: impl Into<Vec<u8>>) -> Writing {
        self.one(key, Edit::Insert { element: element.into() })
    }

    /// Takes an element out of a set.
    pub fn remove_element(&self, key: impl Into<String>, element: impl Into<Vec<u8>>) -> Writing {
        self.one(key, Edit::RemoveElement { element: element.into() })
    }

    /// Makes keys hold again what they held when they were read, on whichever node: all of them, or none if one is
    /// refused. Values that have run out are left out, and other keys stay as they are.
    pub fn restore(&self, entries: impl IntoIterator<Item = Entry>) -> Writing {
        self.write(entries.into_iter().map(Write::restore).collect())
    }

    /// Makes several writes together, in this order: all of them, or none if one is refused; others may see them one by
    /// one. [`Refusal::At`](crate::Refusal::At) names which was refused. Of very many, see
    /// [`in_pieces`](Writing::in_pieces).
    pub fn write(&self, writes: Vec<Write>) -> Writing {
        Writing::new(&self.0, writes)
    }

    fn one(&self, key: impl Into<String>, edit: Edit) -> Writing {
        self.write(vec![Write::new(key, edit)])
    }
}
