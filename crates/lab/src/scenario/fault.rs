//! What befalls a run, in the words in which people write it: `crash:0.5@10s`, `restart:n17@20s`,
//! `partition:n1,n2/n3@5s`. Whatever is printed reads back as the same.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rumormill_core::duration;
use serde::{Deserialize, Serialize};

use crate::{Act, DiskFate, Planned};

/// Whom it befalls.
#[derive(Clone, Debug, PartialEq)]
pub enum Whom {
    /// Nodes by number, in this order.
    Nodes(Vec<usize>),
    /// This share of the nodes that it can befall then, drawn from the seed; at least one of them.
    Share(f64),
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// `crash:WHOM`: machines lose power; nothing answers any more.
    Crash(Whom),
    /// `kill:WHOM`: processes are killed; their machines close streams and refuse new ones.
    Kill(Whom),
    /// `restart:WHOM[:lost]`: those that are down start again, as the same members or, with lost disks, as new ones.
    Restart(Whom, DiskFate),
    /// `pause:WHOM:D`: processes stand still for a time and then find all that came in meanwhile.
    Pause(Whom, Duration),
    /// `slow:WHOM:D`: from then on processes stand still for D, run for D, and so on, all in step, as in Lifeguard's
    /// experiments (Dadgar et al. 2017 §V); `0s` ends it.
    Slow(Whom, Duration),
    /// `stall:WHOM:D`: from then on what processes send and are sent waits for D, passes for D, and so on, all in step, while
    /// their timers run; `0s` ends it.
    Stall(Whom, Duration),
    /// `partition:WHOM[/WHOM...]`: each group is cut off from all others; nodes in no group stay together.
    Partition(Vec<Whom>),
    /// `oneway:WHOM:WHOM`: nothing gets from the first to the second any more; the way back works.
    OneWay(Whom, Whom),
    /// `heal`: all cuts end.
    Heal,
    /// `churn:SHARE/s[:DOWN]`: from then on such a share of the nodes loses power in each second, at random moments, and
    /// each starts again after DOWN (10 s); `0/s` ends it.
    Churn {
        /// The share of the nodes in each second.
        share: f64,
        /// How long each is down.
        down: Duration,
    },
    /// `disk-fails:WHOM`: writes to their disks fail from then on.
    DiskFails(Whom),
    /// `disk-works:WHOM`: they work again.
    DiskWorks(Whom),
    /// `clock:WHOM:D`: their time of day is D ahead from then on.
    Clock(Whom, Duration),
    /// `leave:WHOM`: they leave for good.
    Leave(Whom),
    /// `set:WHOM:KEY=VALUE`: they have another setting from their next start on.
    Set(Whom, String, String),
    /// `add:COUNT[:WITHIN]`: so many new nodes start, at random moments within a span (at once).
    Add(usize, Duration),
    /// `publish:WHOM:BYTES`: each publishes a message.
    Publish(Whom, usize),
    /// `write:WHOM`: each changes something in the database; what is drawn then, from what it shows.
    Write(Whom),
}

impl What {
    /// All whom it names, in order.
    pub(super) fn befalls(&self) -> Vec<&Whom> {
        match self {
            Self::Crash(whom)
            | Self::Kill(whom)
            | Self::Restart(whom, _)
            | Self::Pause(whom, _)
            | Self::Slow(whom, _)
            | Self::Stall(whom, _)
            | Self::DiskFails(whom)
            | Self::DiskWorks(whom)
            | Self::Clock(whom, _)
            | Self::Leave(whom)
            | Self::Set(whom, ..)
            | Self::Publish(whom, _)
            | Self::Write(whom) => vec![whom],
            Self::OneWay(from, to) => vec![from, to],
            Self::Partition(groups) => groups.iter().collect(),
            Self::Heal | Self::Churn { .. } | Self::Add(..) => Vec::new(),
        }
    }
}

/// Something that happens, and when: `WHAT@WHEN`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fault {
    /// Since the start of the run.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// Messages to be published: `COUNT:BYTES@WHEN`, or `n3,n9:BYTES@WHEN`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Work {
    /// Since the start of the run.
    pub at: Duration,
    /// By whom.
    pub by: Publishers,
    /// How large each is.
    pub bytes: usize,
}

/// Who publishes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Publishers {
    /// So many messages by nodes drawn from the seed; one node may be drawn more than once.
    Count(usize),
    /// A message by each.
    Nodes(Vec<usize>),
}

/// How long a node is down in a churn of which nothing else is said.
const CHURN_DOWN: Duration = Duration::from_secs(10);

