//! What befalls a network in a run: faults and work, as values that can be drawn, printed and scheduled.

use std::fmt;
use std::time::Duration;

use rumormill_core::duration;

/// What a restarted node finds of its earlier life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DiskFate {
    /// Its data directory: it is the same member.
    Kept,
    /// Nothing: it is a new member.
    Lost,
}

/// One thing that happens, to nodes given by number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Act {
    /// The machine loses power: nothing answers any more.
    Crash(usize),
    /// The process is killed: the machine closes its streams and refuses new ones.
    Kill(usize),
    /// A node that is down starts again. Without a member to rejoin through it is told a contact.
    Restart(usize, DiskFate),
    /// The process stops for a while and then finds all that came in meanwhile.
    Pause(usize, Duration),
    /// Each group is cut off from all others; nodes in no group stay together.
    Partition(Vec<Vec<usize>>),
    /// Nothing gets from the first to the second; the way back works.
    OneWay(usize, usize),
    /// All cuts end.
    Heal,
    /// Writes to its disk fail from now on.
    DiskFails(usize),
    /// Its disk takes writes again.
    DiskWorks(usize),
    /// It leaves for good.
    Leave(usize),
    /// It publishes a message of so many bytes.
    Publish(usize, usize),
}

/// An act and its time since the start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Planned {
    /// When.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// As on the command line of the laboratory: `crash:n17`, `pause:n3:4s`, `partition:n1,n2/n3`.
impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(node) => write!(f, "crash:n{node}"),
            Self::Kill(node) => write!(f, "kill:n{node}"),
            Self::Restart(node, DiskFate::Kept) => write!(f, "restart:n{node}"),
            Self::Restart(node, DiskFate::Lost) => write!(f, "restart:n{node}:lost"),
            Self::Pause(node, length) => write!(f, "pause:n{node}:{}", duration::format(*length)),
            Self::Partition(groups) => {
                let group = |nodes: &Vec<usize>| nodes.iter().map(|n| format!("n{n}")).collect::<Vec<_>>().join(",");
                write!(f, "partition:{}", groups.iter().map(group).collect::<Vec<_>>().join("/"))
            }
            Self::OneWay(from, to) => write!(f, "oneway:n{from}:n{to}"),
            Self::Heal => write!(f, "heal"),
            Self::DiskFails(node) => write!(f, "disk-fails:n{node}"),
            Self::DiskWorks(node) => write!(f, "disk-works:n{node}"),
            Self::Leave(node) => write!(f, "leave:n{node}"),
            Self::Publish(node, bytes) => write!(f, "publish:n{node}:{bytes}"),
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.act, duration::format(self.at))
    }
}
