//! What tests on sockets of this machine share.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use rumormill::{Builder, Cluster, ConfigBuilder, EventKind, Events, MemberChange, NodeId};

/// Far more than any of these tests needs on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn node(name: &str) -> Builder {
    Cluster::builder(name).bind("127.0.0.1:0").config(ConfigBuilder::local())
}

pub(crate) async fn start(name: &str) -> Cluster {
    node(name).start().await.unwrap()
}

pub(crate) async fn join(node: &Cluster, contact: &Cluster) {
    let contact = contact.local_address();
    assert_eq!(within(node.join([contact.to_string()])).await.unwrap(), contact);
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it took too long")
}

/// Waits until the node that `events` come from is told this about a member.
pub(crate) async fn until(events: &mut Events, change: MemberChange, member: NodeId) {
    let told = async {
        while let Some(event) = events.next().await {
            if let Ok(event) = event
                && let EventKind::Member { change: what, member: whom, .. } = event.kind
                && (what, whom.id) == (change, member)
            {
                return;
            }
        }
        panic!("the node stopped");
    };
    within(told).await;
}
