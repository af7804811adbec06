//! What the tests of fuzz targets share: every input of a corpus, then changed ones, by the entry point of the fuzzer.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::print_stderr, reason = "whoever sees the test fail wants to know where the input is")]

use std::path::PathBuf;

use rumormill_core::fuzz::mutated;
use rumormill_core::rng::Rng;

/// How many changed inputs a test tries; `RUMOR_FUZZ_ROUNDS` says another number.
const ROUNDS: usize = 3_000;

/// The inputs of a corpus, in the order of their names.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Gives an entry point the whole corpus, and so many changes of it.
pub(crate) fn replay(target: &str, entry: fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        shown(target, input, entry);
    }
    let rounds = std::env::var("RUMOR_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut rng = Rng::new(1);
    for _ in 0..rounds {
        let [input, other] = [(); 2].map(|()| &corpus[rng.below(corpus.len())]);
        shown(target, &mutated(&mut rng, input, other), entry);
    }
}

/// Keeps an input that makes the entry point panic.
fn shown(target: &str, input: &[u8], entry: fn(&[u8])) {
    let kept = Kept(target, input);
    entry(input);
    drop(kept);
}

struct Kept<'a>(&'a str, &'a [u8]);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", self.0));
            std::fs::write(&file, self.1).unwrap_or_default();
            eprintln!("the input is in {}", file.display());
        }
    }
}
