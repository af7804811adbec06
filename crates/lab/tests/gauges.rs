//! What nodes compute together about the values that each of them has: aggregates of gauges (Jelasity, Montresor and
//! Babaoglu 2005).

use std::time::Duration;

use rumormill_core::config::View;
use rumormill_core::io::{Found, Ticket};
use rumormill_core::{Command, ConfigBuilder, Reply};
use rumormill_lab::{DiskFate, Network, seeds};

const FIXED: [u64; 2] = [1, 2];
/// Longer than any epoch here: 64 rounds of 200 ms.
const EPOCH: Duration = Duration::from_secs(15);

fn network(seed: u64, nodes: usize, view: View) -> Network {
    let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    let config = ConfigBuilder { view, ..ConfigBuilder::lan() };
    Network::new(seed).replay(replay).nodes(nodes).config(config).without_disks()
}

fn joined(seed: u64, nodes: usize) -> Network {
    network(seed, nodes, View::Full).start_joined().unwrap_or_else(|failure| panic!("{failure}"))
}

#[track_caller]
fn run_for(net: &mut Network, span: Duration) {
    net.run_for(span).unwrap_or_else(|failure| panic!("{failure}"));
}

/// Node `n` of each `step` has the value `n`, from 1.
fn set_gauges(net: &mut Network, step: usize) {
    for node in (0..net.len()).step_by(step) {
        let value = f64::from(u32::try_from(node + 1).expect("few nodes"));
        net.command(node, Command::SetGauge { name: "load".to_owned(), value: Some(value) });
    }
}

fn ask(net: &mut Network, node: usize, quantile: Option<f64>) -> Ticket {
    net.command(node, Command::Aggregate { gauge: "load".to_owned(), quantile })
}

#[track_caller]
fn found(net: &Network, ticket: Ticket) -> Found {
    match net.result(ticket) {
        Some(Ok(Reply::Aggregated(found))) => (**found).clone(),
        other => panic!("{other:?}, {}", net.replay_line()),
    }
}

/// What every node that is up takes the aggregate to be.
fn found_by_all(net: &Network) -> Vec<Found> {
    let last = |node| net.node(node).and_then(|node| node.aggregates().next().map(|(found, _)| found.clone()));
    net.up().map(|node| last(node).unwrap_or_else(|| panic!("n{node} has no answer, {}", net.replay_line()))).collect()
}

#[track_caller]
fn assert_near(value: f64, truth: f64, error: f64, net: &Network) {
    assert!((value - truth).abs() <= error, "{value} instead of {truth} within {error}, {}", net.replay_line());
}

#[test]
fn every_node_has_the_answer_of_an_epoch_that_one_of_them_asked_for() {
    for seed in seeds::chosen(&FIXED) {
        let mut net = joined(seed, 60);
        set_gauges(&mut net, 2);
        let ticket = ask(&mut net, 7, Some(0.5));
        run_for(&mut net, EPOCH);
        // 1, 3, 5, … 59.
        let asked = found(&net, ticket);
        assert_eq!(
            (asked.aggregate.low.to_bits(), asked.aggregate.high.to_bits()),
            (1_f64.to_bits(), 59_f64.to_bits())
        );
        let median = asked.quantile.expect("there are values");
        assert!(median.low <= 31.0 && 29.0 <= median.high && median.high - median.low < 2.0, "{median:?}");
        for Found { aggregate, epoch, .. } in found_by_all(&net) {
            assert_eq!(epoch, asked.epoch);
            assert_near(aggregate.average, 30.0, 0.03, &net);
            assert_near(aggregate.sum, 900.0, 0.9, &net);
            assert_near(aggregate.count, 30.0, 0.03, &net);
            assert_near(aggregate.members, 60.0, 0.06, &net);
            assert!(aggregate.spread < 0.01, "{}", aggregate.spread);
        }
    }
}

#[test]
fn lost_datagrams_cost_little() {
    for seed in seeds::chosen(&FIXED) {
        let mut net = network(seed, 100, View::Full).loss(0.05).start_joined().unwrap();
        set_gauges(&mut net, 1);
        let ticket = ask(&mut net, 0, None);
        run_for(&mut net, EPOCH);
        assert_near(found(&net, ticket).aggregate.average, 50.5, 0.5, &net);
    }
}

