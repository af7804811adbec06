//! How large nodes with a partial view take the cluster to be.

use std::time::Duration;

use rumormill_core::ConfigBuilder;
use rumormill_core::config::View;
use rumormill_lab::{Network, seeds};

const NODES: usize = 1_000;
const FIXED: [u64; 1] = [1];

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Epochs as they are at `lan` settings. The virtual clock starts with one.
fn epoch() -> Duration {
    config().epoch_interval
}

/// How long a thousand nodes take to join: no faster than their contact begins walks for joiners, two in a second. Those that
/// come faster become neighbours of each other, and the overlay mixes slowly.
const GROWING: Duration = secs(500);

/// Nodes ask in the first 72 probe intervals of an epoch, which are longer where a node is not well.
const ASKING: Duration = secs(100);

fn config() -> ConfigBuilder {
    ConfigBuilder { view: View::Partial, ..ConfigBuilder::lan() }
}

fn network(seed: u64, nodes: usize) -> Network {
    let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    Network::new(seed).replay(replay).nodes(nodes).config(config()).without_disks().unchecked()
}

/// Until nodes stop asking in the epoch of that number, the one at the start being 0.
fn run_through(net: &mut Network, number: u32) {
    let until = epoch() * number + ASKING;
    let left = until.checked_sub(net.now()).expect("that epoch is not over");
    net.run_for(left).unwrap_or_else(|failure| panic!("{failure}"));
}

/// The largest error of the estimate of any of `nodes`, as a share of the truth.
#[expect(clippy::cast_precision_loss, reason = "both are small")]
fn worst(net: &Network, nodes: impl Iterator<Item = usize>, truth: usize) -> f64 {
    let sizes = nodes.map(|node| net.node(node).expect("it is up").size() as f64);
    sizes.map(|size| (size / truth as f64 - 1.0).abs()).fold(0.0, f64::max)
}

#[track_caller]
fn assert_within(net: &Network, share: f64) {
    let worst = worst(net, net.up(), net.up().count());
    assert!(worst <= share, "off by {:.2} % of {}, {}", worst * 100.0, net.up().count(), net.replay_line());
}

#[test]
fn every_one_of_a_thousand_nodes_knows_their_number_within_a_tenth() {
    for seed in seeds::chosen(&FIXED) {
        let mut net = network(seed, NODES).start_cold(0, GROWING);
        run_through(&mut net, 2);
        assert_within(&net, 0.10);
    }
}

#[test]
fn two_lost_datagrams_in_a_hundred_leave_every_node_within_a_quarter() {
    for seed in seeds::chosen(&FIXED) {
        let mut net = network(seed, NODES).loss(0.02).start_cold(0, GROWING);
        run_through(&mut net, 2);
        assert_within(&net, 0.25);
    }
}

#[test]
fn the_estimate_follows_the_crash_of_half_of_the_nodes_and_a_doubling() {
    for seed in seeds::chosen(&FIXED) {
        let mut net = network(seed, NODES).start_cold(0, GROWING);
        // In the midst of an epoch, so that leaders and what they gave away are gone.
        net.run_for(epoch() * 2 + secs(15)).unwrap();
        (0..NODES).filter(|node| node % 2 == 1).for_each(|node| net.crash(node));
        run_through(&mut net, 3);
        assert_within(&net, 0.10);
        // Whoever comes during an epoch takes part in the next.
        net.add(NODES / 2, 0, GROWING / 2);
        run_through(&mut net, 5);
        assert_eq!(net.up().count(), NODES);
        assert_within(&net, 0.10);
    }
}

#[test]
fn whoever_joins_is_told_the_size_and_is_counted_from_the_next_epoch_on() {
    for seed in seeds::chosen(&FIXED) {
        let mut net = network(seed, 300).start_cold(0, secs(20));
        // While nodes ask: whoever took part in that epoch would be counted in it.
        net.run_for(epoch() * 2 + ASKING / 4).unwrap();
        net.add(60, 0, secs(5));
        net.run_for(ASKING / 2).unwrap();
        let newest = net.len() - 1;
        assert!(worst(&net, std::iter::once(newest), 300) <= 0.10, "{}", net.replay_line());
        run_through(&mut net, 2);
        net.run_for(secs(5)).unwrap();
        assert!(worst(&net, 0..300, 300) <= 0.10, "{}", net.replay_line());
        run_through(&mut net, 3);
        assert_within(&net, 0.10);
    }
}

#[test]
fn clocks_that_differ_by_half_a_minute_do_no_harm() {
    for seed in seeds::chosen(&FIXED) {
        let mut net = network(seed, 300).clock_skew(secs(30)).start_cold(0, secs(20));
        run_through(&mut net, 2);
        assert_within(&net, 0.10);
    }
}

#[test]
fn a_few_nodes_are_counted_too() {
    for seed in seeds::chosen(&FIXED) {
        for nodes in [2, 3, 10] {
            let mut net = network(seed, nodes).start_cold(0, secs(1));
            run_through(&mut net, 1);
            assert_within(&net, 0.01);
        }
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "all are small")]
fn a_node_that_is_idle_sends_less_than_two_hundred_bytes_in_a_second() {
    // As on the wire: IP and UDP take 28 bytes of each datagram. An epoch is measured from its beginning to its end.
    for seed in seeds::chosen(&FIXED) {
        for nodes in [100, NODES] {
            let mut net = network(seed, nodes).start_cold(0, secs(20));
            net.run_for(epoch()).unwrap();
            net.reset_measurements();
            net.run_for(epoch()).unwrap();
            let total = net.measured().total();
            let bytes = total.datagram_bytes + total.stream_bytes + 28 * total.datagrams;
            let each = bytes as f64 / nodes as f64 / epoch().as_secs_f64();
            assert!(each <= 200.0, "{each:.1} bytes a second among {nodes} nodes, {}", net.replay_line());
        }
    }
}
