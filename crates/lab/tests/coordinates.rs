//! How well nodes know where they are, on a network whose machines lie apart.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a few of many events are looked for")]

use std::collections::BTreeSet;
use std::time::Duration;

use rumormill_core::config::{ConfigBuilder, View};
use rumormill_core::io::Ticket;
use rumormill_core::{Command, Event, NodeId, Refusal, Reply, State, Tags};
use rumormill_lab::{EstimateError, Link, Network, Options, seeds};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Machines in a square whose side is a round trip of 100 ms, behind lines of 0 to 10 ms, on a network that adds up to a
/// millisecond each way.
fn apart() -> Link {
    Link { span: ms(100), height: ms(5), jitter: ms(1), ..Link::default() }
}

fn network(seed: u64, nodes: usize, link: Link) -> Network {
    let options = Options { nodes, link, ..Options::default() };
    Network::new(seed).replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed)).options(options).unchecked()
}

fn error(net: &Network) -> EstimateError {
    net.estimate_error().expect("they have measured round trips")
}

/// The goal: a median of 15 % after 20 rounds of probes from nothing, 1,000 nodes, a space with heights.
#[test]
fn a_thousand_nodes_know_round_trips_between_any_two_of_them_after_twenty_rounds() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed, 1_000, apart()).start_cold(0, secs(1));
        net.run_until(Network::everyone_knows_everyone, secs(10)).unwrap();
        net.run_for(net.settings().probe_interval * 20).unwrap();
        let found = error(&net);
        assert!(found.median <= 0.15, "{found:?} {}", net.replay_line());
    }
}

/// How a command ended.
fn ended(net: &mut Network, ticket: Ticket) -> Result<Reply, Refusal> {
    net.run_until(|net| net.result(ticket).is_some(), secs(30)).unwrap();
    net.result(ticket).expect("it ended").clone()
}

/// What node `asked` says of the round trip between two others, as a part of the truth, and whether it was measured.
fn round_trip(net: &mut Network, asked: usize, from: usize, to: usize) -> (f64, bool) {
    let truth = net.round_trip(from, to).as_secs_f64();
    let (from, to) = (net.id(from), net.id(to));
    let ticket = net.command(asked, Command::RoundTrip { from, to, timeout: secs(10) });
    let Reply::RoundTrip { rtt, measured } = ended(net, ticket).unwrap() else { panic!("not a round trip") };
    (rtt.as_secs_f64() / truth, measured)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn any_node_tells_the_round_trip_between_any_two_others_and_asks_them_where_it_has_to() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed, 300, apart()).start_cold(0, secs(1));
        net.run_for(secs(2) + net.settings().probe_interval * 20).unwrap();
        let before = net.now();
        let pairs: Vec<_> = (1..60).map(|n| (n, n + 120 + n % 7)).collect();
        let errors = pairs.iter().map(|&(from, to)| (round_trip(&mut net, 0, from, to).0 - 1.0).abs()).collect();
        let found = median(errors);
        assert!(found <= 0.15, "{found}, {}", net.replay_line());
        assert!(net.now() > before, "of some it did not know where they are, and had to wait for their answers");
        let own = net.node(0).unwrap();
        let measured =
            own.members().find(|member| !member.is_self && member.rtt.is_some()).expect("it has pinged many");
        let other = net.numbers_of(measured.id).next().expect("it is up");
        let (of_truth, was_measured) = round_trip(&mut net, 0, 0, other);
        assert!(was_measured && (0.9..1.1).contains(&of_truth), "{of_truth}, {}", net.replay_line());
    }
}

#[test]
fn whoever_is_not_there_is_told_to_be_unknown_or_not_located() {
    let mut net = network(1, 10, apart()).start_cold(0, secs(1));
    net.run_for(secs(20)).unwrap();
    let (nobody, own) = (NodeId(77), net.id(0));
    let ticket = net.command(0, Command::RoundTrip { from: own, to: nobody, timeout: secs(1) });
    assert!(matches!(ended(&mut net, ticket), Err(Refusal::Unknown { what: "member", .. })));
    let ticket = net.command(0, Command::RoundTrip { from: own, to: own, timeout: secs(1) });
    assert!(matches!(ended(&mut net, ticket), Err(Refusal::Invalid { field: "to", .. })));
    let gone = net.id(5);
    net.crash(5);
    net.run_until(|net| net.everyone_thinks(gone, State::Dead), secs(60)).unwrap();
    let other = net.id(6);
    let ticket = net.command(0, Command::RoundTrip { from: other, to: gone, timeout: secs(1) });
    assert_eq!(ended(&mut net, ticket), Err(Refusal::NotLocated { nodes: vec![gone] }));
}

#[test]
fn a_query_to_the_nearest_asks_those_and_nobody_else() {
    for seed in seeds::chosen(&[1]) {
        // Nothing blurs what is measured.
        let mut net = network(seed, 40, Link { jitter: ms(0), ..apart() }).start_cold(0, secs(1));
        net.run_for(secs(90)).unwrap();
        let mut others: Vec<usize> = (1..40).collect();
        others.sort_by_key(|&node| net.round_trip(0, node));
        let nearest: BTreeSet<NodeId> = others[..3].iter().map(|&node| net.id(node)).collect();
        let (name, payload, filter) = ("ping".to_owned(), Vec::new(), Tags::new());
        let query = net.command(0, Command::Query { name, payload, filter, nearest: Some(3), timeout: secs(5) });
        net.run_for(secs(6)).unwrap();
        let mut answered = BTreeSet::new();
        let mut end = None;
        for note in &net.measured().notes {
            match &note.event {
                Event::Answer { ticket, from, .. } if *ticket == query => drop(answered.insert(*from)),
                Event::Answered { ticket, asked, answered, .. } if *ticket == query => end = Some((*asked, *answered)),
                _ => {}
            }
        }
        assert_eq!((answered, end), (nearest, Some((Some(3), 3))), "{}", net.replay_line());
    }
}

#[test]
fn with_partial_views_too_any_node_tells_the_round_trip_between_any_two() {
    for seed in seeds::chosen(&[1]) {
        let config = ConfigBuilder { view: View::Partial, shuffle_interval: secs(5), ..ConfigBuilder::lan() };
        let mut net = network(seed, 100, apart()).config(config).start_cold(0, secs(20));
        net.run_for(secs(300)).unwrap();
        let errors = (1..10).map(|n| (round_trip(&mut net, 0, n, n + 50).0 - 1.0).abs()).collect();
        assert!(median(errors) < 1.0, "{}", net.replay_line());
    }
}