/// The words of the faults, as refusals list them.
const WORDS: &str = "crash, kill, restart, pause, slow, stall, partition, oneway, heal, churn, disk-fails, disk-works, \
                     clock, leave, set, add, publish or write";

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(nodes) => write_nodes(f, nodes),
            Self::Share(share) => write!(f, "{share}"),
        }
    }
}

fn write_nodes(f: &mut fmt::Formatter<'_>, nodes: &[usize]) -> fmt::Result {
    for (i, node) in nodes.iter().enumerate() {
        write!(f, "{}n{node}", if i > 0 { "," } else { "" })?;
    }
    Ok(())
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |length: &Duration| duration::format(*length);
        match self {
            Self::Crash(whom) => write!(f, "crash:{whom}"),
            Self::Kill(whom) => write!(f, "kill:{whom}"),
            Self::Restart(whom, DiskFate::Kept) => write!(f, "restart:{whom}"),
            Self::Restart(whom, DiskFate::Lost) => write!(f, "restart:{whom}:lost"),
            Self::Pause(whom, length) => write!(f, "pause:{whom}:{}", time(length)),
            Self::Slow(whom, length) => write!(f, "slow:{whom}:{}", time(length)),
            Self::Stall(whom, length) => write!(f, "stall:{whom}:{}", time(length)),
            Self::Partition(groups) if groups.is_empty() => write!(f, "partition:none"),
            Self::Partition(groups) => {
                write!(f, "partition:{}", groups.iter().map(Whom::to_string).collect::<Vec<_>>().join("/"))
            }
            Self::OneWay(from, to) => write!(f, "oneway:{from}:{to}"),
            Self::Heal => write!(f, "heal"),
            Self::Churn { share, down } if *down == CHURN_DOWN => write!(f, "churn:{share}/s"),
            Self::Churn { share, down } => write!(f, "churn:{share}/s:{}", time(down)),
            Self::DiskFails(whom) => write!(f, "disk-fails:{whom}"),
            Self::DiskWorks(whom) => write!(f, "disk-works:{whom}"),
            Self::Clock(whom, ahead) => write!(f, "clock:{whom}:{}", time(ahead)),
            Self::Leave(whom) => write!(f, "leave:{whom}"),
            Self::Set(whom, key, value) => write!(f, "set:{whom}:{key}={value}"),
            Self::Add(count, within) if within.is_zero() => write!(f, "add:{count}"),
            Self::Add(count, within) => write!(f, "add:{count}:{}", time(within)),
            Self::Publish(whom, bytes) => write!(f, "publish:{whom}:{bytes}"),
            Self::Write(whom) => write!(f, "write:{whom}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.what, duration::format(self.at))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            Publishers::Count(count) => write!(f, "{count}")?,
            Publishers::Nodes(nodes) => write_nodes(f, nodes)?,
        }
        write!(f, ":{}@{}", self.bytes, duration::format(self.at))
    }
}

impl FromStr for Whom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('n') {
            return text.split(',').map(node).collect::<Result<_, _>>().map(Self::Nodes);
        }
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share <= 1.0 => Ok(Self::Share(share)),
            Ok(_) | Err(_) => {
                Err("about nodes by name, as n3 or n3,n7, or about a share of them above 0 and at most 1, as 0.5"
                    .to_owned())
            }
        }
    }
}

fn node(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix('n').and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("about nodes by name, as n3 or n3,n7, and {text:?} is none"))
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        match word {
            "crash" => rest.parse().map(Self::Crash),
            "kill" => rest.parse().map(Self::Kill),
            "restart" => match rest.strip_suffix(":lost") {
                Some(whom) => whom.parse().map(|whom| Self::Restart(whom, DiskFate::Lost)),
                None => rest.parse().map(|whom| Self::Restart(whom, DiskFate::Kept)),
            },
            "pause" => with_time(rest, "pause:n3:4s", Self::Pause),
            "slow" => with_time(rest, "slow:0.04:2s", Self::Slow),
            "stall" => with_time(rest, "stall:0.04:2s", Self::Stall),
            "clock" => with_time(rest, "clock:n3:30s", Self::Clock),
            "partition" if rest == "none" => Ok(Self::Partition(Vec::new())),
            "partition" => rest.split('/').map(str::parse).collect::<Result<_, _>>().map(Self::Partition),
            "oneway" => {
                let (from, to) = two(rest, "oneway:n1:n2")?;
                Ok(Self::OneWay(from.parse()?, to.parse()?))
            }
            "heal" if rest.is_empty() && !text.ends_with(':') => Ok(Self::Heal),
            "heal" => Err("plain heal".to_owned()),
            "churn" => churn(rest),
            "disk-fails" => rest.parse().map(Self::DiskFails),
            "disk-works" => rest.parse().map(Self::DiskWorks),
            "leave" => rest.parse().map(Self::Leave),
            "set" => setting(rest),
            "add" => add(rest),
            "publish" => {
                let (whom, bytes) = two(rest, "publish:n3:100")?;
                Ok(Self::Publish(whom.parse()?, whole(bytes, "publish:n3:100")?))
            }
            "write" => rest.parse().map(Self::Write),
            _ => Err(format!("WHAT@WHEN with one of {WORDS}")),
        }
    }
}

