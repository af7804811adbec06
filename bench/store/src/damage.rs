//! What becomes of a store that was harmed.

use std::path::Path;
use std::{fs, iter};

use rumormill_core::rng::Rng;
use tempfile::TempDir;

use crate::contestant::Kind;
use crate::{DAMAGED_RECORDS, files, run_child};

/// Changed copies of each store.
const DAMAGES: u64 = 200;

type Harm = fn(Vec<u8>, &mut Rng) -> Vec<u8>;

/// What becomes of a closed store in which one byte was changed, or of which the end was cut off.
pub(crate) fn damage() {
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
