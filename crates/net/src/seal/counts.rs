//! Why what came in was not opened, and how often.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Why a datagram was not opened. Nothing else happened because of it, and its sender learns nothing.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Unsealed {
    /// Too short, or not what an honest node seals.
    Malformed,
    /// Of another cluster.
    Foreign,
    /// Sealed with a key that this node does not accept.
    UnknownKey,
    /// In a session that did not introduce itself to this node: its next datagram will.
    UnknownSession,
    /// Older than the window.
    Old,
    /// Further ahead than the window.
    Ahead,
    /// It came before, or so many came since that this is not known any more.
    Replayed,
    /// It does not open: forged, damaged, or meant for another node.
    Forged,
}

impl Unsealed {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Malformed, "malformed"),
        (Self::Foreign, "foreign"),
        (Self::UnknownKey, "unknown_key"),
        (Self::UnknownSession, "unknown_session"),
        (Self::Old, "old"),
        (Self::Ahead, "ahead"),
        (Self::Replayed, "replayed"),
        (Self::Forged, "forged"),
    ];
}

/// What was not opened, by cause, from the start of the process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SealCounts {
    causes: [u64; Unsealed::ALL.len()],
    /// Streams that ended before both sides had proved that they have a key in common, or were too slow about it.
    pub handshakes: u64,
    /// Who last ended a stream before it answered the first word that this node had sealed, if none was taken since: either there
    /// is no key in common, and this node may have been off while the keys changed, or it had no room.
    pub refused_by: Option<SocketAddr>,
}

impl SealCounts {
    /// Datagrams and streams by the cause for which they were not opened, for documents and metrics: `malformed`, `foreign` (another
    /// cluster), `unknown_key`, `unknown_session` (not introduced yet), `old`, `ahead` (by the sender's clock), `replayed`,
    /// `forged` (forged, damaged, or meant for another node).
    pub fn by_cause(&self) -> [(&'static str, u64); Unsealed::ALL.len()] {
        std::array::from_fn(|index| (Unsealed::ALL[index].1, self.causes[index]))
    }
}

#[derive(Debug, Default)]
pub(crate) struct SealCounters {
    causes: [AtomicU64; Unsealed::ALL.len()],
    pub(crate) handshakes: AtomicU64,
    refused_by: Mutex<Option<SocketAddr>>,
}

impl SealCounters {
    pub(crate) fn note(&self, cause: Unsealed) {
        self.causes[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A stream to somebody was refused, or one was taken.
    pub(crate) fn note_refusal(&self, by: Option<SocketAddr>) {
        *self.refused_by.lock().unwrap_or_else(PoisonError::into_inner) = by;
    }

    pub(crate) fn read(&self) -> SealCounts {
        SealCounts {
            causes: std::array::from_fn(|index| self.causes[index].load(Ordering::Relaxed)),
            handshakes: self.handshakes.load(Ordering::Relaxed),
            refused_by: *self.refused_by.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_counts_under_its_own_name() {
        for (cause, name) in Unsealed::ALL {
            let counters = SealCounters::default();
            counters.note(cause);
            for (counted, count) in counters.read().by_cause() {
                assert_eq!(count, u64::from(counted == name), "{counted}");
            }
        }
    }
}
