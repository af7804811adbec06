//! Registers on real nodes: the fast path, the way by gossip, and what happens when voters or links fail.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::time::Duration;

use rumormill_core::agreement::{Change, Outcome};
use rumormill_core::config::ConfigBuilder;
use rumormill_core::io::{Ticket, Warning};
use rumormill_core::{Command, Event, Refusal, Reply};
use rumormill_lab::{DiskFate, Link, Network, Options};

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
fn of_an_operation_that_a_peer_has_that_peer_is_told_as_not_heard() {
    let mut net = network(2, 4);
    let set = net.set_register(3, "r", b"a");
    outcome(&mut net, set);
    let read = net.read_register(0, "r");
    assert_eq!(outcome(&mut net, read), done(1, b"a"), "node 3 has done it for node 0");
    net.pause(3, secs(10));
    let (register, change) = ("r".to_owned(), Change::set(b"b".as_slice().into()));
    let set = net.command(0, Command::Operate { register, change, timeout: Duration::from_millis(80) });
    net.run_until(|net| net.result(set).is_some(), secs(1)).unwrap();
    let refusal = Refusal::NoQuorum { unheard: vec![net.id(3)], unknown: true };
    assert_eq!(net.result(set), Some(&Err(refusal)));
}

#[test]
fn whoever_hears_no_voter_but_is_heard_by_all_is_told_by_gossip_what_they_voted() {
    for seed in 20..30 {
        let mut net = network(seed, 5);
        for voter in 0..3 {
            net.oneway(voter, 3);
        }
        let begin = net.now();
        let set = net.set_register(3, "r", b"a");
        assert_eq!(outcome(&mut net, set), done(1, b"a"));
        let took = net.now().saturating_sub(begin);
        assert!(took <= Duration::from_millis(1_500), "seed {seed}: {took:?}");
    }
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
        net.restart(node, DiskFate::Kept);
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
    let Refusal::NoQuorum { unheard, unknown } = refusal else { panic!("{refusal}") };
    assert!(missing.iter().all(|voter| unheard.contains(voter)), "{refusal}");
    assert!(*unknown, "{refusal}");
}

/// The voters of all nodes once a change has settled.
#[track_caller]
fn change(net: &mut Network, node: usize, voters: &[usize]) {
    let ticket = net.change_voters(node, voters, secs(10));
    net.run_until(|net| net.result(ticket).is_some(), secs(20)).unwrap();
    assert_eq!(net.result(ticket), Some(&Ok(Reply::Accepted)), "{voters:?}");
    net.run_until(Network::everyone_knows_the_voters, secs(60)).unwrap();
}

#[test]
fn voters_change_while_registers_keep_what_they_hold() {
    let mut net = network(6, 7);
    for register in ["a", "b", "c"] {
        let set = net.set_register(5, register, register.as_bytes());
        outcome(&mut net, set);
    }
    // One by one, until none of the first is left.
    for voters in [[0, 1, 3], [0, 3, 4], [3, 4, 5]] {
        change(&mut net, 6, &voters);
    }
    for old in 0..3 {
        net.crash(old);
    }
    for register in ["a", "b", "c"] {
        let read = net.read_register(6, register);
        assert_eq!(outcome(&mut net, read), done(1, register.as_bytes()));
    }
}

#[test]
fn a_voter_that_comes_back_brings_nothing_back() {
    let mut net = network(7, 5);
    let set = net.set_register(3, "r", b"old");
    outcome(&mut net, set);
    change(&mut net, 3, &[0, 1, 4]);
    let set = net.set_register(3, "r", b"new");
    outcome(&mut net, set);
    change(&mut net, 3, &[0, 1, 2]);
    net.crash(0);
    let read = net.read_register(2, "r");
    assert_eq!(outcome(&mut net, read), done(2, b"new"));
}

#[test]
fn whoever_began_a_change_of_voters_may_go_and_others_end_it() {
    let mut net = network(8, 6);
    let set = net.set_register(5, "r", b"a");
    outcome(&mut net, set);
    let ticket = net.change_voters(5, &[2, 3, 4], secs(10));
    net.run_until(|net| net.result(ticket).is_some(), secs(20)).unwrap();
    net.crash(5);
    net.run_until(Network::everyone_knows_the_voters, secs(60)).unwrap();
    let read = net.read_register(0, "r");
    assert_eq!(outcome(&mut net, read), done(1, b"a"));
}