#[test]
fn nodes_that_know_few_have_the_answer_too() {
    for seed in seeds::chosen(&FIXED) {
        let mut net = network(seed, 300, View::Partial).start_cold(0, Duration::from_mins(1));
        run_for(&mut net, Duration::from_mins(2));
        set_gauges(&mut net, 1);
        let ticket = ask(&mut net, 150, None);
        run_for(&mut net, EPOCH);
        found(&net, ticket);
        for Found { aggregate, .. } in found_by_all(&net) {
            assert_near(aggregate.average, 150.5, 1.5, &net);
            assert_near(aggregate.members, 300.0, 3.0, &net);
        }
    }
}

#[test]
fn who_crashes_takes_its_share_along_and_the_next_epoch_is_exact_again() {
    for seed in seeds::chosen(&FIXED) {
        let mut net = joined(seed, 100);
        set_gauges(&mut net, 1);
        let ticket = ask(&mut net, 0, None);
        run_for(&mut net, Duration::from_millis(800));
        for node in 90..100 {
            net.crash(node);
        }
        run_for(&mut net, EPOCH);
        // A tenth of the nodes went in the midst of it, with whatever they held: still of the order of the truth.
        assert_near(found(&net, ticket).aggregate.average, 50.5, 15.0, &net);
        net.restart(95, DiskFate::Kept);
        run_for(&mut net, Duration::from_secs(30));
        let ticket = ask(&mut net, 3, None);
        run_for(&mut net, EPOCH);
        let Found { aggregate, .. } = found(&net, ticket);
        // Of 91 nodes those have a value that did not restart.
        assert_near(aggregate.members, 91.0, 0.1, &net);
        assert_near(aggregate.count, 90.0, 0.1, &net);
        assert_near(aggregate.average, 45.5, 0.05, &net);
    }
}

#[test]
fn whoever_asks_while_an_epoch_is_under_way_waits_for_that_one() {
    let mut net = joined(1, 20);
    set_gauges(&mut net, 1);
    let first = ask(&mut net, 0, None);
    run_for(&mut net, Duration::from_secs(1));
    let second = ask(&mut net, 9, Some(0.9));
    run_for(&mut net, EPOCH);
    assert_eq!(found(&net, first).epoch, found(&net, second).epoch);
    assert!(found(&net, first).quantile.is_none() && found(&net, second).quantile.is_some());
}

#[test]
fn a_gauge_that_nobody_has_is_counted_as_none_and_that_of_members_needs_nobody_to_set_it() {
    let mut net = joined(1, 20);
    let none = ask(&mut net, 0, Some(0.5));
    let members = net.command(3, Command::Aggregate { gauge: "members".to_owned(), quantile: None });
    run_for(&mut net, EPOCH);
    let Found { aggregate, quantile, .. } = found(&net, none);
    assert_eq!((aggregate.count.to_bits(), quantile), (0, None));
    let Found { aggregate, .. } = found(&net, members);
    assert_near(aggregate.average, 20.0, 0.01, &net);
}

#[test]
fn nothing_is_sent_about_gauges_that_nobody_asks_for() {
    let sent = |set: bool| {
        let mut net = joined(1, 20);
        if set {
            set_gauges(&mut net, 1);
        }
        run_for(&mut net, Duration::from_mins(1));
        (0..20).map(|node| net.node(node).unwrap().counters().bytes_sent).sum::<u64>()
    };
    assert_eq!(sent(true), sent(false));
}

#[test]
fn what_breaks_a_rule_is_refused_by_name() {
    let mut net = joined(1, 3);
    let refusal = |net: &mut Network, command| {
        let ticket = net.command(0, command);
        net.result(ticket).unwrap().as_ref().unwrap_err().to_string()
    };
    let set = |name: &str, value| Command::SetGauge { name: name.to_owned(), value: Some(value) };
    for (command, said) in [
        (set("load", f64::NAN), "value is NaN, must be a finite number"),
        (set("", 1.0), "gauge is \"\", must be 1 to 64 bytes"),
        (set(&"x".repeat(65), 1.0), "must be 1 to 64 bytes"),
        (Command::Aggregate { gauge: "a\n".to_owned(), quantile: None }, "must be 1 to 64 bytes"),
        (Command::Aggregate { gauge: "a".to_owned(), quantile: Some(1.5) }, "quantile is 1.5, must be from 0 to 1"),
    ] {
        let message = refusal(&mut net, command);
        assert!(message.contains(said), "{message}");
    }
}
