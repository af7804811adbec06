//! Everything at once: options and faults drawn from a seed, checkers at every step, then peace and a deadline.

use std::time::Duration;

use rumormill_lab::{Act, DiskFate, Failure, Network, Options, seeds};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// After a minute of faults and half a minute in which their ends fall, all comes to peace: then nodes must agree
/// and messages be everywhere within a bound. 2 minutes: some 60 tries at dead or former addresses, one a second for
/// the whole cluster, then the exchange of what each side lacks at the bandwidth drawn.
#[expect(clippy::print_stderr, reason = "the options of a run that fails are shown with it")]
fn survive(seed: u64) -> Result<(), Failure> {
    let options = Options::drawn(seed);
    let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    eprintln!("seed {seed}: {options}\n{replay}");
    let mut net = Network::new(seed).replay(replay).options(options).start_cold(0, secs(1));
    net.run_for(secs(90))?;
    make_peace(&mut net);
    net.run_until(|net| net.everyone_agrees() && net.everything_delivered(), secs(120))?;
    let speakers: Vec<_> = net.up().collect();
    let news: Vec<_> = speakers.into_iter().map(|node| net.publish(node, "peace", vec![1; 64])).collect();
    net.run_until(|net| news.iter().all(|&ticket| net.reached_all(ticket)), secs(60))?;
    Ok(())
}

/// All cuts end, nothing is lost any more, disks work, and who is down starts again, unless it left for good.
fn make_peace(net: &mut Network) {
    net.heal();
    net.set_link(net.link().healed());
    for node in 0..net.len() {
        net.set_disk_failing(node, false);
        if !net.has_left(node) {
            net.act(Act::Restart(node, DiskFate::Kept));
        }
    }
    // Who never knew anybody but a contact that left for good needs an operator.
    if net.has_left(0) {
        let others: Vec<_> = net.up().filter(|&node| net.takes_commands(node)).collect();
        for pair in others.windows(2) {
            net.join(pair[1], pair[0]);
        }
    }
}

#[test]
fn a_cluster_survives_what_these_seeds_draw() {
    for seed in seeds::chosen(&(1..=16).collect::<Vec<_>>()) {
        survive(seed).unwrap();
    }
}

#[test]
fn a_cluster_survives_what_other_seeds_draw() {
    for seed in seeds::chosen(&(101..=116).collect::<Vec<_>>()) {
        survive(seed).unwrap();
    }
}

#[test]
fn a_drawn_run_repeats_exactly() {
    for seed in seeds::chosen(&[5]) {
        let run = || {
            let mut net = Network::new(seed).options(Options::drawn(seed)).start_cold(0, secs(1));
            net.run_for(secs(30)).unwrap();
            net.trace_hash()
        };
        assert_eq!(run(), run());
    }
}
