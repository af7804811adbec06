//! When a hot update is no longer pushed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The stop rule of a rumor (Demers et al. 1987, §1.4): the same type serves the running node and the
/// laboratory's models.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum StopRule {
    /// Everybody keeps going: for experiments, as it never falls silent.
    Never,
    /// Lose interest after `k` contacts in a row that knew the rumor already; one that did not resets the count.
    FeedbackCounter {
        /// How many, at least 1.
        k: u32,
    },
    /// Send at most `lambda · log10(n + 1)` times (memberlist's retransmit limit; SWIM §4.1 has `lambda log n`). An
    /// upper bound: who is told that a receiver knew more than half of a packet halves what is left.
    TransmitLimit {
        /// The factor, above 0 and at most 100.
        lambda: f64,
    },
}

impl StopRule {
    /// How often an update may be sent in a cluster of `members`, or `None` for no bound.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "lambda is at most 100 and the logarithm of any usize is below 20"
    )]
    pub fn sends_max(self, members: usize) -> Option<u32> {
        match self {
            Self::Never | Self::FeedbackCounter { .. } => None,
            Self::TransmitLimit { lambda } => Some((lambda * ((members + 1) as f64).log10()).ceil().max(1.0) as u32),
        }
    }

    /// Whether receivers should say for each update whether they knew it.
    pub const fn asks_feedback(self) -> bool {
        matches!(self, Self::FeedbackCounter { .. })
    }
}

impl fmt::Display for StopRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => write!(f, "never"),
            Self::FeedbackCounter { k } => write!(f, "feedback-counter:{k}"),
            Self::TransmitLimit { lambda } => write!(f, "transmit-limit:{lambda}"),
        }
    }
}

impl From<StopRule> for String {
    fn from(rule: StopRule) -> Self {
        rule.to_string()
    }
}

impl FromStr for StopRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "{text:?} is not a stop rule; write never, feedback-counter:K (K from 1) or transmit-limit:LAMBDA (above 0, at most 100)"
            )
        };
        let (rule, parameter) = text.split_once(':').unwrap_or((text, ""));
        match rule {
            "never" if parameter.is_empty() => Ok(Self::Never),
            "feedback-counter" => match parameter.parse() {
                Ok(k) if k >= 1 => Ok(Self::FeedbackCounter { k }),
                Ok(_) | Err(_) => Err(refuse()),
            },
            "transmit-limit" => match parameter.parse() {
                Ok(lambda) if lambda > 0.0 && lambda <= 100.0 => Ok(Self::TransmitLimit { lambda }),
                Ok(_) | Err(_) => Err(refuse()),
            },
            _ => Err(refuse()),
        }
    }
}

impl TryFrom<String> for StopRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transmit_limit_grows_with_the_logarithm_of_the_cluster() {
        let rule = StopRule::TransmitLimit { lambda: 4.0 };
        let limits: Vec<_> = [1, 9, 99, 999].map(|n| rule.sends_max(n).unwrap()).into();
        assert_eq!(limits, [2, 4, 8, 12]);
    }

    #[test]
    fn rules_read_as_they_print_and_others_are_refused() {
        for text in ["never", "feedback-counter:2", "transmit-limit:4"] {
            assert_eq!(text.parse::<StopRule>().unwrap().to_string(), text);
        }
        for text in ["", "never:1", "feedback-counter:0", "transmit-limit:0", "transmit-limit:NaN", "always"] {
            assert!(text.parse::<StopRule>().is_err(), "{text}");
        }
    }
}
