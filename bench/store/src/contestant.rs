//! Those that are measured, each behind the same few calls.

use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;
use std::{iter, thread};

use rumormill::bench::Keeping;
use rumormill_core::{Record, Stored};
use tokio::runtime::Runtime;

use crate::TURN;
use crate::engines::{Bare, Engine, Fjall, Redb};

/// Who is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Appends and synchronises: no store, but the disk's own time.
    Bare,
    /// The library's store, through its keeper.
    Ours,
    /// redb with a table by key.
    Redb,
    Fjall,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::Ours, Self::Redb, Self::Fjall];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare file",
            Self::Ours => "redb as a log",
            Self::Redb => "redb by key",
            Self::Fjall => "fjall",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == name).expect("the parent names one of them")
    }

    pub(crate) fn open(self, path: &Path) -> Box<dyn Contestant> {
        match self {
            Self::Bare => Box::new(Grouped(Bare::open(path))),
            Self::Ours => Box::new(Ours::open(path)),
            Self::Redb => Box::new(Grouped(Redb::open(path))),
            Self::Fjall => Box::new(Grouped(Fjall::open(path))),
        }
    }
}

/// Something that makes records durable.
pub(crate) trait Contestant {
    /// Has writers that each wait for their record before they write the next; returns how many became durable.
    fn serve(&mut self, writers: usize, records: &mut dyn FnMut() -> Record) -> u32;

    fn commit(&mut self, records: Vec<Record>);

    /// All records, each once.
    fn read(self: Box<Self>) -> Values;
}

/// The values of all records, as a node holds them.
pub(crate) type Values = Vec<Box<[u8]>>;

/// The library's own.
struct Ours {
    runtime: Runtime,
    keeping: Keeping,
    stored: Stored,
}

impl Ours {
    fn open(path: &Path) -> Self {
        let (keeping, stored) = Keeping::open(path).expect("it opens");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtimes can be built");
        Self { runtime, keeping, stored }
    }

    fn wait(&mut self) {
        assert!(self.runtime.block_on(self.keeping.stored()), "it is stored");
    }
}

impl Contestant for Ours {
    fn serve(&mut self, writers: usize, records: &mut dyn FnMut() -> Record) -> u32 {
        let begun = Instant::now();
        (0..writers).for_each(|_| self.keeping.persist(vec![records()]));
        let mut stored = 0;
        while begun.elapsed() < TURN {
            self.wait();
            stored += 1;
            self.keeping.persist(vec![records()]);
        }
        (0..writers).for_each(|_| self.wait());
        stored
    }

    fn commit(&mut self, records: Vec<Record>) {
        self.keeping.persist(records);
        self.wait();
    }

    fn read(self: Box<Self>) -> Values {
        self.stored.data
    }
}

/// Group commit for the others, as the keeper does it.
struct Grouped<E>(E);

impl<E: Engine> Contestant for Grouped<E> {
    fn serve(&mut self, writers: usize, records: &mut dyn FnMut() -> Record) -> u32 {
        let (job, jobs) = mpsc::channel::<Record>();
        let (answer, answers) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                while let Ok(first) = jobs.recv() {
                    let group: Vec<Record> = iter::once(first).chain(jobs.try_iter()).collect();
                    self.0.commit(&group);
                    for _ in &group {
                        answer.send(()).unwrap_or_default();
                    }
                }
            });
            let begun = Instant::now();
            (0..writers).for_each(|_| job.send(records()).expect("the thread listens"));
            let mut stored = 0;
            while begun.elapsed() < TURN {
                answers.recv().expect("the thread answers");
                stored += 1;
                job.send(records()).expect("the thread listens");
            }
            drop(job);
            stored
        })
    }

    fn commit(&mut self, records: Vec<Record>) {
        self.0.commit(&records);
    }

    fn read(self: Box<Self>) -> Values {
        self.0.read()
    }
}
