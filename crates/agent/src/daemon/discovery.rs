//! Contacts that are looked for: hosts and services in the DNS, looked up again from time to time, and files, read when they have
//! changed. What cannot be found, or makes no sense, changes nothing, and is said once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rumormill::Cluster;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::dns::Resolver;
use crate::contact::Contact;
use crate::settings::Settings;

/// How often files are looked at.
const FILES_EVERY: Duration = Duration::from_secs(1);
/// How soon a name is looked up again of which nothing is known yet. Guess: a server of names that starts with everything else.
const UNKNOWN_RETRY: Duration = Duration::from_secs(5);
/// Longer than anything is waited for.
const FAR: Duration = Duration::from_hours(1);
/// No file of contacts is longer.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Contacts of one file.
const FILE_CONTACTS_MAX: usize = 256;

/// What to look for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    contacts: Vec<Contact>,
    interval: Duration,
    server: Option<SocketAddr>,
}

impl Wanted {
    pub(super) fn of(settings: &Settings) -> Self {
        let (contacts, interval) = (settings.join.clone(), settings.discovery_interval);
        Self { contacts, interval, server: settings.dns_server }
    }

    /// Whether there is anything to look for.
    pub(super) const fn is_any(&self) -> bool {
        !self.contacts.is_empty()
    }

    /// The contacts that a node can begin with by itself: it looks up hosts as the system does.
    pub(super) fn at_once(&self) -> Vec<String> {
        self.contacts.iter().filter(|contact| self.is_known_to_node(contact)).map(ToString::to_string).collect()
    }

    fn is_known_to_node(&self, contact: &Contact) -> bool {
        match contact {
            Contact::Address(_) => true,
            Contact::Host(..) => self.server.is_none(),
            Contact::Service(_) | Contact::File(_) => false,
        }
    }
}

/// Looks until the agent ends.
pub(super) async fn discover(cluster: Cluster, mut wanted: watch::Receiver<Wanted>) {
    let mut search = Search::begun(&wanted.borrow_and_update());
    loop {
        search.look_around().await;
        if let Some(contacts) = search.news() {
            let shown: Vec<String> = contacts.iter().map(ToString::to_string).collect();
            if cluster.set_contacts(contacts).await.is_err() {
                // The node has stopped, or leaves.
                return;
            }
            tracing::info!("contacts are now {}", if shown.is_empty() { "none".to_owned() } else { shown.join(", ") });
        }
        let due = search.due();
        tokio::select! {
            changed = wanted.changed() => match changed {
                Ok(()) => search.want_now(&wanted.borrow_and_update()),
                Err(_) => return,
            },
            Some(looked) = search.lookups.join_next() => search.note(looked),
            () = sleep_until(due) => {}
        }
    }
}

/// What is known of a host or service, and when it is looked up again.
#[derive(Debug)]
struct Place {
    found: Vec<SocketAddr>,
    due: Instant,
    said: Complaint,
}

/// A host or service, and what became of a lookup.
type Looked = (Contact, Result<Vec<SocketAddr>, String>);

/// What is in a file.
#[derive(Debug, Default)]
struct Listing {
    contacts: Vec<Contact>,
    said: Complaint,
}

/// What was wrong the last time.
#[derive(Debug, Default)]
struct Complaint(Option<String>);

impl Complaint {
    /// Says it, unless it has just been said.
    fn note(&mut self, of: &impl Display, result: Result<(), String>) {
        let wrong = result.err();
        if wrong == self.0 {
            return;
        }
        if let Some(wrong) = &wrong {
            tracing::warn!("join has {of}: {wrong}; what was known of it stays");
        } else {
            tracing::info!("join has {of}: it is found again");
        }
        self.0 = wrong;
    }
}

#[derive(Debug)]
struct Search {
    wanted: Wanted,
    places: BTreeMap<Contact, Place>,
    files: BTreeMap<PathBuf, Listing>,
    files_due: Instant,
    /// Those that are going on; none holds up what else there is to do.
    lookups: JoinSet<Looked>,
    /// What the node was told last; nothing where it is to be told anew, once all is looked up.
    told: Option<BTreeSet<SocketAddr>>,
}

impl Search {
    /// The node has begun with what it can look up itself: where there is nothing else, all is looked up again only once it is time.
    fn begun(wanted: &Wanted) -> Self {
        let now = Instant::now();
        let none = Wanted { contacts: Vec::new(), ..wanted.clone() };
        let mut search = Self {
            wanted: none,
            places: BTreeMap::new(),
            files: BTreeMap::new(),
            files_due: now,
            lookups: JoinSet::new(),
            told: None,
        };
        search.want(wanted);
        search.told = Some(search.addresses());
        if wanted.contacts.iter().all(|contact| wanted.is_known_to_node(contact)) {
            for place in search.places.values_mut() {
                place.due = now + jittered(wanted.interval);
            }
        }
        search
    }

    /// Other things are wanted from now on. The node looks up names that it began with by itself: from here on it is told.
    fn want_now(&mut self, wanted: &Wanted) {
        self.want(wanted);
        self.told = None;
        for place in self.places.values_mut().filter(|place| place.found.is_empty()) {
            place.due = Instant::now();
        }
    }

