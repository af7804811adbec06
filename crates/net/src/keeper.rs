//! Makes records durable on a thread of its own, as commits wait for the disk.
//!
//! All that came in while one commit ran goes into the next (group commit); answers come in the order of the requests.
//! Nothing here waits for the disk, so what waits is bounded: past the bound it is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self as blocking, TryRecvError};
use std::time::{Duration, Instant};
use std::{io, thread};

use rumormill_core::Record;
use rumormill_core::io::Token;
use rumormill_core::limits::Limits;
use tokio::sync::mpsc;

use crate::directory::DataDir;

/// How many bytes may wait for the disk; what comes on top is refused.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// A request of no more than this is never refused: a node that cannot store its boot stops.
const SMALL_BYTES: usize = 4 << 10;

/// From so many on the driver should take in less.
const WAITING_BYTES_MANY: usize = 16 << 20;

/// What a record takes in memory beside its key and its value.
const RECORD_OVERHEAD: usize = 64;

/// How many bytes one commit takes up at most, unless a single request has more.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Who was just answered often asks again at once. The next commit waits for that as long as this part of what the last
/// one took, and not longer than [`PATIENCE_MAX`]: otherwise the writers fall into two halves that take turns, and each
/// commit serves one of them.
const PATIENCE_PART: u32 = 4;
const PATIENCE_MAX: Duration = Duration::from_millis(1);

/// After a commit that failed the next one waits for as long as that took, as the store was opened and checked again, and not
/// longer than this: a full disk must not cost a processor.
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(1);

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
    bytes: usize,
    /// Too much waited when it came.
    is_refused: bool,
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Keeper {
    way: Way,
    answers: mpsc::UnboundedReceiver<Answer>,
    waiting: Arc<Waiting>,
}

/// What waits for the disk.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    jobs: AtomicUsize,
}

#[derive(Debug)]
enum Way {
    /// Nothing is kept: every request is answered at once.
    Memory(mpsc::UnboundedSender<Answer>),
    /// A thread commits.
    Disk(blocking::Sender<Job>),
}

impl Keeper {
    pub(crate) fn memory() -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        Self { way: Way::Memory(answer), answers, waiting: Arc::default() }
    }

    /// Starts the thread that commits to `directory` and holds it until the keeper is closed.
    pub(crate) fn disk(directory: DataDir) -> io::Result<Self> {
        let (keeper, committer) = Self::pair(directory);
        thread::Builder::new().name("rumor-store".to_owned()).spawn(move || committer.run())?;
        Ok(keeper)
    }

    fn pair(directory: DataDir) -> (Self, Committer) {
        let (job, jobs) = blocking::channel();
        let (answer, answers) = mpsc::unbounded_channel();
        let waiting = Arc::<Waiting>::default();
        let committer = Committer {
            directory,
            jobs,
            answers: answer,
            waiting: Arc::clone(&waiting),
            expected: 0,
            took: Duration::ZERO,
            has_failed: false,
        };
        (Self { way: Way::Disk(job), answers, waiting }, committer)
    }

    pub(crate) fn persist(&self, token: Token, records: Vec<Record>) {
        match &self.way {
            Way::Memory(answers) => {
                answers.send(Answer { token, result: Ok(()) }).expect("the keeper holds both ends");
            }
            Way::Disk(jobs) => {
                let bytes: usize = records.iter().map(size).sum();
                let waiting = self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
                let is_refused = waiting > 0 && waiting + bytes > WAITING_BYTES_MAX && bytes > SMALL_BYTES;
                let (records, bytes) = if is_refused {
                    self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
                    (Vec::new(), 0)
                } else {
                    (records, bytes)
                };
                self.waiting.jobs.fetch_add(1, Ordering::Relaxed);
                // The thread ends before the keeper only when it panics: then no answer comes, and nothing is said.
                jobs.send(Job { token, records, bytes, is_refused }).unwrap_or_default();
            }
        }
    }

    /// Whether so much waits for the disk that the driver should take in less.
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting.bytes.load(Ordering::Relaxed) >= WAITING_BYTES_MANY
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
        let Self { way, mut answers, .. } = self;
        drop(way);
        while answers.recv().await.is_some() {}
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        let Self { way: _, answers: _, waiting } = self;
        to.bytes("records", waiting.bytes.load(Ordering::Relaxed), WAITING_BYTES_MAX);
    }
}

fn size(Record { key, value }: &Record) -> usize {
    key.len() + value.as_ref().map_or(0, Vec::len) + RECORD_OVERHEAD
}

