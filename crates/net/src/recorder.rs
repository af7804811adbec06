//! The flight recorder: what happens to the node is written to a file that never grows beyond its bound, so that the laboratory can
//! run the same life again. [`rumormill_core::recording`] says how it lies there.
//!
//! It records what the core sees: datagrams out of their seals, pieces of streams, time, commands, what the disk said, and, where
//! identity is signed, what its signatures answered. The core knows no key, so none comes in. The file holds what the cluster says
//! nevertheless, and only its owner can read it.
//!
//! Nothing waits for the recorder. What it encodes goes to a thread of its own, at the latest a moment after; where
//! that thread falls behind by half a recording, or cannot write, the recording ends, an operator is told, and the node goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rumormill_core::limits::Limits;
use rumormill_core::recording::{Fingerprint, Heading, Kind, NoHalf, Notes};
use rumormill_core::{Input, Instant, Node, Now, Output, Signatures};

use crate::error::StartError;

/// What is encoded goes to the disk when it is this much,
const BATCH_BYTES: usize = 64 << 10;
/// or when the node rests, no more often than this: else the thread would be woken for nearly every input.
const FLUSH_PAUSE: Duration = Duration::from_millis(50);
/// A recording is at least this large: two halves, each for a snapshot and the largest inputs.
pub(crate) const RECORD_BYTES_MIN: u64 = 8 << 20;

/// Writes down a node's life.
#[derive(Debug)]
pub(crate) struct Recorder {
    heading: Heading,
    /// Bytes of the present half that are taken.
    used: u64,
    /// Which half is written.
    half: u64,
    /// Whole steps that were not handed over yet.
    batch: Vec<u8>,
    /// When something was handed over because the node rested.
    flushed_at: Instant,
    /// The step that the node is in.
    step: Vec<u8>,
    output: Vec<u8>,
    outputs: Fingerprint,
    /// What the node asks of its signatures.
    notes: Arc<Notes>,
    /// How many steps were written.
    steps: u64,
    /// What there is begins with a snapshot of this very node.
    begun: bool,
    writer: Writer,
}

impl Recorder {
    /// Begins a recording of so many bytes at most. A recording that is there already is kept beside it, as `.old`.
    pub(crate) fn open(path: &Path, bytes_max: u64) -> Result<Self, StartError> {
        let failed = |source| StartError::Record { path: path.to_owned(), source };
        let heading =
            Heading { version: env!("CARGO_PKG_VERSION").to_owned(), half_bytes: bytes_max / 2, number: 0, steps: 0 };
        let writer = Writer::start(create(path).map_err(failed)?, heading.half_bytes).map_err(failed)?;
        Ok(Self {
            heading,
            used: 0,
            half: 1,
            batch: Vec::new(),
            flushed_at: Instant::ZERO,
            step: Vec::new(),
            output: Vec::new(),
            outputs: Fingerprint::default(),
            notes: Arc::default(),
            steps: 0,
            begun: false,
            writer,
        })
    }

    /// What the node signs and checks with, so that this is recorded too.
    pub(crate) fn attend(&self, signatures: Arc<dyn Signatures>) -> Arc<dyn Signatures> {
        self.notes.of(signatures)
    }

    /// Another node takes the place of the one that was recorded.
    pub(crate) const fn begin_again(&mut self) {
        self.begun = false;
    }

    /// The node is about to be given an input.
    pub(crate) fn on_input(&mut self, at: Now, input: &Input<'_>) {
        self.step.clear();
        if self.begun {
            encode(&(at, input), &mut self.step);
        }
    }

    /// One of the things that it does then.
    pub(crate) fn on_output(&mut self, output: &Output) {
        if self.begun {
            self.output.clear();
            encode(output, &mut self.output);
            self.outputs.note(&self.output);
        }
    }