#[test]
fn a_change_of_voters_ends_though_votes_of_before_ran_out_while_their_voters_were_down() {
    let ttl = secs(100);
    let config = ConfigBuilder { tombstone_ttl: ttl, ..ConfigBuilder::lan() };
    let mut net = Network::new(16).nodes(7).config(config).start_joined().unwrap();
    net.agree_on(&[0, 1, 2]).unwrap();
    let set = net.set_register(0, "r", b"a");
    outcome(&mut net, set);
    let delete = net.delete_register(0, "r");
    outcome(&mut net, delete);
    net.run_for(ttl / 2).unwrap();
    // The new ones are not there, and whoever began the change goes: nobody takes anything over before the votes run out.
    (3..6).for_each(|node| net.crash(node));
    let voters = [3, 4, 5].map(|node| net.id(node)).to_vec();
    net.command(6, Command::ChangeVoters { voters, timeout: secs(10) });
    let number = |net: &Network, node| net.node(node).unwrap().agreement().configuration.unwrap().number;
    net.run_until(|net| number(net, 6) == 2, secs(5)).unwrap();
    net.crash(6);
    net.run_until(|net| (0..3).all(|node| number(net, node) == 2), secs(20)).unwrap();
    net.run_for(secs(5)).unwrap();
    (0..3).for_each(|node| net.crash(node));
    net.run_for(ttl).unwrap();
    (0..6).for_each(|node| net.restart(node, DiskFate::Kept));
    let is_over = |net: &Network| {
        let configuration = net.node(0).unwrap().agreement().configuration.unwrap();
        configuration.number == 2 && configuration.previous.is_none()
    };
    net.run_until(is_over, secs(60)).unwrap();
}

#[test]
fn of_two_foundings_that_share_a_voter_only_one_starts() {
    let mut net = Network::new(9).nodes(5).start_joined().unwrap();
    net.found(0, &[0, 1, 2]);
    net.found(4, &[2, 3, 4]);
    net.run_for(secs(30)).unwrap();
    for node in 0..5 {
        let status = net.node(node).unwrap().agreement();
        assert_eq!(status.foundings.len(), 2);
        let started = status.foundings.iter().filter(|founding| founding.voters.len() == founding.joined.len());
        assert!(started.count() <= 1, "{status:?}");
    }
}

#[test]
fn two_foundings_that_meet_serve_nobody_until_one_is_dropped() {
    let mut net = Network::new(10).nodes(6).start_joined().unwrap();
    net.partition(&[vec![0, 1, 2]]);
    net.run_for(secs(1)).unwrap();
    net.found(0, &[0, 1, 2]);
    net.found(3, &[3, 4, 5]);
    net.run_for(secs(5)).unwrap();
    let (left, right) = (net.set_register(0, "r", b"left"), net.set_register(3, "r", b"right"));
    assert_eq!([outcome(&mut net, left), outcome(&mut net, right)], [done(1, b"left"), done(1, b"right")]);
    net.heal();
    let sees_two = |net: &Network| net.up().all(|node| net.node(node).unwrap().agreement().configuration.is_none());
    net.run_until(sees_two, secs(120)).unwrap();
    let set = net.set_register(1, "r", b"x");
    net.run_for(secs(1)).unwrap();
    assert!(matches!(net.outcome(set), Some(Err(Refusal::TwoFoundings { .. }))), "{:?}", net.outcome(set));
    let foundings = net.node(0).unwrap().agreement().foundings;
    let left = net.id(0);
    let founding = foundings.iter().find(|founding| founding.voters.contains(&left)).unwrap().id;
    net.command(2, Command::DropFounding { founding });
    net.run_until(Network::everyone_knows_the_voters, secs(60)).unwrap();
    let read = net.read_register(0, "r");
    assert_eq!(outcome(&mut net, read), done(1, b"right"));
}

#[test]
fn a_voter_that_has_said_more_than_its_disk_remembers_votes_no_more() {
    let mut net = network(11, 4);
    let set = net.set_register(3, "r", b"a");
    outcome(&mut net, set);
    let backup = net.backup(0);
    for value in [b"b", b"c"] {
        let set = net.set_register(3, "r", value);
        outcome(&mut net, set);
    }
    net.run_for(secs(5)).unwrap();
    net.kill(0);
    net.run_for(secs(1)).unwrap();
    net.put_back(0, backup);
    net.restart(0, DiskFate::Kept);
    net.run_for(secs(30)).unwrap();
    assert!(net.node(0).unwrap().agreement().is_stopped);
    let told = |event: &Event| matches!(event, Event::Warning(Warning::VoterStopped));
    assert!(net.measured().notes.iter().any(|note| note.node == 0 && told(&note.event)));
    net.crash(1);
    let set = net.operate_within(3, "r", Change::set(b"d".as_slice().into()), secs(3));
    net.run_for(secs(4)).unwrap();
    assert!(matches!(net.outcome(set), Some(Err(Refusal::NoQuorum { .. }))), "one voter of three is left");
}

