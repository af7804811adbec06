//! How much memory the machine has left, so that what does not fit is refused rather than begun.

use std::fs;

use crate::Error;

/// What can be taken without swapping, in bytes; `None` where the system does not say.
pub fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// Refuses work that takes about `needed` bytes where they are not free.
///
/// # Errors
/// [`Error::Memory`], with the estimate.
pub fn check(needed: u64) -> Result<(), Error> {
    match available() {
        Some(available) if needed > available => Err(Error::Memory { needed, available }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused_with_the_estimate() {
        if available().is_some() {
            assert!(matches!(check(u64::MAX), Err(Error::Memory { needed: u64::MAX, .. })));
        }
        check(1).unwrap();
    }
}