    /// That was all of them.
    ///
    /// # Errors
    /// Why the recording ends here.
    pub(crate) fn on_settled(&mut self, node: &Node) -> Result<(), String> {
        let testimony = self.notes.take();
        if !self.begun {
            self.flush()?;
            self.step.clear();
            self.turn(node, Kind::Birth)?;
            self.begun = true;
            return Ok(());
        }
        if self.step.is_empty() {
            return Ok(());
        }
        testimony.note(&mut self.outputs);
        encode(&(testimony.answers(), self.outputs.get()), &mut self.step);
        let filled = self.used + Heading::part_bytes(self.batch.len() + self.step.len()) as u64;
        if filled > self.heading.half_bytes {
            self.flush()?;
            return self.turn(node, Kind::Snapshot);
        }
        self.steps += 1;
        self.batch.append(&mut self.step);
        if self.batch.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// The node has nothing to do. Hands over what was encoded, or says when to come back for that.
    ///
    /// # Errors
    /// Why the recording ends here.
    pub(crate) fn rest(&mut self, now: Instant) -> Result<Option<Instant>, String> {
        self.writer.check()?;
        let due = self.flushed_at + FLUSH_PAUSE;
        if self.batch.is_empty() || now < due {
            return Ok(Some(due).filter(|_| !self.batch.is_empty()));
        }
        self.flushed_at = now;
        self.flush().map(|()| None)
    }

    /// Hands over what was encoded.
    fn flush(&mut self) -> Result<(), String> {
        if !self.batch.is_empty() {
            let part = self.heading.part(Kind::Steps, &self.batch);
            self.batch.clear();
            self.write(part)?;
        }
        self.writer.check()
    }

    /// Begins the other half: with the last step, for who comes from this one, and a snapshot.
    fn turn(&mut self, node: &Node, kind: Kind) -> Result<(), String> {
        let most = usize::try_from(self.heading.half_bytes / 2).unwrap_or(usize::MAX);
        let mut snapshot = Bounded { bytes: Vec::new(), most };
        postcard::to_io(&node.snapshot(), &mut snapshot)
            .map_err(|_| format!("the node's state takes more than {most} bytes, a quarter of record_bytes_max"))?;
        self.heading.number += 1;
        self.heading.steps = self.steps;
        (self.half, self.used, self.outputs) = (1 - self.half, 0, Fingerprint::default());
        let mut parts = self.heading.to_bytes();
        if !self.step.is_empty() {
            parts.extend(self.heading.part(Kind::StepBefore, &self.step));
            self.step.clear();
            self.steps += 1;
        }
        parts.extend(self.heading.part(kind, &snapshot.bytes));
        self.write(parts)
    }

    fn write(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        let at = self.half * self.heading.half_bytes + self.used;
        self.used += bytes.len() as u64;
        if self.used > self.heading.half_bytes {
            return Err("an input does not fit beside a snapshot: record_bytes_max is too small".to_owned());
        }
        self.writer.write(at, bytes)
    }

    /// Writes what is left, and waits for it. Blocks.
    pub(crate) fn close(mut self) {
        // The recording ends here in any case.
        self.flush().ok();
        self.writer.close();
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        // A batch is handed over before it is longer than BATCH_BYTES and a step.
        let Self {
            heading: _,
            used: _,
            half: _,
            batch: _,
            flushed_at: _,
            step: _,
            output: _,
            outputs: _,
            notes: _,
            steps: _,
            begun: _,
            writer,
        } = self;
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        to.bytes("recording", bytes(writer.waiting.load(Ordering::Relaxed)), bytes(writer.waiting_max));
    }
}

/// What a type of the core is as bytes, behind what is there already.
fn encode(value: &impl serde::Serialize, to: &mut Vec<u8>) {
    postcard::to_io(value, to).expect("what the core has can be encoded, and there is room in memory");
}

/// A buffer that takes no more than so many bytes.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the file, and moves away what an earlier life recorded. Nothing else is overwritten.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    match path.metadata() {
        // A device.
        Ok(metadata) if !metadata.is_file() => return options.open(path),
        // A start that failed left it: nothing was recorded, so that the recording before must not go for it.
        Ok(metadata) if metadata.len() == 0 => fs::remove_file(path)?,
        Ok(_) if is_recording(path)? => {
            let mut old = path.as_os_str().to_owned();
            old.push(".old");
            if fs::exists(&old)? && !is_recording(Path::new(&old))? {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "the file of that name with .old holds something else",
                ));
            }
            fs::rename(path, old)?;
        }
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file holds something else")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    options.create_new(true).mode(0o600).open(path)
}

