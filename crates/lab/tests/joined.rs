//! A cluster that begins with complete views is one that has joined: the same nodes, quiet, and ready for trouble.

use std::time::Duration;

use rumormill_core::State;
use rumormill_core::config::{ConfigBuilder, Mode};
use rumormill_lab::{Act, DiskFate, Network, Options, Planned, seeds};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn network(seed: u64) -> Network {
    Network::new(seed).replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed))
}

/// Datagrams that each node sent in ten seconds, on average.
fn datagrams_in_ten_seconds(net: &mut Network) -> u64 {
    net.reset_measurements();
    net.run_for(secs(10)).expect("nothing befalls it");
    net.measured().total().datagrams / net.len() as u64
}

#[test]
fn all_know_all_hold_the_same_and_begin_at_zero() {
    for mode in [Mode::Push, Mode::Pull, Mode::PushPull] {
        let config = ConfigBuilder { mode, ..ConfigBuilder::lan() };
        let mut net = network(1).nodes(50).config(config).start_joined().unwrap();
        assert!(net.everyone_agrees());
        assert_eq!((net.measured().inputs, net.measured().since), (0, net.now()));
        net.run_for(secs(30)).unwrap();
        assert!(net.everyone_agrees());
        assert!(net.measured().changes.is_empty(), "{mode:?}: {:?}", net.measured().changes);
    }
}

#[test]
fn it_is_as_quiet_as_one_that_joined_and_settled() {
    let mut cold = network(1).nodes(50).start_cold(0, secs(1));
    cold.run_for(secs(60)).unwrap();
    let mut filled = network(1).nodes(50).start_joined().unwrap();
    let (settled, begun) = (datagrams_in_ten_seconds(&mut cold), datagrams_in_ten_seconds(&mut filled));
    // A ping and an ack a second, and next to nothing else.
    assert!((18..=22).contains(&settled), "{settled} datagrams a node");
    assert!((18..=22).contains(&begun), "{begun} datagrams a node");
}

#[test]
fn two_nodes_fall_silent_again_after_a_message() {
    let mut net = network(1).nodes(2).start_joined().unwrap();
    let idle = datagrams_in_ten_seconds(&mut net);
    net.publish(0, "news", vec![1; 100]);
    net.run_for(secs(30)).unwrap();
    assert_eq!(datagrams_in_ten_seconds(&mut net), idle);
}

#[test]
fn the_dead_are_found_and_whoever_starts_again_finds_the_others() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed).nodes(30).start_joined().unwrap();
        net.run_for(secs(5)).unwrap();
        net.crash(7);
        let member = net.id(7);
        net.run_until(|net| net.everyone_thinks(member, State::Dead), secs(30)).unwrap();
        net.restart(7, DiskFate::Kept);
        net.run_until(Network::everyone_agrees, secs(30)).unwrap();
        assert_eq!(net.measured().false_deaths(), 0);
    }
}

#[test]
fn a_plan_begins_when_all_have_joined() {
    let plan = vec![Planned { at: secs(2), act: Act::Crash(3) }];
    let mut net = network(1).options(Options { nodes: 20, plan, ..Options::default() }).start_joined().unwrap();
    net.run_for(Duration::from_micros(1_999_999)).unwrap();
    assert!(net.is_up(3));
    net.run_for(Duration::from_micros(1)).unwrap();
    assert!(!net.is_up(3));
}

#[test]
fn one_seed_gives_one_run_and_another_seed_another() {
    let run = |seed| {
        let mut net = network(seed).nodes(20).clock_skew(secs(5)).start_joined().unwrap();
        net.publish(3, "news", vec![1; 100]);
        net.run_for(secs(5)).unwrap();
        net.trace_hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
