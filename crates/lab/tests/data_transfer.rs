//! A node that holds nothing gets everything: much of it, from one that dies half way, and from two at once.

#[expect(dead_code, reason = "other tests share more of it")]
mod database;

use std::time::Duration;

use database::{done, register};
use rumormill_core::data::{Edit, Write};
use rumormill_lab::{DiskFate, Failure, Network, Options, seeds};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A network for one seed, whose streams carry so many bytes per second.
fn network(seed: u64, nodes: usize, stream_bytes_per_second: u64) -> Network {
    let options = Options { nodes, stream_bytes_per_second, ..Default::default() };
    Network::new(seed).options(options).replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed))
}

/// A node writes that many values of so many bytes.
fn fill(net: &mut Network, node: usize, count: usize, bytes: usize) -> Result<(), Failure> {
    let at_once = (4_usize << 20).div_ceil(bytes).min(1_000);
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(at_once) {
        let put = |n: &usize| Write::new(key(node, *n), Edit::Put { value: vec![7; bytes], ttl: None });
        let write = net.write_all(node, some.iter().map(put).collect(), 0, secs(10));
        done(net, write)?;
    }
    Ok(())
}

fn key(node: usize, n: usize) -> String {
    format!("n{node}-{n:06}")
}

fn updates(net: &Network, node: usize) -> usize {
    net.node(node).map_or(0, |node| node.shelf().updates())
}

/// Two that hold the same, byte for byte, and a third that is not there yet.
fn two_hold(seed: u64, rate: u64, count: usize, bytes: usize) -> Result<Network, Failure> {
    let mut net = network(seed, 3, rate).start_joined()?;
    net.kill(2);
    fill(&mut net, 0, count, bytes)?;
    net.run_until(|net| updates(net, 1) == count, secs(60))?;
    net.run_for(secs(5))?;
    assert!(net.everyone_holds_the_same());
    Ok(net)
}

#[test]
fn a_new_node_gets_more_than_any_packet_or_stream_holds_at_once() {
    const COUNT: usize = 72;
    for seed in seeds::chosen(&[1]) {
        let mut net = two_hold(seed, 125_000_000, COUNT, 1 << 20).unwrap();
        net.reset_measurements();
        net.restart(2, DiskFate::Lost);
        net.run_until(|net| updates(net, 2) == COUNT, secs(60)).unwrap();
        let (sent, held) = (net.measured().total().payload_bytes(), net.node(2).unwrap().data_bytes() as u64);
        assert!(held > 64 << 20, "{held} bytes");
        assert!(sent < held * 3 / 2, "{sent} bytes sent for {held}; {}", net.replay_line());
        net.run_until(Network::data_has_settled, secs(10)).unwrap();
        net.check_data().unwrap();
    }
}

#[test]
fn a_transfer_that_is_cut_half_way_goes_on_from_another_peer() {
    const COUNT: usize = 8_000;
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = two_hold(seed, 2_000_000, COUNT, 1_000).unwrap();
        // Only n0 can be reached.
        net.partition(&[vec![1]]);
        net.restart(2, DiskFate::Lost);
        net.run_until(|net| updates(net, 2) > COUNT / 2, secs(60)).unwrap();
        net.crash(0);
        net.heal();
        let had = updates(&net, 2);
        assert!(had < COUNT * 3 / 4, "{had} of {COUNT} had come");
        net.reset_measurements();
        net.run_until(|net| updates(net, 2) == COUNT, secs(90)).unwrap();
        let sent = net.measured().total().payload_bytes();
        // At most everything once each way.
        let (had, all) = ((had * 1_000) as u64, net.node(1).unwrap().data_bytes() as u64);
        assert!(sent > COUNT as u64 * 1_000 - had && sent < 2 * all, "{sent} bytes sent; {}", net.replay_line());
        net.run_until(Network::data_has_settled, secs(30)).unwrap();
        assert_eq!(net.get(2, &key(0, COUNT - 1)).map(|entry| entry.value), Some(register(&[7; 1_000])));
        net.restart(0, DiskFate::Kept);
        net.run_for(secs(5)).unwrap();
        net.run_until(Network::data_has_settled, secs(60)).unwrap();
        net.check_data().unwrap();
    }
}

#[test]
fn two_peers_that_hold_different_things_fill_an_empty_node_at_once() {
    const COUNT: usize = 3_000;
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed, 3, 2_000_000).start_joined().unwrap();
        net.partition(&[vec![0], vec![1], vec![2]]);
        fill(&mut net, 0, COUNT, 1_000).unwrap();
        fill(&mut net, 1, COUNT, 1_000).unwrap();
        net.run_for(secs(10)).unwrap();
        assert_eq!(updates(&net, 2), 0);
        net.reset_measurements();
        net.heal();
        net.run_until(|net| (0..3).all(|node| updates(net, node) == 2 * COUNT), secs(120)).unwrap();
        // No two send each other everything more than once.
        let (sent, all) = (net.measured().total().payload_bytes(), net.node(2).unwrap().data_bytes() as u64);
        assert!(sent < 3 * 2 * all, "{sent} bytes sent; {}", net.replay_line());
        net.run_until(Network::data_has_settled, secs(30)).unwrap();
        net.check_data().unwrap();
    }
}
