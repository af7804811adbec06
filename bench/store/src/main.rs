//! The store beside those that were not chosen, and beside a bare file that is appended to: what the disk itself allows.
//!
//! `cargo run --release --manifest-path bench/store/Cargo.toml` prints all tables; `-- writers`, `-- bulk` or `-- damage`
//! one of them. Files
//! are made in the directory that `TMPDIR` names. How fast a disk is changes from second to second, so all stores
//! take turns of a fraction of a second, and what counts is their ratio to the file.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, iter};

use rumormill_core::Record;
use rumormill_core::rng::Rng;

use crate::contestant::{Contestant, Kind};
use crate::damage::damage;

mod contestant;
mod damage;
mod engines;

const RECORDS: u64 = 1_000_000;
const VALUE_BYTES: usize = 100;
/// Records of one commit where many are written.
const CHUNK: u64 = 10_000;
/// Of each store before the next one has its turn.
pub(crate) const TURN: Duration = Duration::from_millis(250);
const TURNS: u32 = 12;
const WRITERS: [usize; 3] = [1, 8, 64];
/// Of which medians are taken.
const LOADS: usize = 3;
/// Of a store that is to be harmed.
const DAMAGED_RECORDS: u64 = 5_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
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
        _ => println!("writers, bulk or damage?"),
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

pub(crate) fn run_child(work: &str, kind: Kind, path: &Path) -> Option<String> {
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

pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).expect("it is a directory") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
