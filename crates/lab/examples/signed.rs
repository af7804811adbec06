//! What signed identity costs a cluster, and how fast a revocation is: `cargo run -p rumormill-lab --example signed`.
#![expect(clippy::print_stdout, reason = "an example prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use std::time::Duration;

use rumormill_lab::{Failure, Network};

const NODES: u32 = 50;
const IDLE: Duration = Duration::from_mins(10);

fn main() -> Result<(), Failure> {
    for is_signed in [false, true] {
        let net = Network::new(1).nodes(NODES as usize);
        let mut net = if is_signed { net.signed() } else { net }.start_joined()?;
        for node in 0..20 {
            net.put(node, &format!("key {node}"), b"value");
        }
        net.run_for(Duration::from_mins(2))?;
        net.reset_measurements();
        net.run_for(IDLE)?;
        let rate = net.measured().total().wire_bytes() as f64 / IDLE.as_secs_f64() / f64::from(NODES);
        println!("{NODES} idle nodes, signed: {is_signed}: {rate:.1} bytes/s each, headers included, not sealed");
    }
    let mut slowest = Duration::ZERO;
    for seed in 1..=20 {
        let mut net = Network::new(seed).nodes(NODES as usize).signed().start_joined()?;
        let (since, id) = (net.true_wall(), net.id(17));
        net.revoke(3, 17, since);
        let lists = |net: &Network| net.up().any(|node| node != 17 && net.opinion(node, id).is_some());
        slowest = slowest.max(net.run_until(|net| !lists(net), Duration::from_secs(10))?);
    }
    println!("a member of {NODES} is revoked at all others after at most {slowest:?} (20 seeds)");
    Ok(())
}
