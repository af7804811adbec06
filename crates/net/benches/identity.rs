//! What signed identity costs: a signature, a check of one, and how many bytes updates carry more.
//!
//! `cargo bench -p rumormill --bench identity`. One thread; of many short runs the fastest, which nothing else that the machine does
//! has interrupted.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rumormill::bench::signatures;
use rumormill_core::config::IdentityKind;
use rumormill_core::data::{Edit, Write};
use rumormill_core::io::{Command, Ticket};
use rumormill_core::{Certificate, ConfigBuilder, Identity, Input, Node, Now, Signatures, Signing, Wall};

/// Operations of one measurement.
const COUNT: u32 = 16;
/// Measurements, of which the fastest counts.
const RUNS: u32 = 1_000;

fn main() {
    let (node, authority) = (signatures(), signatures());
    let update = [7; 256];
    let signature = node.sign(&update);
    let (key, mut wrong) = (node.public_key(), signature);
    wrong[40] ^= 1;
    report("sign 256 bytes", || black_box(node.sign(black_box(&update)))[0].into());
    report("check a signature", || usize::from(black_box(&node).verify(&key, black_box(&update), &signature)));
    report("check one that is not valid", || usize::from(black_box(&node).verify(&key, black_box(&update), &wrong)));
    report("id of a key", || usize::from(black_box(&node).id_of(black_box(&key)).0 > 0));

    let certificate =
        |name: Option<&str>, until| Certificate { key, until, name: name.map(str::to_owned) }.issue(&*authority);
    let bare = certificate(None, None);
    println!(
        "certificate: {} bytes; with an end {}, and a name of 8 besides {}",
        bare.len(),
        certificate(None, Some(Wall::from_micros(0).seconds())).len(),
        certificate(Some("database"), Some(Wall::from_micros(0).seconds())).len()
    );
    let (plain, signed) = (entries(&node, None), entries(&node, Some((&*authority, bare))));
    for ((what, plain), (_, signed)) in plain.into_iter().zip(signed) {
        println!("{what}: {plain} bytes, signed {signed}, that is {} more", signed - plain);
    }
}

/// How many bytes an entry of each kind takes at a node.
fn entries(pair: &Arc<dyn Signatures>, authority: Option<(&dyn Signatures, Vec<u8>)>) -> Vec<(&'static str, usize)> {
    let (mut config, mut signing) = (ConfigBuilder::lan(), None);
    if let Some((authority, certificate)) = authority {
        config.identity = IdentityKind::Signed;
        config.authority = rumormill::authority::hex(&authority.public_key());
        signing = Some(Signing { signatures: Arc::clone(pair), certificate });
    }
    let identity =
        Identity { signing, ..Identity::new(pair.id_of(&pair.public_key()), "n1", ([10, 0, 0, 1], 4747), 1) };
    let now = Now { instant: rumormill_core::Instant::ZERO, wall: Wall::from_micros(1_800_000_000_000_000) };
    let mut node = Node::new(identity, config.build().expect("the settings are valid"), 1, now);
    while node.poll_output().is_some() {}
    let value = || Edit::Put { value: b"a value".to_vec(), ttl: None };
    let brief = Edit::Put { value: b"a value".to_vec(), ttl: Some(Duration::from_mins(1)) };
    let kinds = [
        ("register", value()),
        ("register that runs out", brief),
        ("counter", Edit::Add { amount: 1 }),
        ("set", Edit::Insert { element: b"ada".to_vec() }),
    ];
    let mut sizes = Vec::new();
    let mut before = 0;
    for (what, edit) in kinds {
        let command = Command::Write { writes: vec![Write::new(what, edit)], replicas: 0, timeout: Duration::ZERO };
        node.handle_input(now, Input::Command { ticket: Ticket(1), command });
        while node.poll_output().is_some() {}
        let bytes: usize = node.shelf().contents().iter().map(Vec::len).sum();
        sizes.push((what, bytes - before));
        before = bytes;
    }
    sizes
}

fn report(what: &str, mut work: impl FnMut() -> usize) {
    let best = (0..RUNS).map(|_| {
        let start = Instant::now();
        let sum: usize = (0..COUNT).map(|_| work()).sum();
        black_box(sum);
        start.elapsed()
    });
    let best = best.min().unwrap_or_default();
    println!("{what}: {:.1} us", best.as_nanos() as f64 / 1_000.0 / f64::from(COUNT));
}
