//! Leitao, Pereira and Rodrigues, "HyParView: a membership protocol for reliable gossip-based broadcast", DSN 2007, on real
//! nodes.

use std::time::Duration;

use rumormill_core::config::{ConfigBuilder, View};
use rumormill_lab::jobs::Unwatched;
use rumormill_lab::overlay::{self, Graph, Outcome, Parameters};
use rumormill_lab::{DiskFate, Network, Summary, seeds};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn outcome(nodes: usize, crash: f64, seed: u64) -> Outcome {
    let parameters = Parameters { nodes, crash, seed, ..Parameters::default() };
    overlay::run(&parameters, &Unwatched).expect("the parameters are sound and nobody says stop")
}

/// Shuffles come sooner than by default, so that less virtual time is needed.
fn network(seed: u64, nodes: usize) -> Network {
    let config = ConfigBuilder { view: View::Partial, shuffle_interval: secs(5), ..ConfigBuilder::lan() };
    let line = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    Network::new(seed).nodes(nodes).config(config).replay(line).start_cold(0, secs(5))
}

fn is_whole(net: &Network) -> bool {
    net.everyone_has_joined()
}

#[test]
fn section_5_3_after_half_or_four_fifths_crash_at_once_the_survivors_mend_the_overlay_and_every_message_arrives() {
    for seed in seeds::chosen(&[1]) {
        for crash in [0.5, 0.8] {
            let outcome = outcome(500, crash, seed);
            assert!(outcome.connected, "seed {seed}: {outcome:?}");
            assert!(outcome.reliability_after >= 1.0, "seed {seed}: {outcome:?}");
            let shuffles = outcome.healing_shuffles.expect("survivors are connected");
            assert!(shuffles <= 5.0, "seed {seed}: {outcome:?}");
            assert!(outcome.reliability_before < outcome.reliability_after, "seed {seed}: repair is what helps");
        }
    }
}

#[test]
fn section_5_3_after_nine_tenths_crash_at_once_messages_reach_the_survivors() {
    // A hundred survive here, so that one who stays alone is more than a hundredth already: seed 704753 leaves one. The share is
    // that of all who survive.
    let seeds = seeds::chosen(&[1, 2, 3]);
    let shares: Vec<f64> = seeds.iter().map(|&seed| outcome(1_000, 0.9, seed).reliability_after).collect();
    let summary = Summary::of(&shares).expect("there are seeds");
    assert!(summary.mean >= 0.99 && summary.min >= 0.97, "{shares:?} of seeds {seeds:?}");
}

#[test]
fn section_4_1_the_active_view_is_small_and_symmetric_and_most_have_a_full_one() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 500);
        net.run_for(secs(120)).unwrap();
        let graph = Graph::of(&net);
        let degree = graph.degree().expect("there are nodes");
        assert!(graph.is_connected(), "{}", net.replay_line());
        assert!(degree.max <= 5.0 && degree.mean > 4.5, "{degree:?}, {}", net.replay_line());
        assert!(graph.one_sided() <= 10, "{} links that one end knows of, {}", graph.one_sided(), net.replay_line());
    }
}

#[test]
fn section_4_3_who_stands_still_is_replaced_and_what_is_published_meanwhile_reaches_all_others() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 200);
        net.run_for(secs(60)).unwrap();
        // They are there, keep every stream and address, and say nothing.
        let silent: Vec<usize> = (0..200).filter(|node| node % 5 == 2).collect();
        for &node in &silent {
            net.pause(node, secs(600));
        }
        net.run_for(secs(60)).unwrap();
        let ids: Vec<_> = silent.iter().map(|&node| net.id(node)).collect();
        let speaking = |net: &Network| (0..net.len()).filter(|node| !silent.contains(node)).collect::<Vec<_>>();
        for node in speaking(&net) {
            let held = net.node(node).expect("it is up").neighbours().filter(|peer| ids.contains(peer)).count();
            assert_eq!(held, 0, "n{node} keeps silent neighbours, {}", net.replay_line());
        }
        let news = net.publish(1, "news", vec![1; 100]);
        net.run_for(secs(2)).unwrap();
        let key = net.published(news).expect("it is acknowledged");
        let got = net.measured().messages[key].arrivals.iter().filter(|arrival| !silent.contains(&arrival.node));
        assert_eq!(got.count(), 160, "{}", net.replay_line());
    }
}

