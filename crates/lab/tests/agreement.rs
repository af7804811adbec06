//! Registers on real nodes: the fast path, the way by gossip, and what happens when voters or links fail.

use std::time::Duration;

use rumormill_core::agreement::Outcome;
use rumormill_core::io::Ticket;
use rumormill_lab::Network;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn done(version: u64, value: &[u8]) -> Outcome {
    Outcome::Done { version, value: Some(value.into()) }
}

/// How an operation ends.
#[track_caller]
fn outcome(net: &mut Network, ticket: Ticket) -> Outcome {
    net.run_until(|net| net.result(ticket).is_some(), secs(60)).unwrap();
    net.outcome(ticket).unwrap().unwrap().clone()
}

/// Nodes of which the first three vote.
fn network(seed: u64, nodes: usize) -> Network {
    let mut net = Network::new(seed).nodes(nodes).start_joined().unwrap();
    net.agree_on(&[0, 1, 2]).unwrap();
    net
}

#[test]
fn what_one_node_sets_another_reads() {
    let mut net = network(1, 5);
    let set = net.set_register(3, "r", b"a");
    assert_eq!(outcome(&mut net, set), done(1, b"a"));
    let read = net.read_register(4, "r");
    assert_eq!(outcome(&mut net, read), done(1, b"a"));
    let lost = net.cas(0, "r", Some(b"b"), b"c");
    assert_eq!(outcome(&mut net, lost), Outcome::Mismatch { version: 1, value: Some(b"a".as_slice().into()) });
    let won = net.cas(1, "r", Some(b"a"), b"b");
    assert_eq!(outcome(&mut net, won), done(2, b"b"));
}

#[test]
fn large_values_go_by_stream() {
    let mut net = network(2, 4);
    let value = vec![7; 60_000];
    let set = net.set_register(3, "r", &value);
    assert_eq!(outcome(&mut net, set), done(1, &value));
    let read = net.read_register(0, "r");
    assert_eq!(outcome(&mut net, read), done(1, &value));
}

#[test]
fn whoever_is_cut_off_from_the_voters_agrees_by_way_of_others() {
    let mut net = network(3, 5);
    for voter in 0..3 {
        net.oneway(3, voter);
        net.oneway(voter, 3);
    }
    let set = net.set_register(3, "r", b"a");
    assert_eq!(outcome(&mut net, set), done(1, b"a"));
}

#[test]
fn a_register_outlives_the_power_of_all_voters() {
    let mut net = network(4, 3);
    let set = net.set_register(1, "r", b"a");
    assert_eq!(outcome(&mut net, set), done(1, b"a"));
    for node in 0..3 {
        net.crash(node);
    }
    net.run_for(secs(5)).unwrap();
    for node in 0..3 {
        net.restart(node, rumormill_lab::DiskFate::Kept);
    }
    net.run_until(Network::everyone_knows_the_voters, secs(30)).unwrap();
    let read = net.read_register(2, "r");
    assert_eq!(outcome(&mut net, read), done(1, b"a"));
}

#[test]
fn one_voter_of_three_may_be_missing_and_two_may_not() {
    let mut net = network(5, 4);
    net.crash(0);
    let set = net.set_register(3, "r", b"a");
    assert_eq!(outcome(&mut net, set), done(1, b"a"));
    net.crash(1);
    let set = net.set_register(3, "r", b"b");
    net.run_for(secs(11)).unwrap();
    let refusal = net.outcome(set).unwrap().unwrap_err();
    let missing = [net.id(0), net.id(1)];
    let rumormill_core::Refusal::NoQuorum { unheard, unknown } = refusal else { panic!("{refusal}") };
    assert!(missing.iter().all(|voter| unheard.contains(voter)), "{refusal}");
    assert!(*unknown, "{refusal}");
}
