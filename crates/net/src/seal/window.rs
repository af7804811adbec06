//! Which datagrams of a session came already.

/// How many datagrams of one session may overtake each other on their way to one receiver; what comes later is dropped, as
/// the network might have done.
const REORDERED_MAX: usize = 32;

/// The counters of the last datagrams of one session.
///
/// A session counts in microseconds of its clock, over all its receivers, so that a bitmap behind the highest counter, as in
/// ESP (RFC 4303 §3.4.3), would be nearly empty. The last few counters themselves take its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// In ascending order.
    seen: Vec<u64>,
    /// This and all below count as seen.
    floor: u64,
}

impl Window {
    pub(super) fn is_new(&self, counter: u64) -> bool {
        counter > self.floor && self.seen.binary_search(&counter).is_err()
    }

    /// Notes one that is new, and authentic.
    pub(super) fn take(&mut self, counter: u64) {
        debug_assert!(self.is_new(counter), "asked before");
        if let Err(place) = self.seen.binary_search(&counter) {
            self.seen.insert(place, counter);
        }
        if self.seen.len() > REORDERED_MAX {
            self.floor = self.seen.remove(0);
        }
    }

    /// The highest counter that came.
    pub(super) fn last(&self) -> u64 {
        self.seen.last().copied().unwrap_or(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_is_new_once_and_not_once_it_is_older_than_the_window() {
        let mut window = Window::default();
        for counter in (100..200).rev() {
            if window.is_new(counter) {
                window.take(counter);
            }
        }
        assert!(!window.is_new(150));
        assert!(window.is_new(99) || window.floor >= 99);
        for counter in 200..232 {
            window.take(counter);
        }
        assert!(!window.is_new(199) && !window.is_new(1));
        assert!(window.is_new(232));
        assert_eq!(window.last(), 231);
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice(counters in prop::collection::vec(1_u64..80, 0..300)) {
            let mut window = Window::default();
            let mut taken = std::collections::BTreeSet::new();
            for counter in counters {
                if window.is_new(counter) {
                    prop_assert!(taken.insert(counter));
                    window.take(counter);
                }
                prop_assert!(window.seen.len() <= REORDERED_MAX);
                prop_assert!(!window.is_new(counter));
            }
        }
    }
}