#[test]
fn two_halves_that_were_cut_apart_become_one_overlay_again() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 100);
        net.run_for(secs(60)).unwrap();
        net.partition(&[(0..50).collect()]);
        net.run_for(secs(60)).unwrap();
        let [left, right] = [7, 77].map(|node| net.publish(node, "news", vec![1; 100]));
        net.run_for(secs(5)).unwrap();
        assert!(!net.reached_all(left) && !net.reached_all(right));
        net.heal();
        net.run_until(|net| net.reached_all(left) && net.reached_all(right) && is_whole(net), secs(300)).unwrap();
        assert_eq!(net.measured().false_deaths(), 0, "whoever is cut off is no mistake");
    }
}

#[test]
fn who_starts_again_or_comes_late_finds_a_place_through_any_survivor() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 60);
        net.run_for(secs(60)).unwrap();
        for node in 0..30 {
            net.crash(node);
        }
        net.run_for(secs(30)).unwrap();
        net.restart(3, DiskFate::Kept);
        net.restart(4, DiskFate::Lost);
        net.add(20, 45, secs(5));
        net.run_for(secs(5)).unwrap();
        net.run_until(is_whole, secs(120)).unwrap();
        let news = net.publish(3, "news", vec![1; 100]);
        net.run_until(|net| net.reached_all(news), secs(10)).unwrap();
    }
}

/// Whether the only contact of a node died before it could say whom else to ask.
fn never_came_in(net: &Network, node: usize) -> bool {
    net.node(node).is_some_and(|node| node.neighbours().count() + node.passive_members().count() == 0)
}

/// One of a hundred nodes crashes and one comes in each second, and one datagram in fifty is lost.
#[test]
fn under_churn_and_loss_messages_reach_the_live_within_ten_rounds_and_all_of_them_later() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed, 500);
        net.run_for(secs(90)).unwrap();
        net.set_link(rumormill_lab::Link { loss: 0.02, ..net.link() });
        let rounds = net.settings().gossip_interval * 10;
        let (mut pairs, mut in_time, mut late) = (0, 0, 0);
        let mut published = Vec::new();
        for second in 0..60 {
            for nth in 0..5 {
                let up: Vec<usize> = net.up().collect();
                net.crash(up[(second * 7 + nth * 101 + 13) % up.len()]);
                let contact = net.up().nth(second + nth).expect("hundreds are up");
                net.add(1, contact, Duration::ZERO);
            }
            let speaker = net.up().nth((second * 37) % 400).expect("hundreds are up");
            // Whoever started just now has to join first.
            let settled = net.now().saturating_sub(secs(5));
            let live: Vec<(usize, u64)> = (net.up())
                .filter(|&node| {
                    net.lives().iter().any(|life| life.node == node && life.end.is_none() && life.from <= settled)
                })
                .map(|node| (node, net.life(node)))
                .collect();
            published.push((net.now(), net.publish(speaker, "news", vec![1; 100]), live));
            net.run_for(secs(1)).unwrap();
        }
        net.run_for(secs(30)).unwrap();
        for (at, ticket, live) in published {
            let Some(key) = net.published(ticket) else { continue };
            let spread = &net.measured().messages[key];
            for (node, life) in live {
                if !net.is_up(node) || net.life(node) != life || never_came_in(&net, node) {
                    continue;
                }
                let arrival = spread.arrivals.iter().find(|arrival| (arrival.node, arrival.life) == (node, life));
                pairs += 1;
                in_time += usize::from(arrival.is_some_and(|arrival| arrival.at <= at + rounds));
                late += usize::from(arrival.is_some());
            }
        }
        let line = net.replay_line();
        assert!(pairs > 15_000, "{pairs} pairs");
        assert!(in_time * 10_000 >= pairs * 9_999, "{in_time} of {pairs} within ten rounds, {line}");
        assert_eq!(late, pairs, "after reconciliation, {line}");
    }
}