/// Whether a recorder has begun that file.
fn is_recording(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(1_024).read_to_end(&mut head)?;
    Ok(head.is_empty() || !matches!(Heading::read(&head), Err(NoHalf::Foreign)))
}

/// The thread that writes.
#[derive(Debug)]
struct Writer {
    jobs: mpsc::Sender<(u64, Vec<u8>)>,
    /// Bytes that were handed over and are not written yet.
    waiting: Arc<AtomicU64>,
    waiting_max: u64,
    failed: Arc<OnceLock<String>>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(mut file: File, waiting_max: u64) -> io::Result<Self> {
        let (jobs, received) = mpsc::channel::<(u64, Vec<u8>)>();
        let (waiting, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(OnceLock::new()));
        let (written, failure) = (Arc::clone(&waiting), Arc::clone(&failed));
        let thread = thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            for (at, bytes) in received {
                let result = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&bytes));
                written.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
                if let Err(error) = result {
                    failure.get_or_init(|| error.to_string());
                    return;
                }
            }
        })?;
        Ok(Self { jobs, waiting, waiting_max, failed, thread })
    }

    fn write(&self, at: u64, bytes: Vec<u8>) -> Result<(), String> {
        self.check()?;
        let length = bytes.len() as u64;
        if self.waiting.load(Ordering::Relaxed) + length > self.waiting_max {
            return Err("the disk does not keep up".to_owned());
        }
        // Nobody else adds to it.
        self.waiting.fetch_add(length, Ordering::Relaxed);
        // The thread ends with an error only, which is looked for next time.
        self.jobs.send((at, bytes)).ok();
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        self.failed.get().map_or(Ok(()), |reason| Err(reason.clone()))
    }

    fn close(self) {
        drop(self.jobs);
        // It panics for no reason that is known.
        self.thread.join().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_failed_costs_no_recording_and_nothing_else_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("life"), directory.path().join("life.old"));
        let heading = Heading { version: "1".to_owned(), half_bytes: RECORD_BYTES_MIN / 2, number: 0, steps: 0 };
        let recording = heading.to_bytes();
        fs::write(&path, &recording).unwrap();
        for _ in 0..3 {
            drop(create(&path).unwrap());
            assert_eq!((fs::read(&path).unwrap(), fs::read(&old).unwrap()), (Vec::new(), recording.clone()));
        }
        fs::write(&path, &recording).unwrap();
        fs::write(&old, b"a letter").unwrap();
        assert_eq!(create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&path).unwrap(), fs::read(&old).unwrap()), (recording, b"a letter".to_vec()));
    }

    #[test]
    fn a_disk_that_does_not_keep_up_ends_the_recording_and_no_more_waits_than_may() {
        // A disk that takes nothing.
        let (jobs, hung) = mpsc::channel();
        let (waiting, failed) = (Arc::default(), Arc::default());
        let writer = Writer { jobs, waiting, waiting_max: 1 << 20, failed, thread: thread::spawn(|| ()) };
        let taken = (0..2_000).filter(|_| writer.write(0, vec![0; 1_024]).is_ok()).count();
        assert_eq!((taken, writer.waiting.load(Ordering::Relaxed)), (1_024, 1 << 20));
        assert_eq!(writer.write(0, vec![0; 1_024]), Err("the disk does not keep up".to_owned()));
        assert_eq!(hung.try_iter().count(), taken);
        writer.close();
    }
}
