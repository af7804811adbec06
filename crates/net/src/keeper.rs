//! Makes records durable on a thread of its own, as commits wait for the disk.
//!
//! All that came in while one commit ran goes into the next (group commit); answers come in the order of the requests.

use std::io;
use std::sync::{Arc, mpsc as blocking};
use std::{iter, thread};

use rumormill_core::Record;
use rumormill_core::io::Token;
use tokio::sync::mpsc;

use crate::directory::DataDir;

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) token: Token,
    /// The records are durable, or why not.
    pub(crate) result: Result<(), Arc<str>>,
}

#[derive(Debug)]
struct Job {
    token: Token,
    records: Vec<Record>,
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Keeper {
    way: Way,
    answers: mpsc::UnboundedReceiver<Answer>,
}

#[derive(Debug)]
enum Way {
    /// Nothing is kept: every request is answered at once.
    Memory(mpsc::UnboundedSender<Answer>),
    /// A thread commits. The queue is bounded by what the node has under way.
    Disk(blocking::Sender<Job>),
}

impl Keeper {
    pub(crate) fn memory() -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        Self { way: Way::Memory(answer), answers }
    }

    /// Starts the thread that commits to `directory` and holds it until the keeper is closed.
    pub(crate) fn disk(directory: DataDir) -> io::Result<Self> {
        let (job, jobs) = blocking::channel();
        let (answer, answers) = mpsc::unbounded_channel();
        thread::Builder::new().name("rumor-store".to_owned()).spawn(move || commit_all(directory, jobs, answer))?;
        Ok(Self { way: Way::Disk(job), answers })
    }

    pub(crate) fn persist(&self, token: Token, records: Vec<Record>) {
        match &self.way {
            Way::Memory(answers) => {
                answers.send(Answer { token, result: Ok(()) }).expect("the keeper holds both ends");
            }
            // The thread ends before the keeper only when it panics: then no answer comes, and nothing is said.
            Way::Disk(jobs) => jobs.send(Job { token, records }).unwrap_or_default(),
        }
    }

    /// The next answer, in order of the requests. Cancel safe.
    pub(crate) async fn answer(&mut self) -> Answer {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// Waits until all is written and the directory is free.
    pub(crate) async fn close(self) {
        let Self { way, mut answers } = self;
        drop(way);
        while answers.recv().await.is_some() {}
    }
}

fn commit_all(mut directory: DataDir, jobs: blocking::Receiver<Job>, answers: mpsc::UnboundedSender<Answer>) {
    while let Ok(first) = jobs.recv() {
        let group: Vec<Job> = iter::once(first).chain(jobs.try_iter()).collect();
        let result = directory.store.commit(group.iter().flat_map(|job| &job.records));
        let result = result.map_err(|error| Arc::from(error.to_string()));
        for Job { token, .. } in group {
            // The driver may be gone.
            answers.send(Answer { token, result: result.clone() }).ok();
        }
    }
    // Whoever waits for the end of the answers may open the directory right then.
    drop(directory);
    drop(answers);
}
