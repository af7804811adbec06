//! The store beside those that were not chosen, and beside a bare file that is appended to: what the disk itself allows.
//!
//! `cargo bench -p rumormill --bench store` prints all tables; `-- writers`, `-- bulk` or `-- damage` one of them. Files
//! are made in the directory that `TMPDIR` names. How fast a disk is changes from second to second, so all stores
//! take turns of a fraction of a second, and what counts is their ratio to the file.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{iter, thread};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use rumormill::bench::Keeping;
use rumormill_core::rng::Rng;
use rumormill_core::{Record, Stored};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const RECORDS: u64 = 1_000_000;
const VALUE_BYTES: usize = 100;
/// Records of one commit where many are written.
const CHUNK: u64 = 10_000;
/// Of each store before the next one has its turn.
const TURN: Duration = Duration::from_millis(250);
const TURNS: u32 = 12;
const WRITERS: [usize; 3] = [1, 8, 64];
/// Of which medians are taken.
const LOADS: usize = 3;
/// Changed copies of each store, and the records of each.
const DAMAGES: u64 = 200;
const DAMAGED_RECORDS: u64 = 5_000;
const CACHE_BYTES: usize = 256 << 10;
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        // A process of its own, so that its memory is one store's, and its end only its own.
        ["child", work, name, path] => child(work, Kind::named(name), Path::new(path)),
        [] => {
            writers();
            bulk();
            damage();
        }
        ["writers"] => writers(),
        ["bulk"] => bulk(),
        ["damage"] => damage(),
        ["--test"] => {}
        _ => println!("writers, bulk or damage?"),
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Appends and synchronises: no store, but the disk's own time.
    Bare,
    /// The library's store, through its keeper.
    Ours,
    /// redb with a table by key.
    Redb,
    Fjall,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Bare, Self::Ours, Self::Redb, Self::Fjall];

    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare file",
            Self::Ours => "redb as a log",
            Self::Redb => "redb by key",
            Self::Fjall => "fjall",
        }
    }

    fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == name).expect("the parent names one of them")
    }

    fn open(self, path: &Path) -> Box<dyn Contestant> {
        match self {
            Self::Bare => Box::new(Grouped(Bare::open(path))),
            Self::Ours => Box::new(Ours::open(path)),
            Self::Redb => Box::new(Grouped(Redb::open(path))),
            Self::Fjall => Box::new(Grouped(Fjall::open(path))),
        }
    }
}

/// Something that makes records durable.
trait Contestant {
    /// Has writers that each wait for their record before they write the next; returns how many became durable.
    fn serve(&mut self, writers: usize, records: &mut dyn FnMut() -> Record) -> u32;

    fn commit(&mut self, records: Vec<Record>);

    /// All records, each once.
    fn read(self: Box<Self>) -> Values;
}

/// The values of all records, as a node holds them.
type Values = Vec<Box<[u8]>>;

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

/// What a thread that commits needs of a store.
trait Engine: Send {
    fn commit(&mut self, records: &[Record]);
    fn read(&self) -> Values;
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

fn value_of(record: &Record) -> &[u8] {
    record.value.as_deref().expect("the benchmark removes nothing")
}

struct Bare {
    path: PathBuf,
    file: File,
}

impl Bare {
    fn open(path: &Path) -> Self {
        let path = path.join("file");
        let file = OpenOptions::new().create(true).append(true).open(&path).expect("it opens");
        Self { path, file }
    }
}

impl Engine for Bare {
    fn commit(&mut self, records: &[Record]) {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend(&record.key);
            bytes.extend(value_of(record));
        }
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data()).expect("it is stored");
    }

    /// Records that were written twice count twice: it is no store.
    fn read(&self) -> Values {
        let mut file = BufReader::with_capacity(1 << 20, File::open(&self.path).expect("it opens"));
        let (mut values, mut record) = (Values::new(), [0; 16 + VALUE_BYTES]);
        while file.read_exact(&mut record).is_ok() {
            values.push(record[16..].into());
        }
        values
    }
}

struct Redb(Database);

impl Redb {
    fn open(path: &Path) -> Self {
        let mut builder = Database::builder();
        Self(builder.set_cache_size(CACHE_BYTES).create(path.join("redb")).expect("it opens"))
    }
}

impl Engine for Redb {
    fn commit(&mut self, records: &[Record]) {
        let transaction = self.0.begin_write().expect("it takes writes");
        {
            let mut table = transaction.open_table(TABLE).expect("the table is there");
            for record in records {
                table.insert(record.key.as_slice(), value_of(record)).expect("it takes writes");
            }
        }
        transaction.commit().expect("it is stored");
    }