fn written(example: &str) -> String {
    format!("written as {example}")
}

fn two<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once(':').ok_or_else(|| written(example))
}

fn whole(text: &str, example: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{} with a whole number", written(example)))
}

fn with_time(text: &str, example: &str, make: fn(Whom, Duration) -> What) -> Result<What, String> {
    let (whom, length) = two(text, example)?;
    Ok(make(whom.parse()?, time(length)?))
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|_| format!("with times such as 500ms, 10s or 5m, and {text:?} is none"))
}

fn churn(text: &str) -> Result<What, String> {
    let (rate, down) = text.split_once(':').map_or((text, None), |(rate, down)| (rate, Some(down)));
    let share = rate.strip_suffix("/s").and_then(|share| share.parse().ok());
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    let share = share.ok_or("written as churn:0.01/s with a share of the nodes from 0 to 1")?;
    Ok(What::Churn { share, down: down.map_or(Ok(CHURN_DOWN), time)? })
}

fn setting(text: &str) -> Result<What, String> {
    let example = "set:n3:fanout=4";
    let (whom, assignment) = two(text, example)?;
    let (key, value) = assignment.split_once('=').ok_or_else(|| written(example))?;
    Ok(What::Set(whom.parse()?, key.to_owned(), value.to_owned()))
}

fn add(text: &str) -> Result<What, String> {
    let (count, within) = text.split_once(':').map_or((text, None), |(count, within)| (count, Some(within)));
    Ok(What::Add(whole(count, "add:50:1s")?, within.map_or(Ok(Duration::ZERO), time)?))
}

fn what_and_when<'a>(text: &'a str, example: &str) -> Result<(&'a str, Duration), String> {
    let (what, when) = text.rsplit_once('@').ok_or_else(|| format!("{}, with @ and a time", written(example)))?;
    Ok((what, time(when)?))
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, at) = what_and_when(text, "crash:n3@10s")?;
        Ok(Self { at, what: what.parse()? })
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "10:64@5s or n3,n9:64@5s";
        let (what, at) = what_and_when(text, example)?;
        let (by, bytes) = two(what, example)?;
        let by = if by.starts_with('n') {
            Publishers::Nodes(by.split(',').map(node).collect::<Result<_, _>>()?)
        } else {
            Publishers::Count(whole(by, example)?)
        };
        Ok(Self { at, by, bytes: whole(bytes, example)? })
    }
}

