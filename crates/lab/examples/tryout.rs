//! Tmp.
use rumormill_core::config::{ConfigBuilder, TreeUse, View};
use rumormill_lab::{
    Network,
    jobs::Unwatched,
    overlay::{self, Parameters},
};
use std::time::Duration;
fn main() {
    let what = std::env::args().nth(1).unwrap();
    let n: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    if what == "crash" {
        for c in std::env::args().skip(3) {
            let o =
                overlay::run(&Parameters { nodes: n, crash: c.parse().unwrap(), ..Parameters::default() }, &Unwatched)
                    .unwrap();
            println!("{o:?}");
        }
        return;
    }
    for tree in [TreeUse::Never, TreeUse::Always] {
        let config = ConfigBuilder { view: View::Partial, tree, ..ConfigBuilder::lan() };
        let mut net =
            Network::new(1).nodes(n).config(config).without_disks().unchecked().start_cold(0, Duration::from_secs(20));
        net.run_for(Duration::from_secs(320)).unwrap();
        for senders in [1usize, 100] {
            let (mut rmr, mut ldh, mut mean) = (vec![], vec![], vec![]);
            for k in 0..(if senders == 1 { 20 } else { 100 }) {
                net.reset_measurements();
                let before: u64 = net.up().map(|n| net.node(n).unwrap().counters().payloads_received).sum();
                let t = net.publish((k % senders * 617 + 11) % n, "news", vec![1; 100]);
                net.run_for(Duration::from_millis(500)).unwrap();
                let after: u64 = net.up().map(|n| net.node(n).unwrap().counters().payloads_received).sum();
                let s = &net.measured().messages[net.published(t).unwrap()];
                assert_eq!(s.arrivals.len(), n);
                rmr.push((after - before) as f64 / (n as f64 - 1.0) - 1.0);
                ldh.push(s.arrivals.iter().map(|a| a.hops).max().unwrap());
                mean.push(s.arrivals.iter().map(|a| f64::from(a.hops)).sum::<f64>() / n as f64);
            }
            let m = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
            println!(
                "{tree:?} senders {senders}: rmr first {:.3} from fifth {:.4} max {:.4}; ldh {:?} mean {:.2} max {:?}; hops {:.2}",
                rmr[0],
                m(&rmr[4..]),
                rmr[4..].iter().cloned().fold(0.0, f64::max),
                &ldh[..6],
                ldh[4..].iter().map(|x| f64::from(*x)).sum::<f64>() / (ldh.len() - 4) as f64,
                ldh[4..].iter().max(),
                m(&mean[4..])
            );
        }
    }
}