    fn read(&self) -> Values {
        let table = self.0.begin_read().expect("it can be read").open_table(TABLE).expect("the table is there");
        let mut values = Values::new();
        for entry in table.iter().expect("it can be read") {
            values.push(entry.expect("it can be read").1.value().into());
        }
        values
    }
}

struct Fjall {
    database: fjall::Database,
    records: fjall::Keyspace,
}

impl Fjall {
    fn open(path: &Path) -> Self {
        let builder = fjall::Database::builder(path.join("fjall")).cache_size(CACHE_BYTES as u64).worker_threads(1);
        let database = builder.open().expect("it opens");
        let records = database.keyspace("records", fjall::KeyspaceCreateOptions::default).expect("it opens");
        Self { database, records }
    }
}

impl Engine for Fjall {
    fn commit(&mut self, records: &[Record]) {
        let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for record in records {
            batch.insert(&self.records, record.key.as_slice(), value_of(record));
        }
        batch.commit().expect("it is stored");
    }

    fn read(&self) -> Values {
        let mut values = Values::new();
        for entry in self.records.iter() {
            values.push(entry.into_inner().expect("it can be read").1.as_ref().into());
        }
        values
    }
}

/// The record of a number: keys are spread over their whole range, as hashes are.
fn record(number: u64, version: u64) -> Record {
    let mut key = b"data/".to_vec();
    key.extend(Rng::new(number).bits().to_be_bytes());
    key.extend([0; 3]);
    let mut value = vec![0; VALUE_BYTES];
    let mut rng = Rng::new(number ^ version << 32);
    value.as_chunks_mut().0.iter_mut().for_each(|word| *word = rng.bits().to_le_bytes());
    Record { key, value: Some(value) }
}

fn load(contestant: &mut dyn Contestant, records: u64, chunk: u64) {
    for first in (0..records).step_by(usize::try_from(chunk).expect("chunks are small")) {
        contestant.commit((first..(first + chunk).min(records)).map(|number| record(number, 0)).collect());
    }
}

fn writers() {
    for kept in [0, RECORDS] {
        let directories = Kind::ALL.map(|_| tempfile::tempdir().expect("temporary directories can be made"));
        let mut contestants: Vec<_> =
            iter::zip(Kind::ALL, &directories).map(|(kind, at)| kind.open(at.path())).collect();
        for contestant in &mut contestants {
            load(&mut **contestant, kept, CHUNK);
        }
        println!("durable writes a second, {kept} records before them");
        println!("| writers |{}", Kind::ALL.map(|kind| format!(" {} |", kind.name())).concat());
        for writers in WRITERS {
            let (mut rng, mut fresh) = (Rng::new(7), kept);
            let mut next = || {
                fresh += 1;
                let number = if kept == 0 { fresh } else { rng.bits() % kept };
                record(number, fresh)
            };
            let mut stored = [0.0; Kind::ALL.len()];
            for _ in 0..TURNS {
                for (contestant, stored) in iter::zip(&mut contestants, &mut stored) {
                    *stored += f64::from(contestant.serve(writers, &mut next));
                }
            }
            let figures = stored.map(|stored| format!(" {:.0} |", stored / (TURN * TURNS).as_secs_f64()));
            println!("| {writers} |{}", figures.concat());
        }
    }
}