impl TryFrom<String> for Fault {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

impl TryFrom<String> for Work {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Work> for String {
    fn from(work: Work) -> Self {
        work.to_string()
    }
}

impl From<Act> for What {
    fn from(act: Act) -> Self {
        let one = |node| Whom::Nodes(vec![node]);
        match act {
            Act::Crash(node) => Self::Crash(one(node)),
            Act::Kill(node) => Self::Kill(one(node)),
            Act::Restart(node, disk) => Self::Restart(one(node), disk),
            Act::Pause(node, length) => Self::Pause(one(node), length),
            Act::Slow(node, length) => Self::Slow(one(node), length),
            Act::Stall(node, length) => Self::Stall(one(node), length),
            // An empty group cuts off nobody.
            Act::Partition(groups) => {
                Self::Partition(groups.into_iter().filter(|group| !group.is_empty()).map(Whom::Nodes).collect())
            }
            Act::OneWay(from, to) => Self::OneWay(one(from), one(to)),
            Act::Heal => Self::Heal,
            Act::DiskFails(node) => Self::DiskFails(one(node)),
            Act::DiskWorks(node) => Self::DiskWorks(one(node)),
            Act::Clock(node, ahead) => Self::Clock(one(node), ahead),
            Act::Leave(node) => Self::Leave(one(node)),
            Act::Set(node, key, value) => Self::Set(one(node), key, value),
            Act::Add(count, within) => Self::Add(count, within),
            Act::Publish(node, bytes) => Self::Publish(one(node), bytes),
            Act::Write(node) => Self::Write(one(node)),
        }
    }
}

impl From<Planned> for Fault {
    fn from(Planned { at, act }: Planned) -> Self {
        Self { at, what: act.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whom() -> impl Strategy<Value = Whom> {
        prop_oneof![
            prop::collection::vec(0..100_000_usize, 1..5).prop_map(Whom::Nodes),
            (1..=1_000_u32).prop_map(|thousandths| Whom::Share(f64::from(thousandths) / 1_000.0)),
            (f64::MIN_POSITIVE..=1.0).prop_map(Whom::Share),
        ]
    }

    /// To the microsecond, up to a month.
    fn times() -> impl Strategy<Value = Duration> {
        prop_oneof![0..10_000_000_u64, 0..=2_592_000_000_000_u64].prop_map(Duration::from_micros)
    }

    fn what() -> impl Strategy<Value = What> {
        let fates = prop_oneof![Just(DiskFate::Kept), Just(DiskFate::Lost)];
        prop_oneof![
            whom().prop_map(What::Crash),
            whom().prop_map(What::Kill),
            (whom(), fates).prop_map(|(whom, disk)| What::Restart(whom, disk)),
            (whom(), times()).prop_map(|(whom, length)| What::Pause(whom, length)),
            (whom(), times()).prop_map(|(whom, length)| What::Slow(whom, length)),
            (whom(), times()).prop_map(|(whom, length)| What::Stall(whom, length)),
            prop::collection::vec(whom(), 0..4).prop_map(What::Partition),
            (whom(), whom()).prop_map(|(from, to)| What::OneWay(from, to)),
            Just(What::Heal),
            (0.0..=1.0, times()).prop_map(|(share, down)| What::Churn { share, down }),
            whom().prop_map(What::DiskFails),
            whom().prop_map(What::DiskWorks),
            (whom(), times()).prop_map(|(whom, ahead)| What::Clock(whom, ahead)),
            whom().prop_map(What::Leave),
            (whom(), "[a-z_]{1,8}", "[a-z0-9:.@= -]{0,8}").prop_map(|(whom, key, value)| What::Set(whom, key, value)),
            (0..10_000_usize, times()).prop_map(|(count, within)| What::Add(count, within)),
            (whom(), 0..1_000_000_usize).prop_map(|(whom, bytes)| What::Publish(whom, bytes)),
            whom().prop_map(What::Write),
        ]
    }

    fn works() -> impl Strategy<Value = Work> {
        let by = prop_oneof![
            (0..10_000_usize).prop_map(Publishers::Count),
            prop::collection::vec(0..10_000_usize, 1..5).prop_map(Publishers::Nodes),
        ];
        (times(), by, 0..1_000_000_usize).prop_map(|(at, by, bytes)| Work { at, by, bytes })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_as_the_same(what in what(), at in times(), work in works()) {
            let fault = Fault { at, what };
            prop_assert_eq!(fault.to_string().parse::<Fault>(), Ok(fault));
            prop_assert_eq!(work.to_string().parse::<Work>(), Ok(work));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-z0-9:@,/.=n-]{0,24}") {
            drop((text.parse::<Fault>(), text.parse::<Work>()));
        }
    }

    #[test]
    fn faults_read_as_people_write_them() {
        for text in [
            "crash:0.5@10s",
            "crash:n17@5s",
            "restart:n17@20s",
            "restart:n17:lost@20s",
            "pause:n3:4s@5s",
            "partition:0.5@10s",
            "partition:n1,n2/n3@10s",
            "partition:none@10s",
            "heal@40s",
            "oneway:n1:n2@5s",
            "slow:0.04:2s@5s",
            "stall:0.04:2s@5s",
            "churn:0.01/s@0s",
            "churn:0.01/s:3s@0s",
            "set:1:stop=feedback-counter:2@5s",
            "add:50:1s@5s",
            "disk-fails:n1@5s",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("10:64@5s".parse::<Work>().unwrap().to_string(), "10:64@5s");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_rule() {
        for (text, rule) in [
            ("crash:n3", "with @ and a time"),
            ("crash@3s", "nodes by name"),
            ("crash:1.5@3s", "above 0 and at most 1"),
            ("crash:NaN@3s", "above 0 and at most 1"),
            ("crash:n3,m4@3s", "\"m4\" is none"),
            ("crash:n3@soon", "times such as"),
            ("explode:n3@3s", "one of crash"),
            ("pause:n3@3s", "written as pause:n3:4s"),
            ("churn:0.01@3s", "written as churn:0.01/s"),
            ("heal:n3@3s", "plain heal"),
            ("set:n3:fanout@3s", "written as set:n3:fanout=4"),
        ] {
            let said = text.parse::<Fault>().unwrap_err();
            assert!(said.contains(rule), "{text}: {said}");
        }
    }
}
