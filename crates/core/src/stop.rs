//! When a rumor is no longer passed on.
//!
//! All decisions are here: the running node (`rumors`) and the laboratory's models tell a rule what
//! happened (a send, what a receiver knew, whom a round met) and are told whether the holder loses interest. What a
//! holder must remember for that is one number, its [`Interest`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// The largest K: beyond it a rumor would practically never stop.
const K_MAX: u32 = 10_000;
/// The largest lambda.
const LAMBDA_MAX: f64 = 100.0;

/// The stop rule of a rumor: the same type serves the running node and the laboratory's models.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum StopRule {
    /// Everybody keeps going: for experiments, as it never falls silent.
    Never,
    /// Lose interest after `k` contacts, whatever the others knew (Demers et al. 1987 §1.4, blind and counter).
    BlindCounter {
        /// How many, from 1 to 10,000.
        k: u32,
    },
    /// Lose interest with probability 1/k after each contact (Demers et al. 1987 §1.4, blind and coin).
    BlindCoin {
        /// One in how many, from 1 to 10,000.
        k: u32,
    },
    /// Lose interest after `k` contacts in a row that knew the rumor already; one that did not resets the count
    /// (Demers et al. 1987 §1.4, feedback and counter).
    FeedbackCounter {
        /// How many, from 1 to 10,000.
        k: u32,
    },
    /// Lose interest with probability 1/k after each contact that knew the rumor already (Demers et al. 1987 §1.4,
    /// feedback and coin).
    FeedbackCoin {
        /// One in how many, from 1 to 10,000.
        k: u32,
    },
    /// Infect and die: pass it on once, to `fanout` peers. Those of one round differ; a running node sends to some at once
    /// and to others later, and may tell one twice.
    ForwardOnce,
    /// Karp et al. 2000 §4: a holder in state B counts up in a round in which it met more that had counted as far as
    /// itself than others; at `k` it goes on for `k` rounds more (state C) and is silent then (D). Needs the counters of
    /// those met, which the messages of the running node do not carry: for models only.
    MedianCounter {
        /// The largest count, from 1 to 10,000; of the order of ln ln n.
        k: u32,
    },
    /// Send at most `lambda · log10(n + 1)` times (memberlist's retransmit limit; SWIM §4.1 has `lambda log n`). An
    /// upper bound: who is told that a receiver knew more than half of a packet halves what is left.
    TransmitLimit {
        /// The factor, above 0 and at most 100.
        lambda: f64,
    },
}

/// What one holder of a rumor remembers for its stop rule: the sends that are left, the contacts in a row that knew it,
/// or how far it has counted.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Interest(u32);