/// The thread's end.
struct Committer {
    directory: DataDir,
    jobs: blocking::Receiver<Job>,
    answers: mpsc::UnboundedSender<Answer>,
    waiting: Arc<Waiting>,
    /// How many jobs waited, those in it included, when the last commit ended.
    expected: usize,
    /// How long the last commit took.
    took: Duration,
    /// The last commit did not get through.
    has_failed: bool,
}

impl Committer {
    fn run(mut self) {
        // Whoever waits for the end of the answers may open the directory right then.
        while let Some(first) = self.next_job() {
            let group = self.gather(first);
            self.commit(group);
        }
        let Self { directory, answers, .. } = self;
        drop(directory);
        drop(answers);
    }

    /// Waits for a job, and tidies up in the meantime. `None` when the driver is gone.
    fn next_job(&mut self) -> Option<Job> {
        while self.directory.store.is_compacting() {
            match self.jobs.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                // What goes wrong here the next commit says.
                Err(TryRecvError::Empty) => self.directory.store.compact().unwrap_or_default(),
            }
        }
        self.jobs.recv().ok()
    }

    /// All jobs that wait, and those that are expected soon.
    fn gather(&self, first: Job) -> Vec<Job> {
        let patience = if self.has_failed {
            self.took.min(FAILED_PAUSE_MAX)
        } else {
            (self.took / PATIENCE_PART).min(PATIENCE_MAX)
        };
        let until = Instant::now() + patience;
        let mut bytes = first.bytes;
        let mut group = vec![first];
        while bytes < GROUP_BYTES_MAX {
            let job = match self.jobs.try_recv() {
                Err(TryRecvError::Empty) if self.has_failed || group.len() < self.expected => {
                    self.jobs.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
                }
                job => job.ok(),
            };
            let Some(job) = job else { break };
            bytes += job.bytes;
            group.push(job);
        }
        group
    }

    fn commit(&mut self, group: Vec<Job>) {
        let is_any = group.iter().any(|job| !job.is_refused);
        let records = group.iter().flat_map(|job| &job.records);
        let begun = Instant::now();
        let result = if is_any { self.directory.store.commit(records) } else { Ok(()) };
        let result = result.map_err(|error| Arc::<str>::from(error.to_string()));
        self.took = begun.elapsed();
        self.has_failed = result.is_err();
        self.expected = self.waiting.jobs.load(Ordering::Relaxed);
        let too_much = || Err(format!("more than {WAITING_BYTES_MAX} bytes wait for the disk").into());
        for Job { token, records, bytes, is_refused } in group {
            drop(records);
            self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.waiting.jobs.fetch_sub(1, Ordering::Relaxed);
            let result = if is_refused { too_much() } else { result.clone() };
            // The driver may be gone.
            self.answers.send(Answer { token, result }).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::directory::{self, Opened};
    use crate::store::tests::contents;

    /// Names the directory to the child process.
    const CHILD: &str = "RUMOR_TEST_KEEPER";
    /// The child writes these keys over and over, so that compaction goes on too.
    const KEYS: u64 = 400;

    fn one(key: u64, value: Vec<u8>) -> Vec<Record> {
        vec![Record { key: format!("key/{key}").into_bytes(), value: Some(value) }]
    }

    fn opened() -> (tempfile::TempDir, DataDir, Arc<AtomicU64>) {
        let directory = tempfile::tempdir().unwrap();
        let opened = directory::open(directory.path()).unwrap().directory;
        let room = opened.store.room();
        (directory, opened, room)
    }

    #[tokio::test]
    async fn answers_come_in_order_and_say_why_not() {
        let (path, directory, room) = opened();
        let mut keeper = Keeper::disk(directory).unwrap();
        keeper.persist(Token(1), one(1, vec![1]));
        assert_eq!(keeper.answer().await.result, Ok(()));
        room.store(1, Ordering::Relaxed);
        keeper.persist(Token(2), one(2, vec![2]));
        let Answer { token, result } = keeper.answer().await;
        assert_eq!((token, result), (Token(2), Err("no storage space".into())));
        room.store(u64::MAX, Ordering::Relaxed);
        for token in 3..9 {
            keeper.persist(Token(token), one(token, vec![3]));
        }
        for token in 3..9 {
            let Answer { token: answered, result } = keeper.answer().await;
            assert_eq!((answered, result), (Token(token), Ok(())));
        }
        keeper.close().await;
        let kept = contents(&directory::open(path.path()).unwrap().directory.store);
        assert_eq!(kept.len(), 7);
        assert!(!kept.contains_key(b"key/2".as_slice()));
    }

    #[test]
    fn after_a_failure_the_next_commit_waits_as_long_as_that_took() {
        let (_path, directory, room) = opened();
        let (keeper, mut committer) = Keeper::pair(directory);
        let next = |committer: &mut Committer| {
            keeper.persist(Token(1), one(1, vec![1]));
            let (begun, first) = (Instant::now(), committer.next_job().unwrap());
            let group = committer.gather(first);
            committer.commit(group);
            begun.elapsed()
        };
        room.store(1, Ordering::Relaxed);
        next(&mut committer);
        assert!(committer.has_failed);
        room.store(u64::MAX, Ordering::Relaxed);
        committer.took = Duration::from_millis(50);
        assert!(next(&mut committer) >= Duration::from_millis(50));
        assert!(!committer.has_failed);
    }

    #[tokio::test]
    async fn what_waits_for_the_disk_is_bounded() {
        let (_path, directory, _room) = opened();
        let (mut keeper, committer) = Keeper::pair(directory);
        let quarter = WAITING_BYTES_MAX / 4;
        for token in 1..=6 {
            assert_eq!(keeper.is_behind(), token > 1);
            keeper.persist(Token(token), one(token, vec![0; quarter]));
        }
        assert!(keeper.waiting.bytes.load(Ordering::Relaxed) <= WAITING_BYTES_MAX);
        let thread = thread::spawn(|| committer.run());
        for token in 1..=6 {
            let Answer { token: answered, result } = keeper.answer().await;
            assert_eq!((answered, result.is_ok()), (Token(token), token <= 3));
        }
        assert!(!keeper.is_behind());
        keeper.persist(Token(7), one(7, vec![0; 2 * WAITING_BYTES_MAX]));
        assert_eq!(keeper.answer().await.result, Ok(()), "one that is too long is not refused for ever");
        keeper.close().await;
        thread.join().unwrap();
    }

    /// Not a test of its own: commits and says what was acknowledged until it is killed.
    #[tokio::test]
    async fn child() {
        let Some(path) = std::env::var_os(CHILD) else { return };
        let directory = directory::open(&PathBuf::from(path)).unwrap().directory;
        let first = contents(&directory.store).values().map(|value| number(value)).max().map_or(1, |last| last + 1);
        let mut keeper = Keeper::disk(directory).unwrap();
        let persist = |keeper: &Keeper, token: u64| {
            let mut value = token.to_le_bytes().to_vec();
            value.resize(usize::try_from(8 + token % 3_000).unwrap(), 7);
            keeper.persist(Token(token), one(token % KEYS, value));
        };
        for token in first..first + 16 {
            persist(&keeper, token);
        }
        loop {
            let Answer { token, result } = keeper.answer().await;
            result.unwrap();
            writeln!(io::stdout(), "stored {}", token.0).unwrap();
            persist(&keeper, token.0 + 16);
        }
    }

    fn number(value: &[u8]) -> u64 {
        u64::from_le_bytes(*value.first_chunk().unwrap())
    }

    fn spawn_child(path: &Path) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "keeper::tests::child", "--nocapture"]).env(CHILD, path);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn what_was_acknowledged_is_there_after_a_kill_at_any_moment() {
        let path = tempfile::tempdir().unwrap();
        let mut acknowledged = BTreeMap::new();
        let mut last = 0;
        for round in 0..16_u64 {
            let mut child = spawn_child(path.path());
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            // How many answers are waited for. In the first round none: it ends before or while the store is made.
            let patience = round * round * 7 % 601;
            let mut answered = 0;
            if patience == 0 {
                child.kill().unwrap();
            }
            for line in lines.map_while(Result::ok) {
                let Some((_, token)) = line.split_once("stored ") else { continue };
                let token = token.parse::<u64>().unwrap();
                assert!(token > last, "{token} after {last}");
                last = token;
                acknowledged.insert(format!("key/{}", token % KEYS).into_bytes(), token);
                answered += 1;
                if answered == patience {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            assert!(answered >= patience, "the child ended by itself");
            let Opened { directory, warning, .. } = directory::open(path.path()).unwrap();
            assert_eq!(warning, None);
            let kept = contents(&directory.store);
            for (key, token) in &acknowledged {
                let value = &kept[key];
                assert!(number(value) >= *token, "round {round}: {} instead of {token}", number(value));
                assert_eq!(value.len() as u64, 8 + number(value) % 3_000);
            }
        }
        assert!(last > 2_000);
    }
}
