//! What a sketch costs: nanoseconds per change, time per decoding, symbols per difference.

use divan::{Bencher, black_box};
use rumormill_core::rng::Rng;
use rumormill_core::sketch::{Decoded, SYMBOLS_MAX, Sketch, Symbol, decode};

/// More walks than a branch predictor learns by heart.
const IDS: usize = 10_000;

fn main() {
    divan::main();
    print_overhead();
}

fn ids(rng: &mut Rng, count: usize) -> Vec<u64> {
    (0..count).map(|_| rng.bits()).collect()
}

#[divan::bench(args = [64, 256, 1_024, SYMBOLS_MAX])]
fn insert(bencher: Bencher<'_, '_>, symbols: usize) {
    let ids = ids(&mut Rng::new(1), IDS);
    let mut sketch = Sketch::new(symbols);
    let mut next = ids.iter().copied().cycle();
    bencher.bench_local(|| sketch.insert(black_box(next.next().expect("a cycle has no end"))));
}

/// One update supersedes another: an id goes out, a new one comes in.
#[divan::bench(args = [64, 256, 1_024, SYMBOLS_MAX])]
fn remove_and_insert(bencher: Bencher<'_, '_>, symbols: usize) {
    let ids = ids(&mut Rng::new(1), 2 * IDS);
    let mut sketch = Sketch::grown(symbols, ids.iter().copied().take(IDS));
    let mut old = ids.iter().copied().cycle();
    let mut new = ids.iter().copied().cycle().skip(IDS);
    bencher.bench_local(|| {
        sketch.remove(black_box(old.next().expect("a cycle has no end")));
        sketch.insert(black_box(new.next().expect("a cycle has no end")));
    });
}

/// All ids of a difference are found; about half as many more symbols than would just do.
#[divan::bench(args = [1, 10, 100, 1_000, 2_000])]
fn decode_differences(bencher: Bencher<'_, '_>, differences: usize) {
    let sketch = Sketch::grown(2 * differences + 32, ids(&mut Rng::new(1), differences).into_iter());
    bencher.with_inputs(|| sketch.symbols().to_vec()).bench_local_values(|difference: Vec<Symbol>| {
        let decoded = decode(difference);
        assert!(matches!(&decoded, Decoded::Complete(found) if found.len() == differences));
        decoded
    });
}

/// The mean number of symbols after which a difference decodes, asked for one by one.
#[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a figure for people, beside divan's")]
fn print_overhead() {
    println!("differences  symbols per difference");
    for (differences, trials) in [(1, 1_000), (2, 10_000), (5, 10_000), (64, 500), (256, 100), (1_000, 20)] {
        let mut rng = Rng::new(1);
        let symbols: usize = (0..trials).map(|_| symbols_needed(&ids(&mut rng, differences))).sum();
        println!("{differences:11}  {:.3}", symbols as f64 / (differences * trials) as f64);
    }
}

fn symbols_needed(ids: &[u64]) -> usize {
    let sketch = Sketch::grown(SYMBOLS_MAX, ids.iter().copied());
    let decodes = |&symbols: &usize| matches!(decode(sketch.symbols()[..symbols].to_vec()), Decoded::Complete(_));
    (ids.len()..=SYMBOLS_MAX).find(decodes).expect("a difference this small decodes")
}
