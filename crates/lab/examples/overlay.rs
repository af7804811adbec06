use rumormill_core::config::{ConfigBuilder, View};
use rumormill_lab::Network;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

fn graph(net: &Network) -> Vec<Vec<usize>> {
    let ids: BTreeMap<_, _> = net.up().map(|n| (net.id(n), n)).collect();
    let mut g = vec![vec![]; net.len()];
    for n in net.up() {
        for peer in net.node(n).unwrap().neighbours() {
            if let Some(&m) = ids.get(&peer) {
                g[n].push(m);
            }
        }
    }
    g
}
fn report(what: &str, net: &Network) {
    let g = graph(net);
    let up: Vec<usize> = net.up().collect();
    let mut asym = 0;
    let mut dead = 0;
    let mut hist = BTreeMap::new();
    for &n in &up {
        for &m in &g[n] {
            if !g[m].contains(&n) {
                asym += 1;
            }
        }
        dead += net.node(n).unwrap().neighbours().count() - g[n].len();
        *hist.entry(g[n].len()).or_insert(0) += 1;
    }
    let mut seen = vec![false; net.len()];
    let mut comps = vec![];
    for &s in &up {
        if seen[s] {
            continue;
        }
        seen[s] = true;
        let mut q = VecDeque::from([s]);
        let mut c = 0;
        while let Some(n) = q.pop_front() {
            c += 1;
            for &m in &g[n] {
                if !seen[m] {
                    seen[m] = true;
                    q.push_back(m);
                }
            }
        }
        comps.push(c);
    }
    comps.sort();
    comps.reverse();
    let pass: f64 = up.iter().map(|&n| net.node(n).unwrap().passive().count()).sum::<usize>() as f64 / up.len() as f64;
    println!(
        "{what} t={:?} up={} hist={hist:?} asym={asym} dead={dead} comps={:?} passive={pass:.1}",
        net.now(),
        up.len(),
        &comps[..comps.len().min(5)]
    );
}
fn main() {
    let n: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(1000);
    let crash: f64 = std::env::args().nth(2).and_then(|a| a.parse().ok()).unwrap_or(0.5);
    let config = ConfigBuilder { view: View::Partial, ..ConfigBuilder::lan() };
    let began = std::time::Instant::now();
    let mut net =
        Network::new(1).nodes(n).config(config).without_disks().unchecked().start_cold(0, Duration::from_secs(20));
    for _ in 0..4 {
        net.run_for(Duration::from_secs(10)).unwrap();
        report("cold", &net);
    }
    net.run_for(Duration::from_secs(60)).unwrap();
    report("settled", &net);
    net.reset_measurements();
    net.run_for(Duration::from_secs(30)).unwrap();
    let t = net.measured().total();
    println!(
        "idle per node per s: datagrams {:.2} bytes+28 {:.1}",
        t.datagrams as f64 / n as f64 / 30.0,
        ((t.datagram_bytes + t.stream_bytes) as f64 + 28.0 * t.datagrams as f64) / n as f64 / 30.0
    );
    let publish = |net: &mut Network, from: usize| {
        net.reset_measurements();
        let before: u64 = net.up().map(|n| net.node(n).unwrap().counters().payloads_received).sum();
        let t = net.publish(from, "news", vec![1; 100]);
        let at = net.now();
        let mut all = None;
        for _ in 0..100 {
            net.run_for(Duration::from_millis(100)).unwrap();
            if net.reached_all(t) {
                all = Some(net.now() - at);
                break;
            }
        }
        let key = net.published(t).cloned();
        let arrivals = key.and_then(|k| net.measured().messages.get(&k).map(|s| s.arrivals.len()));
        net.run_for(Duration::from_secs(2)).unwrap();
        let after: u64 = net.up().map(|n| net.node(n).unwrap().counters().payloads_received).sum();
        let spread = net.published(t).and_then(|k| net.measured().messages.get(k));
        let hops = spread.map(|s| s.arrivals.iter().map(|a| a.hops).max());
        println!(
            "publish from {from}: hops {hops:?} all after {all:?}, arrivals {arrivals:?} of {}, RMR {:.3}",
            net.up().count(),
            (after - before) as f64 / (net.up().count() - 1) as f64 - 1.0
        );
    };
    for _ in 0..8 {
        publish(&mut net, 1);
    }
    for k in 0..30 {
        publish(&mut net, (k * 617 + 11) % n);
    }
    if crash == 0.0 {
        println!("wall {:?}", began.elapsed());
        return;
    }
    let mut i = 0;
    for node in 0..n {
        if (node * 7919 % n) as f64 / (n as f64) < crash {
            net.crash(node);
            i += 1;
        }
    }
    println!("crashed {i}");
    for _ in 0..6 {
        net.run_for(Duration::from_secs(10)).unwrap();
        report("after", &net);
    }
    let from = net.up().next().unwrap();
    publish(&mut net, from);
    println!("wall {:?}", began.elapsed());
}
