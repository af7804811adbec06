//! Leitao, Pereira and Rodrigues, "Epidemic broadcast trees" (Plumtree), SRDS 2007, on real nodes with partial views.
#![expect(clippy::print_stdout, reason = "the figures of the documentation come from here")]

use std::time::Duration;

use rumormill_core::config::{ConfigBuilder, TreeUse, View};
use rumormill_lab::{Network, Summary, seeds};

const NODES: usize = 1_000;

fn overlay(seed: u64, tree: TreeUse) -> Network {
    let config =
        ConfigBuilder { view: View::Partial, tree, shuffle_interval: Duration::from_secs(5), ..ConfigBuilder::lan() };
    let line = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    let net = Network::new(seed).nodes(NODES).config(config).replay(line).without_disks().unchecked();
    let mut net = net.start_cold(0, Duration::from_secs(10));
    net.run_for(Duration::from_mins(2)).expect("nobody looks for faults here");
    net
}

/// What one message cost: payloads received for each node but its origin, less one; and the most hops it took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    redundancy: f64,
    last_hop: f64,
}

#[expect(clippy::cast_precision_loss, reason = "payloads are counted")]
fn publish(net: &mut Network, from: usize) -> Cost {
    let received = |net: &Network| -> u64 {
        net.up().filter_map(|node| net.node(node)).map(|node| node.counters().payloads_received).sum()
    };
    let before = received(net);
    let news = net.publish(from, "news", vec![1; 100]);
    net.run_for(Duration::from_secs(1)).expect("nobody looks for faults here");
    assert!(net.reached_all(news), "{}", net.replay_line());
    let key = net.published(news).expect("it is acknowledged");
    let last_hop = net.measured().messages[key].arrivals.iter().map(|arrival| arrival.hops).max();
    let redundancy = (received(net) - before) as f64 / (NODES - 1) as f64 - 1.0;
    Cost { redundancy, last_hop: f64::from(last_hop.expect("it arrived")) }
}

fn mean(costs: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    Summary::of(&costs.iter().map(of).collect::<Vec<_>>()).expect("messages were published").mean
}

fn sender(nth: usize) -> usize {
    (nth * 617 + 11) % NODES
}

#[test]
fn section_4_with_one_sender_the_tree_sends_next_to_nothing_twice_from_the_fifth_message_on_and_no_longer_ways_than_a_flood()
 {
    for seed in seeds::chosen(&[1, 2]) {
        let mut grown = overlay(seed, TreeUse::Always);
        let mut flooded = overlay(seed, TreeUse::Never);
        let tree: Vec<Cost> = (0..10).map(|_| publish(&mut grown, sender(0))).collect();
        let flood: Vec<Cost> = (0..5).map(|_| publish(&mut flooded, sender(0))).collect();
        assert!(tree[0].redundancy > 1.0, "the first is a flood: {tree:?}, {}", grown.replay_line());
        for cost in &tree[4..] {
            assert!(cost.redundancy < 0.02, "{tree:?}, {}", grown.replay_line());
        }
        let (by_tree, by_flood) = (mean(&tree[4..], |cost| cost.last_hop), mean(&flood, |cost| cost.last_hop));
        assert!(by_tree <= 1.5 * by_flood, "{by_tree} hops, {by_flood} by flood, {}", grown.replay_line());
    }
}

#[test]
fn section_4_with_a_hundred_senders_less_than_a_third_is_sent_twice_and_ways_are_short_from_the_fourth_of_each_on() {
    for seed in seeds::chosen(&[1]) {
        let mut net = overlay(seed, TreeUse::Always);
        let mut flooded = overlay(seed, TreeUse::Never);
        let costs: Vec<Cost> = (0..400).map(|nth| publish(&mut net, sender(nth % 100))).collect();
        let redundancy = mean(&costs[4..], |cost| cost.redundancy);
        assert!(redundancy < 0.3, "{redundancy}, {}", net.replay_line());
        let flood: Vec<Cost> = (0..20).map(|nth| publish(&mut flooded, sender(nth * 5))).collect();
        let by_round: Vec<f64> = costs.chunks(100).map(|round| mean(round, |cost| cost.last_hop)).collect();
        let by_flood = mean(&flood, |cost| cost.last_hop);
        println!("redundancy {redundancy}, last hops {by_round:?}, by flood {by_flood}");
        assert!(by_round[3] <= 1.5 * by_flood, "{by_round:?} hops, {by_flood} by flood, {}", net.replay_line());
    }
}

#[test]
fn section_3_5_a_tree_whose_inner_nodes_crash_mends_itself_by_what_lazy_links_announce() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = overlay(seed, TreeUse::Always);
        for _ in 0..5 {
            publish(&mut net, sender(0));
        }
        for node in (0..NODES).filter(|node| node % 10 == 3 && *node != sender(0)) {
            net.crash(node);
        }
        // In the instant of the crash nobody knows of it: only announcements lead round the gaps.
        let news = net.publish(sender(0), "news", vec![1; 100]);
        net.run_until(|net| net.reached_all(news), Duration::from_secs(10)).unwrap();
        net.run_for(Duration::from_secs(30)).unwrap();
        for _ in 0..5 {
            let news = net.publish(sender(0), "news", vec![1; 100]);
            net.run_until(|net| net.reached_all(news), Duration::from_secs(1)).unwrap();
        }
    }
}
