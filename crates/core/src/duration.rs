//! Durations as people write them: `500ms`, `10s`, `5m`, `2h`.

use std::time::Duration;

/// Reads a number with a unit: `us`, `ms`, `s`, `m` or `h`; a bare number is seconds. Fractions are fine (`1.5s`).
///
/// # Errors
/// A sentence that names the text and the rule.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is not a duration; write a number and a unit, as in 500ms, 10s, 5m, 2h");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let micros_per_unit = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" | "" => 1e6,
        "m" => 60e6,
        "h" => 3_600e6,
        _ => return Err(refuse()),
    };
    let number: f64 = number.parse().map_err(|_| refuse())?;
    Duration::try_from_secs_f64((number * micros_per_unit).round() / 1e6).map_err(|_| refuse())
}

/// Writes a duration in the largest unit that keeps it whole.
pub fn format(duration: Duration) -> String {
    let micros = duration.as_micros();
    for (unit, size) in [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)] {
        if micros > 0 && micros.is_multiple_of(size) {
            return format!("{}{unit}", micros / size);
        }
    }
    if micros == 0 { "0s".to_owned() } else { format!("{micros}us") }
}

/// For `#[serde(with = "duration::text")]`: a duration as people write it.
pub mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes it.
    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::format(*duration))
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        super::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_the_same_duration() {
        for text in ["500ms", "10s", "5m", "2h", "1500us", "90s", "0s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse("3"), Ok(Duration::from_secs(3)));
    }

    #[test]
    fn a_duration_without_sense_is_refused_with_the_rule() {
        for text in ["", "ms", "-1s", "1 s", "5d", "1e400s"] {
            assert!(parse(text).unwrap_err().contains("as in 500ms"), "{text}");
        }
    }
}