    /// Other things are wanted; what is known of those that still are stays.
    fn want(&mut self, wanted: &Wanted) {
        let asks_others = wanted.server != self.wanted.server;
        self.wanted = wanted.clone();
        let paths: BTreeSet<&PathBuf> = wanted.contacts.iter().filter_map(path_of).collect();
        self.files.retain(|path, _| paths.contains(path));
        for path in paths {
            self.files.entry(path.clone()).or_default();
        }
        self.files_due = Instant::now();
        if asks_others {
            self.lookups.abort_all();
        }
        let soonest = Instant::now() + wanted.interval;
        for place in self.places.values_mut() {
            place.due = if asks_others { Instant::now() } else { place.due.min(soonest) };
        }
        self.settle_places();
    }

    /// All contacts, those in files included.
    fn contacts(&self) -> BTreeSet<&Contact> {
        self.wanted.contacts.iter().chain(self.files.values().flat_map(|listing| &listing.contacts)).collect()
    }

    /// There is a place for each host and service, and no other.
    fn settle_places(&mut self) {
        let wanted: BTreeSet<Contact> =
            self.contacts().into_iter().filter(|contact| is_looked_up(contact)).cloned().collect();
        self.places.retain(|contact, _| wanted.contains(contact));
        for contact in wanted {
            let unknown = || Place { found: Vec::new(), due: Instant::now(), said: Complaint::default() };
            self.places.entry(contact).or_insert_with(unknown);
        }
    }

    /// Reads files and looks up names whose time has come.
    async fn look_around(&mut self) {
        if self.files_due <= Instant::now() {
            self.read_files().await;
            self.files_due = Instant::now() + FILES_EVERY;
        }
        self.look_up();
    }

    async fn read_files(&mut self) {
        for (path, listing) in &mut self.files {
            let file = path.clone();
            // Where the file is may be slow.
            let read = spawn_blocking(move || read(&file)).await.unwrap_or_else(|error| Err(error.to_string()));
            let result = read.map(|contacts| listing.contacts = contacts);
            listing.said.note(&Contact::File(path.clone()), result);
        }
        self.settle_places();
    }

    fn look_up(&mut self) {
        let (now, resolver) = (Instant::now(), Resolver { server: self.wanted.server });
        for (contact, place) in self.places.iter_mut().filter(|(_, place)| place.due <= now) {
            // Until it is known when else.
            place.due = now + FAR;
            let contact = contact.clone();
            self.lookups.spawn(async move {
                let found = match &contact {
                    Contact::Host(host, port) => resolver.host(host, *port).await,
                    Contact::Service(name) => resolver.service(name).await,
                    Contact::Address(_) | Contact::File(_) => Ok(Vec::new()),
                };
                (contact, found)
            });
        }
    }

    /// Takes what became of a lookup.
    fn note(&mut self, looked: Result<Looked, JoinError>) {
        let Ok((contact, found)) = looked else { return };
        let Some(place) = self.places.get_mut(&contact) else { return };
        let result = found.map(|found| place.found = found);
        place.said.note(&contact, result);
        let unknown = place.found.is_empty();
        let wait = if unknown { self.wanted.interval.min(UNKNOWN_RETRY) } else { self.wanted.interval };
        place.due = Instant::now() + jittered(wait);
    }

    fn addresses(&self) -> BTreeSet<SocketAddr> {
        let given = self.contacts().into_iter().filter_map(|contact| match contact {
            Contact::Address(address) => Some(*address),
            Contact::Host(..) | Contact::Service(_) | Contact::File(_) => None,
        });
        given.chain(self.places.values().flat_map(|place| place.found.iter().copied())).collect()
    }

    /// All contacts, if they are others than the node was told last.
    fn news(&mut self) -> Option<Vec<SocketAddr>> {
        if self.told.is_none() && !self.lookups.is_empty() {
            return None;
        }
        let addresses = self.addresses();
        if self.told.as_ref() == Some(&addresses) {
            return None;
        }
        self.told = Some(addresses.clone());
        Some(addresses.into_iter().collect())
    }

    /// When to look around again.
    fn due(&self) -> Instant {
        let far = Instant::now() + FAR;
        let files = if self.files.is_empty() { far } else { self.files_due };
        self.places.values().map(|place| place.due).fold(files, Instant::min)
    }
}

const fn path_of(contact: &Contact) -> Option<&PathBuf> {
    match contact {
        Contact::File(path) => Some(path),
        Contact::Address(_) | Contact::Host(..) | Contact::Service(_) => None,
    }
}

const fn is_looked_up(contact: &Contact) -> bool {
    matches!(contact, Contact::Host(..) | Contact::Service(_))
}

/// A tenth less to a tenth more, so that agents that started together do not ask together.
fn jittered(interval: Duration) -> Duration {
    let drawn = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default();
    interval.mul_f64(0.9 + 0.2 * f64::from(drawn) / f64::from(u32::MAX))
}

/// The contacts in a file; the first line that is none, and why.
fn read(path: &Path) -> Result<Vec<Contact>, String> {
    let mut text = String::new();
    let length = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    let length = length.map_err(|error| format!("it cannot be read ({error})"))?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
    }
    let contacts = Contact::lines(&text).map_err(|line| format!("line {line} is no contact"))?;
    if contacts.len() > FILE_CONTACTS_MAX {
        return Err(format!("it has {} contacts, must be at most {FILE_CONTACTS_MAX}", contacts.len()));
    }
    Ok(contacts)
}
