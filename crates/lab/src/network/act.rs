//! What befalls a network in a run: faults and work, as values that can be drawn, printed and scheduled.

use std::fmt;
use std::time::Duration;

use crate::scenario::Fault;

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
    /// From now on the process stops for a time, runs for a time, and so on; zero ends it.
    Slow(usize, Duration),
    /// From now on nothing that it sends or is sent gets through for a time, then all of it, then for as long what comes, and so
    /// on, while its clock and its timers run; zero ends it.
    Stall(usize, Duration),
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
    /// Its time of day is so far ahead from now on.
    Clock(usize, Duration),
    /// It leaves for good.
    Leave(usize),
    /// One of its settings, by key, has another value from its next start on.
    Set(usize, String, String),
    /// So many new nodes start, at random moments within a span, and join through one that is up.
    Add(usize, Duration),
    /// It publishes a message of so many bytes.
    Publish(usize, usize),
    /// It changes something in the database; what is drawn then, from what it shows.
    Write(usize),
}

/// An act and its time since the start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Planned {
    /// When.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// As on the command line of the laboratory: `crash:n17@10s`, `pause:n3:4s@5s`, `partition:n1,n2/n3@5s`.
impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fault::from(self.clone()).fmt(f)
    }
}
