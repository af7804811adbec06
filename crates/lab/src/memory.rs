//! How much memory this machine has left, and how much this process holds.

use std::fs;

use crate::Error;

/// What the machine can still give, in bytes, and a container at most; unknown where the system does not say it as Linux
/// does.
pub fn available() -> Option<u64> {
    let machine = kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    // "max" is no number: there is no bound.
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|most| most.trim().parse().ok());
    Some(container.map_or(machine, |most: u64| most.min(machine)))
}

/// What this process holds in memory, in bytes; unknown where the system does not say it as Linux does.
pub fn resident() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Refuses work that needs more bytes than there are.
///
/// # Errors
/// [`Error::Memory`].
pub fn check(needed: u64) -> Result<(), Error> {
    fits(needed, available())
}

fn fits(needed: u64, free: Option<u64>) -> Result<(), Error> {
    match free {
        Some(available) if needed > available => Err(Error::Memory { needed, available }),
        Some(_) | None => Ok(()),
    }
}

/// The number behind a label, which counts kibibytes.
fn kibibytes(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_and_count_kibibytes() {
        let text = "MemTotal:       100 kB\nMemAvailable:    42 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(43_008));
        assert_eq!(kibibytes(text, "VmRSS:"), None);
    }

    #[test]
    fn what_needs_a_byte_more_than_is_free_is_refused() {
        let refused = fits(101, Some(100));
        assert!(matches!(refused, Err(Error::Memory { needed: 101, available: 100 })), "{refused:?}");
        assert!(fits(100, Some(100)).is_ok() && fits(u64::MAX, None).is_ok());
    }
}