impl StopRule {
    /// What the rule's parameter must be, if it is not that.
    pub fn breach(self) -> Option<&'static str> {
        let holds = match self {
            Self::Never | Self::ForwardOnce => true,
            Self::BlindCounter { k }
            | Self::BlindCoin { k }
            | Self::FeedbackCounter { k }
            | Self::FeedbackCoin { k }
            | Self::MedianCounter { k } => (1..=K_MAX).contains(&k),
            Self::TransmitLimit { lambda } => lambda > 0.0 && lambda <= LAMBDA_MAX,
        };
        (!holds).then_some("a stop rule with K from 1 to 10000, or LAMBDA above 0 and at most 100")
    }

    /// How often a rumor may be sent by one node in a cluster of `members` that sends to `fanout` peers at a round;
    /// `None` for no bound.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "lambda is at most 100 and the logarithm of any usize is below 20"
    )]
    pub fn sends_max(self, members: usize, fanout: usize) -> Option<u32> {
        match self {
            Self::Never
            | Self::BlindCoin { .. }
            | Self::FeedbackCounter { .. }
            | Self::FeedbackCoin { .. }
            | Self::MedianCounter { .. } => None,
            Self::BlindCounter { k } => Some(k),
            Self::ForwardOnce => Some(u32::try_from(fanout).unwrap_or(u32::MAX)),
            Self::TransmitLimit { lambda } => Some((lambda * ((members + 1) as f64).log10()).ceil().max(1.0) as u32),
        }
    }

    /// Whether receivers should say for each update whether they knew it.
    pub const fn asks_feedback(self) -> bool {
        matches!(self, Self::FeedbackCounter { .. } | Self::FeedbackCoin { .. })
    }

    /// The interest of who has just learned a rumor.
    pub fn begin(self, members: usize, fanout: usize) -> Interest {
        match self {
            Self::MedianCounter { .. } => Interest(1),
            Self::Never
            | Self::BlindCounter { .. }
            | Self::BlindCoin { .. }
            | Self::FeedbackCounter { .. }
            | Self::FeedbackCoin { .. }
            | Self::ForwardOnce
            | Self::TransmitLimit { .. } => Interest(self.sends_max(members, fanout).unwrap_or(0)),
        }
    }

    /// Whether a holder is past the largest count of a median counter: in state C.
    #[inline]
    pub fn is_late(self, interest: Interest) -> bool {
        matches!(self, Self::MedianCounter { k } if interest.0 >= k)
    }

    /// The interest of who learned it from one that is late: it goes straight to state C.
    #[inline]
    pub fn begin_late(self, interest: Interest) -> Interest {
        match self {
            Self::MedianCounter { k } => Interest(k),
            Self::Never
            | Self::BlindCounter { .. }
            | Self::BlindCoin { .. }
            | Self::FeedbackCounter { .. }
            | Self::FeedbackCoin { .. }
            | Self::ForwardOnce
            | Self::TransmitLimit { .. } => interest,
        }
    }

    /// A round ended in which the holder met `ahead` more that had counted at least as far as itself than others: true if
    /// a median counter falls silent. From 1 to k − 1 it is in state B; from k on in C, for k rounds.
    #[inline]
    pub fn on_round(self, interest: &mut Interest, ahead: i32) -> bool {
        let Self::MedianCounter { k } = self else { return false };
        if interest.0 >= k || ahead > 0 {
            interest.0 += 1;
        }
        interest.0 >= 2 * k
    }

    /// It was sent to somebody: true if the sender loses interest.
    #[inline]
    pub fn on_sent(self, interest: &mut Interest, rng: &mut Rng) -> bool {
        match self {
            Self::Never | Self::FeedbackCounter { .. } | Self::FeedbackCoin { .. } | Self::MedianCounter { .. } => {
                false
            }
            Self::BlindCounter { .. } | Self::ForwardOnce | Self::TransmitLimit { .. } => {
                interest.0 = interest.0.saturating_sub(1);
                interest.0 == 0
            }
            Self::BlindCoin { k } => falls(k, rng),
        }
    }

    /// A receiver told whether it `knew` the rumor: true if the sender loses interest. Under a transmit limit nobody is
    /// asked, and who says so unasked knew more than half of a packet: what is left of all in it is halved.
    #[inline]
    pub fn on_heard(self, interest: &mut Interest, knew: bool, rng: &mut Rng) -> bool {
        match self {
            Self::Never
            | Self::BlindCounter { .. }
            | Self::BlindCoin { .. }
            | Self::ForwardOnce
            | Self::MedianCounter { .. } => false,
            Self::FeedbackCounter { k } => {
                interest.0 = if knew { interest.0 + 1 } else { 0 };
                interest.0 >= k
            }
            Self::FeedbackCoin { k } => knew && falls(k, rng),
            Self::TransmitLimit { .. } => {
                interest.0 /= 2;
                interest.0 == 0
            }
        }
    }
}

/// A coin that falls on its rarer side one time in `k`.
#[inline]
fn falls(k: u32, rng: &mut Rng) -> bool {
    rng.below(k as usize) == 0
}