#[test]
fn a_deleted_register_is_forgotten_once_all_voters_hold_that_and_can_be_made_again() {
    let ttl = secs(100);
    let config = ConfigBuilder { tombstone_ttl: ttl, ..ConfigBuilder::lan() };
    let mut net = Network::new(12).nodes(4).config(config).start_joined().unwrap();
    net.agree_on(&[0, 1, 2]).unwrap();
    for node in [3, 0, 3] {
        let set = net.set_register(node, "r", b"a");
        outcome(&mut net, set);
    }
    let delete = net.delete_register(3, "r");
    assert_eq!(outcome(&mut net, delete), Outcome::Done { version: 4, value: None });
    net.run_for(ttl / 2).unwrap();
    let registers = |net: &Network| net.node(1).unwrap().agreement().registers;
    assert_eq!(registers(&net), 1, "deletions are remembered for a while");
    net.run_for(ttl).unwrap();
    assert_eq!(registers(&net), 0);
    assert!(net.everyone_agrees());
    // Those who were told of later versions, or made them, count from the beginning like others.
    for (version, node) in [2, 3, 0, 3].into_iter().enumerate() {
        let set = net.set_register(node, "r", b"b");
        assert_eq!(outcome(&mut net, set), done(version as u64 + 1, b"b"));
    }
}

#[test]
fn nothing_is_sent_about_registers_while_nothing_is_done_to_them() {
    let traffic = |registers: bool| {
        let mut net = Network::new(13).nodes(5).start_joined().unwrap();
        if registers {
            net.agree_on(&[0, 1, 2]).unwrap();
            let set = net.set_register(4, "r", b"a");
            outcome(&mut net, set);
        }
        net.run_for(secs(60)).unwrap();
        net.reset_measurements();
        net.run_for(secs(600)).unwrap();
        net.measured().total()
    };
    let (with, without) = (traffic(true), traffic(false));
    assert_eq!((with.datagrams, with.stream_bytes), (without.datagrams, without.stream_bytes));
    // Coordinates ride on some of them, and are a few bytes longer or shorter.
    assert!(with.datagram_bytes.abs_diff(without.datagram_bytes) < with.datagrams, "{with:?} {without:?}");
}

/// What ten nodes get done that set one register as fast as they can, from its first version on: how often each was told that it
/// is done, and the longest time that any waited for that.
fn contend(net: &mut Network, span: Duration) -> ([u32; 10], Duration) {
    let (begin, mut done, mut longest) = (net.now(), [0; 10], Duration::ZERO);
    let mut last = [begin; 10];
    let mut open: Vec<Ticket> = (0..10).map(|node| net.set_register(node, "busy", b"v")).collect();
    while net.now() < begin + span {
        net.run_for(Duration::from_millis(1)).unwrap();
        for (node, ticket) in open.iter_mut().enumerate() {
            longest = longest.max(net.now().saturating_sub(last[node]));
            let Some(outcome) = net.outcome(*ticket) else { continue };
            if matches!(outcome, Ok(Outcome::Done { .. })) {
                (done[node], last[node]) = (done[node] + 1, net.now());
            }
            *ticket = net.set_register(node, "busy", b"v");
        }
    }
    (done, longest)
}

#[test]
fn of_ten_that_contend_for_one_register_all_get_their_turn() {
    let contending = |seed, latency, loss| {
        let link = Link { latency: Duration::from_micros(latency), loss, ..Link::default() };
        let options = Options { nodes: 10, link, ..Options::default() };
        let mut net = Network::new(seed).options(options).start_joined().unwrap();
        net.agree_on(&[0, 1, 2, 3, 4]).unwrap();
        contend(&mut net, secs(20))
    };
    for (seed, latency, loss) in [(14, 500, 0.0), (15, 500, 0.0), (16, 25_000, 0.0), (17, 2_000, 0.1)] {
        let (done, longest) = contending(seed, latency, loss);
        assert!(longest <= secs(5), "seed {seed}: {longest:?} without an operation, {done:?}");
        let all: u32 = done.iter().sum();
        assert!(latency > 500 || all >= 200 * 20, "seed {seed}: {all} in 20 s, {done:?}");
    }
}
