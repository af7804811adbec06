//! A node that was written and read goes on as the one that was written.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::PathBuf;

use rumormill_core::fuzz::{live, mutated, signatures};
use rumormill_core::rng::Rng;
use rumormill_core::{Node, Restored};

fn replaced(node: &mut Node) {
    let bytes = postcard::to_stdvec(&node.snapshot()).unwrap();
    let Restored(mut restored) = postcard::from_bytes(&bytes).unwrap();
    restored.sign_with(signatures(1));
    *node = restored;
}

fn scripts() -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/node");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// What a node does in its order, as it is shown.
fn did(script: &[u8], between: impl FnMut(usize, &mut Node)) -> Vec<String> {
    let mut did = Vec::new();
    live(script, between, |output| did.push(format!("{output:?}")));
    did
}

fn goes_on_the_same(script: &[u8], every: usize) {
    let expected = did(script, |_, _| {});
    let did = did(script, |step, node| {
        if step % every == 0 {
            replaced(node);
        }
    });
    let differs = expected.iter().zip(&did).position(|(expected, did)| expected != did);
    assert_eq!(differs.map(|at| (&expected[at], &did[at])), None);
    assert_eq!(expected.len(), did.len());
}

#[test]
fn a_node_that_is_replaced_by_its_own_snapshot_does_the_same_to_the_last_byte() {
    let scripts = scripts();
    let much_happens = |script: &&Vec<u8>| did(script, |_, _| {}).len() > 100;
    assert!(scripts.iter().filter(much_happens).count() >= 3, "full, partial and durable");
    for script in &scripts {
        goes_on_the_same(script, 1);
    }
    let mut rng = Rng::new(1);
    for round in 0..60 {
        let [one, other] = [(); 2].map(|()| &scripts[rng.below(scripts.len())]);
        goes_on_the_same(&mutated(&mut rng, one, other), 1 + round % 5);
    }
}
