//! How much memory this machine has left, and how much this process holds.

use std::fs;

use crate::Error;

/// What the machine can still give, in bytes; unknown where the system does not say it as Linux does.
pub fn available() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
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
    match available() {
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
    fn more_than_any_machine_has_is_refused_where_the_system_says_what_it_has() {
        let refused = matches!(check(u64::MAX), Err(Error::Memory { needed: u64::MAX, .. }));
        assert_eq!(refused, available().is_some());
        check(0).unwrap();
    }
}