fn bulk() {
    println!("{RECORDS} records of 16 + {VALUE_BYTES} bytes in commits of {CHUNK}, then opened and read");
    println!("| store | write s | memory MiB | on disk MiB | open and read s | memory MiB |");
    let mut lines = Kind::ALL.map(|_| Vec::new());
    for _ in 0..LOADS {
        for (kind, lines) in iter::zip(Kind::ALL, &mut lines) {
            let directory = tempfile::tempdir().expect("temporary directories can be made");
            let written = figures(&run_child("load", kind, directory.path()).expect("the child ends well"));
            let disk = f64::from(used(directory.path()));
            let read = figures(&run_child("read", kind, directory.path()).expect("the child ends well"));
            lines.push([written[0], written[1], disk, read[0], read[1]]);
        }
    }
    for (kind, lines) in iter::zip(Kind::ALL, lines) {
        let columns = [0, 1, 2, 3, 4].map(|column| median(lines.iter().map(|line| line[column]).collect()));
        println!("| {} |{}", kind.name(), columns.map(|figure| format!(" {figure:.2} |")).concat());
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What one process does; figures go to its parent.
fn child(work: &str, kind: Kind, path: &Path) {
    let begun = Instant::now();
    match work {
        "load" => load(&mut *kind.open(path), RECORDS, CHUNK),
        "make" => load(&mut *kind.open(path), DAMAGED_RECORDS, 100),
        "read" => assert_eq!(kind.open(path).read().len() as u64, RECORDS),
        _ => {
            let mut values = kind.open(path).read();
            values.sort_unstable();
            return println!("{} {}", values.len(), hash(values.iter().flatten()));
        }
    }
    println!("{} {}", begun.elapsed().as_secs_f64(), peak_memory_mib());
}

/// FNV-1a.
fn hash<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn run_child(work: &str, kind: Kind, path: &Path) -> Option<String> {
    let program = std::env::current_exe().expect("a program knows where it is");
    let output = Command::new(program).args(["child", work, kind.name()]).arg(path).output().expect("it can be run");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn figures(line: &str) -> Vec<f64> {
    line.split_whitespace().filter_map(|figure| figure.parse().ok()).collect()
}

/// As Linux tells it.
fn peak_memory_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    figures(line).first().map_or(f64::NAN, |kib| kib / 1_024.0)
}

/// MiB on the disk, holes left out.
fn used(path: &Path) -> u32 {
    let bytes: u64 = files(path).iter().map(|file| blocks(&fs::metadata(file).expect("it is there"))).sum();
    u32::try_from(bytes >> 20).expect("it is far below a petabyte")
}

#[cfg(unix)]
fn blocks(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn blocks(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).expect("it is a directory") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

type Harm = fn(Vec<u8>, &mut Rng) -> Vec<u8>;

/// What becomes of a closed store in which one byte was changed, or of which the end was cut off.
fn damage() {
    println!("{DAMAGES} damaged copies of a closed store of {DAMAGED_RECORDS} records: how many were opened as what");
    println!("| store | damage | refused or crashed | whole | silently different |");
    for kind in [Kind::Ours, Kind::Redb, Kind::Fjall] {
        let directory = tempfile::tempdir().expect("temporary directories can be made");
        run_child("make", kind, directory.path()).expect("the child ends well");
        let whole = run_child("digest", kind, directory.path()).expect("the child ends well");
        for (name, harm) in [("a byte", change as Harm), ("the end", cut)] {
            let (mut rng, mut outcomes) = (Rng::new(1), [0; 3]);
            for _ in 0..DAMAGES {
                let copy = damaged_copy(directory.path(), harm, &mut rng);
                let outcome = match run_child("digest", kind, copy.path()) {
                    None => 0,
                    Some(digest) if digest == whole => 1,
                    Some(_) => 2,
                };
                outcomes[outcome] += 1;
            }
            println!("| {} | {name} |{}", kind.name(), outcomes.map(|count| format!(" {count} |")).concat());
        }
    }
}

/// A copy with one of its files harmed, the larger ones more often.
fn damaged_copy(original: &Path, harm: Harm, rng: &mut Rng) -> TempDir {
    let copy = tempfile::tempdir().expect("temporary directories can be made");
    let all = files(original);
    let mut contents: Vec<Vec<u8>> = all.iter().map(|file| fs::read(file).expect("it can be read")).collect();
    let used: Vec<usize> = contents.iter().map(|bytes| bytes.iter().filter(|byte| **byte != 0).count()).collect();
    let mut at = rng.below(used.iter().sum());
    let chosen = used.iter().position(|used| at.checked_sub(*used).map(|rest| at = rest).is_none());
    let chosen = &mut contents[chosen.expect("it lies within")];
    *chosen = harm(std::mem::take(chosen), rng);
    for (file, bytes) in iter::zip(all, contents) {
        let file = copy.path().join(file.strip_prefix(original).expect("it lies within"));
        fs::create_dir_all(file.parent().expect("it lies within")).expect("directories can be made");
        fs::write(file, bytes).expect("files can be written");
    }
    copy
}

/// One bit of a byte that is not zero: holes and reserves hold nothing.
fn change(mut bytes: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    loop {
        let at = rng.below(bytes.len());
        if bytes[at] != 0 {
            bytes[at] ^= 1 << rng.below(8);
            return bytes;
        }
    }
}

/// Somewhere before the last byte that is not zero.
fn cut(mut bytes: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default();
    bytes.truncate(rng.below(end.max(1)));
    bytes
}
