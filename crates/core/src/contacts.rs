//! How a node finds the cluster, and finds it again: contacts, former members, and what is remembered of them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::few::Few;
use crate::io::Ticket;
use crate::rng::Rng;
use crate::slots::reserve_one;

/// Addresses of members that died or left (design §2, partition).
const FORMER_MAX: usize = 64;
/// Contacts at once.
const CONTACTS_MAX: usize = 256;

/// An address that this node was given to join through.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
struct Contact {
    /// The commands that wait for it.
    tickets: Vec<Ticket>,
    failures: u32,
}

/// Whom a node could ask for the cluster.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Contacts {
    /// Not answered yet.
    waiting: Few<SocketAddr, Contact>,
    /// Every contact ever given: tried again when the node is alone.
    known: Vec<SocketAddr>,
    former: Vec<SocketAddr>,
}

impl Contacts {
    pub(crate) fn new(known: Vec<SocketAddr>, former: Vec<SocketAddr>) -> Self {
        let mut contacts = Self { waiting: Few::new(), known: Vec::new(), former: Vec::new() };
        for address in known {
            contacts.add(address, None);
        }
        for address in former {
            contacts.note_former(address);
        }
        contacts
    }

    /// A contact to try; beyond the cap the oldest gives way. `ticket` is told when it answers.
    pub(crate) fn add(&mut self, address: SocketAddr, ticket: Option<Ticket>) {
        self.known.retain(|known| *known != address);
        if self.known.len() == CONTACTS_MAX {
            let oldest = self.known.remove(0);
            self.waiting.remove(&oldest);
        }
        reserve_one(&mut self.known);
        self.known.push(address);
        self.waiting.get_or_default(address).tickets.extend(ticket);
    }

    /// Contacts that have not answered.
    pub(crate) fn waiting(&self) -> Vec<SocketAddr> {
        self.waiting.keys().copied().collect()
    }

    pub(crate) fn is_waiting(&self, address: SocketAddr) -> bool {
        self.waiting.contains_key(&address)
    }

    /// A contact answered. Returns the commands that waited for it; others that were named with it are not needed
    /// any more to get in, but stay known.
    pub(crate) fn answered(&mut self, address: SocketAddr) -> Vec<Ticket> {
        let Some(contact) = self.waiting.remove(&address) else { return Vec::new() };
        for other in self.waiting.values_mut() {
            other.tickets.retain(|ticket| !contact.tickets.contains(ticket));
        }
        // Who was named with it by nobody else is left alone; contacts without a command are tried until they answer.
        self.waiting.retain(|_, other| !other.tickets.is_empty() || contact.tickets.is_empty());
        contact.tickets
    }

    /// A contact is none any more, or turned out to be this node itself. Returns the commands that wait for nobody else.
    pub(crate) fn forget(&mut self, address: SocketAddr) -> Vec<Ticket> {
        self.known.retain(|known| *known != address);
        let Some(contact) = self.waiting.remove(&address) else { return Vec::new() };
        let waits = |ticket: &Ticket| self.waiting.values().any(|other| other.tickets.contains(ticket));
        contact.tickets.into_iter().filter(|ticket| !waits(ticket)).collect()
    }

    /// A contact did not answer: how long to wait before it is tried again, doubling from `min` to `max`. From the second
    /// time on it is anything between half of that and all of it: many that were refused in one moment must not come back
    /// in one.
    pub(crate) fn failed(
        &mut self,
        address: SocketAddr,
        min: Duration,
        max: Duration,
        rng: &mut Rng,
    ) -> Option<Duration> {
        let contact = self.waiting.get_mut(&address)?;
        let longest = min.saturating_mul(1 << contact.failures.min(20)).min(max);
        contact.failures = contact.failures.saturating_add(1);
        Some(if longest == min { min } else { longest.mul_f64(1.0 - rng.fraction() / 2.0) })
    }

    pub(crate) fn note_former(&mut self, address: SocketAddr) {
        self.former.retain(|former| *former != address);
        if self.former.len() == FORMER_MAX {
            self.former.remove(0);
        }
        self.former.push(address);
    }

    /// A live member has this address.
    pub(crate) fn note_member(&mut self, address: SocketAddr) {
        self.former.retain(|former| *former != address);
    }

    /// Nobody is to be sought at an address any more.
    pub(crate) fn strike(&mut self, address: SocketAddr) {
        self.former.retain(|former| *former != address);
        self.known.retain(|known| *known != address);
    }

    pub(crate) fn former(&self) -> &[SocketAddr] {
        &self.former
    }

    /// Whether there is anybody to try who is not a live member.
    pub(crate) fn has_lost(&self, is_live: impl Fn(SocketAddr) -> bool) -> bool {
        !self.former.is_empty() || self.known.iter().any(|known| !is_live(*known))
    }

    /// Somebody to try: a former member, or a contact that is no live member.
    pub(crate) fn pick_lost(&self, rng: &mut Rng, is_live: impl Fn(SocketAddr) -> bool) -> Option<SocketAddr> {
        let lost: Vec<SocketAddr> =
            self.former.iter().chain(&self.known).copied().filter(|address| !is_live(*address)).collect();
        (!lost.is_empty()).then(|| lost[rng.below(lost.len())])
    }
}

/// The wait until this node tries a lost member, so that `members` nodes together make one try in each `interval`:
/// exponential, so that drawing it again changes nothing.
#[expect(clippy::cast_precision_loss, reason = "members are far fewer than 2^53")]
pub(crate) fn rejoin_wait(interval: Duration, members: usize, rng: &mut Rng) -> Duration {
    let mean = interval.as_secs_f64() * members.max(1) as f64;
    let drawn = -mean * (1.0 - rng.fraction()).ln();
    Duration::from_secs_f64(drawn.clamp(interval.as_secs_f64() / 10.0, 3_600.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_that_does_not_answer_is_tried_again_later_and_later() {
        let address = "127.0.0.1:1".parse().unwrap();
        let mut contacts = Contacts::new(vec![address], Vec::new());
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(5));
        let rng = &mut Rng::new(7);
        for longest in [1, 2, 4, 5, 5].map(Duration::from_secs) {
            let wait = contacts.failed(address, min, max, rng).unwrap();
            assert!(
                wait <= longest && wait >= longest / 2 && (longest > min || wait == min),
                "{wait:?} of {longest:?}"
            );
        }
    }

    #[test]
    fn a_contact_that_is_none_any_more_is_not_tried_and_whoever_waits_for_it_alone_is_told() {
        let [first, second] = ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().unwrap());
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        contacts.add(first, Some(Ticket(1)));
        contacts.add(second, Some(Ticket(1)));
        contacts.add(second, Some(Ticket(2)));
        assert_eq!(contacts.forget(second), [Ticket(2)], "the other command has another contact");
        assert!(!contacts.is_waiting(second) && contacts.is_waiting(first));
        assert_eq!(contacts.forget(first), [Ticket(1)]);
        assert!(!contacts.has_lost(|_| false));
    }

    #[test]
    fn a_cluster_of_any_size_makes_about_one_try_in_each_interval() {
        let mut rng = Rng::new(3);
        let mean = (0..10_000).map(|_| rejoin_wait(Duration::from_secs(1), 50, &mut rng).as_secs_f64()).sum::<f64>();
        // The mean of 10,000 exponential draws of mean 50 has a standard error of 0.5.
        assert!((mean / 10_000.0 - 50.0).abs() < 2.5, "{mean}");
    }
}