impl fmt::Display for StopRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => write!(f, "never"),
            Self::BlindCounter { k } => write!(f, "blind-counter:{k}"),
            Self::BlindCoin { k } => write!(f, "blind-coin:{k}"),
            Self::FeedbackCounter { k } => write!(f, "feedback-counter:{k}"),
            Self::FeedbackCoin { k } => write!(f, "feedback-coin:{k}"),
            Self::ForwardOnce => write!(f, "forward-once"),
            Self::MedianCounter { k } => write!(f, "median-counter:{k}"),
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
        let (name, parameter) = text.split_once(':').unwrap_or((text, ""));
        let k = parameter.parse().ok();
        let rule = match name {
            "never" if parameter.is_empty() => Some(Self::Never),
            "forward-once" if parameter.is_empty() => Some(Self::ForwardOnce),
            "blind-counter" => k.map(|k| Self::BlindCounter { k }),
            "blind-coin" => k.map(|k| Self::BlindCoin { k }),
            "feedback-counter" => k.map(|k| Self::FeedbackCounter { k }),
            "feedback-coin" => k.map(|k| Self::FeedbackCoin { k }),
            "median-counter" => k.map(|k| Self::MedianCounter { k }),
            "transmit-limit" => parameter.parse().ok().map(|lambda| Self::TransmitLimit { lambda }),
            _ => None,
        };
        rule.filter(|rule| rule.breach().is_none()).ok_or_else(|| {
            format!(
                "{text:?} is not a stop rule; write never, blind-counter:K, blind-coin:K, feedback-counter:K, \
                 feedback-coin:K, forward-once, median-counter:K (K from 1 to 10000) or transmit-limit:LAMBDA (above 0, \
                 at most 100)"
            )
        })
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

    /// How many of 10,000 holders lose interest at the first `event`.
    fn ends(event: impl Fn(&mut Interest, &mut Rng) -> bool) -> usize {
        let mut rng = Rng::new(7);
        (0..10_000).filter(|_| event(&mut Interest::default(), &mut rng)).count()
    }

    #[test]
    fn the_transmit_limit_grows_with_the_logarithm_of_the_cluster() {
        let rule = StopRule::TransmitLimit { lambda: 4.0 };
        let limits: Vec<_> = [1, 9, 99, 999].map(|n| rule.sends_max(n, 3).unwrap()).into();
        assert_eq!(limits, [2, 4, 8, 12]);
    }

    #[test]
    fn blind_rules_count_sends_and_do_not_listen() {
        let mut rng = Rng::new(1);
        for (rule, sends) in [(StopRule::BlindCounter { k: 3 }, 3), (StopRule::ForwardOnce, 5)] {
            let mut interest = rule.begin(99, 5);
            assert!(!rule.on_heard(&mut interest, true, &mut rng));
            let sent = 1 + (0..100).take_while(|_| !rule.on_sent(&mut interest, &mut rng)).count();
            assert_eq!(sent, sends, "{rule}");
        }
    }

    #[test]
    fn only_a_contact_that_knew_counts_under_feedback_and_one_that_did_not_resets() {
        let (rule, mut rng) = (StopRule::FeedbackCounter { k: 2 }, Rng::new(1));
        let mut interest = rule.begin(99, 1);
        let ended = [true, false, true, true].map(|knew| rule.on_heard(&mut interest, knew, &mut rng));
        assert_eq!(ended, [false, false, false, true]);
        assert!(!rule.on_sent(&mut interest, &mut rng));
    }

    #[test]
    fn a_median_counter_counts_rounds_among_those_ahead_then_goes_on_for_k_more() {
        let rule = StopRule::MedianCounter { k: 3 };
        let mut interest = rule.begin(99, 1);
        let silent = [0, -1, 1, 1].map(|ahead| rule.on_round(&mut interest, ahead));
        assert_eq!((silent, interest, rule.is_late(interest)), ([false; 4], Interest(3), true));
        assert_eq!(rule.begin_late(Interest(1)), interest);
        let silent = [0, 0, 0].map(|ahead| rule.on_round(&mut interest, ahead));
        assert_eq!(silent, [false, false, true]);
    }

    #[test]
    fn coins_fall_one_time_in_k() {
        let (blind, feedback) = (StopRule::BlindCoin { k: 4 }, StopRule::FeedbackCoin { k: 4 });
        // 2,500 each; four standard deviations are 174.
        assert!(ends(|interest, rng| blind.on_sent(interest, rng)).abs_diff(2_500) < 174);
        assert!(ends(|interest, rng| feedback.on_heard(interest, true, rng)).abs_diff(2_500) < 174);
        assert_eq!(ends(|interest, rng| feedback.on_heard(interest, false, rng)), 0);
        assert_eq!(ends(|interest, rng| feedback.on_sent(interest, rng)), 0);
    }

    #[test]
    fn rules_read_as_they_print_and_others_are_refused() {
        for text in [
            "never",
            "blind-counter:1",
            "blind-coin:3",
            "feedback-counter:2",
            "feedback-coin:4",
            "forward-once",
            "median-counter:3",
            "transmit-limit:4",
        ] {
            assert_eq!(text.parse::<StopRule>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "never:1",
            "forward-once:2",
            "blind-coin",
            "median-counter:10001",
            "feedback-counter:0",
            "transmit-limit:0",
            "transmit-limit:NaN",
            "always",
        ] {
            assert!(text.parse::<StopRule>().is_err(), "{text}");
        }
    }
}
