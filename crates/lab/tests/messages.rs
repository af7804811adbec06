//! Messages: to everybody, once, in order, whatever happens on the way.

use std::time::Duration;

use rumormill_core::StopRule;
use rumormill_core::config::{ConfigBuilder, Forward, Mode};
use rumormill_lab::{Network, seeds};

const MODES: [Mode; 3] = [Mode::Push, Mode::Pull, Mode::PushPull];

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A network for one seed, whose failures say how to replay them.
fn network(seed: u64) -> Network {
    Network::new(seed).replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed))
}

#[test]
fn a_message_reaches_all_within_two_seconds() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed).nodes(100).start_joined().unwrap();
        let news = net.publish(42, "news", b"rumor has it".to_vec());
        net.run_until(|net| net.reached_all(news), secs(2)).unwrap();
    }
}

#[test]
fn each_mode_delivers_with_and_without_loss() {
    for seed in seeds::chosen(&[1]) {
        for mode in MODES {
            for loss in [0.0, 0.3] {
                let config = ConfigBuilder { mode, ..ConfigBuilder::lan() };
                let mut net = network(seed).nodes(40).loss(loss).config(config).start_joined().unwrap();
                let news: Vec<_> = (0..20).map(|n| net.publish(n, "news", vec![1; 200])).collect();
                let all = |net: &Network| news.iter().all(|&ticket| net.reached_all(ticket));
                net.run_until(all, secs(60)).unwrap_or_else(|failure| panic!("{mode:?}, loss {loss}: {failure}"));
            }
        }
    }
}

#[test]
fn a_stream_of_messages_arrives_in_order_through_loss_and_reordering() {
    // The checker of order looks at every delivery; this gives it something to look at.
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed).nodes(15).loss(0.1).jitter(ms(30)).reordering(0.3).duplication(0.2);
        net = net.start_joined().unwrap();
        let mut news = Vec::new();
        for _ in 0..200 {
            news.push(net.publish(3, "ticks", vec![7; 50]));
            net.run_for(ms(20)).unwrap();
        }
        net.run_until(|net| news.iter().all(|&ticket| net.reached_all(ticket)), secs(60)).unwrap();
    }
}

#[test]
fn nodes_of_different_modes_work_in_one_cluster() {
    for seed in seeds::chosen(&[1]) {
        let rounds = ConfigBuilder { forward: Forward::AtRounds, mode: Mode::Pull, ..ConfigBuilder::lan() };
        let mut net = network(seed).nodes(20).start_joined().unwrap();
        net.set_config(rounds);
        net.add(20, 0, secs(1));
        net.run_for(secs(1)).unwrap();
        net.run_until(Network::everyone_knows_everyone, secs(20)).unwrap();
        let [old, new] = [3, 33].map(|node| net.publish(node, "news", vec![2; 100]));
        net.run_until(|net| net.reached_all(old) && net.reached_all(new), secs(30)).unwrap();
    }
}

#[test]
fn a_message_of_a_megabyte_reaches_all_but_not_faster_than_the_line_carries_it() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed).nodes(10).stream_speed(10_000_000).start_joined().unwrap();
        let news = net.publish(0, "big", vec![9; 1 << 20]);
        let took = net.run_until(|net| net.reached_all(news), secs(60)).unwrap();
        assert!(took >= ms(104), "a megabyte needs 105 ms at 10 MB/s, and this took {took:?}");
    }
}

#[test]
fn a_large_message_arrives_although_its_streams_lose_segments() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed).nodes(10).loss(0.1).start_joined().unwrap();
        let news = net.publish(0, "big", vec![9; 300_000]);
        net.run_until(|net| net.reached_all(news), secs(60)).unwrap();
    }
}

#[test]
fn messages_published_on_both_sides_of_a_partition_reach_both_sides_when_it_heals() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed).nodes(12).start_joined().unwrap();
        net.partition(&[(0..6).collect()]);
        net.run_for(secs(20)).unwrap();
        let [left, right] = [2, 9].map(|node| net.publish(node, "news", vec![3; 100]));
        net.run_for(secs(20)).unwrap();
        assert!(!net.reached_all(left) && !net.reached_all(right));
        net.heal();
        net.run_until(|net| net.reached_all(left) && net.reached_all(right), secs(60)).unwrap();
    }
}

#[test]
fn a_message_outlives_its_publisher_once_one_other_node_holds_it() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed).nodes(20).start_joined().unwrap();
        let news = net.publish(5, "news", vec![4; 100]);
        let held_twice =
            |net: &Network| net.published(news).is_some_and(|key| net.measured().messages[key].arrivals.len() >= 2);
        net.run_until(held_twice, secs(5)).unwrap();
        net.crash(5);
        net.run_until(|net| net.reached_all(news), secs(30)).unwrap();
    }
}

#[test]
fn the_bandwidth_bound_holds_while_everybody_publishes_and_all_arrives_later() {
    for seed in seeds::chosen(&[1]) {
        let config = ConfigBuilder { bandwidth_max: 20_000, ..ConfigBuilder::lan() };
        let mut net = network(seed).nodes(10).config(config).start_joined().unwrap();
        let news: Vec<_> = (0..100).map(|n| net.publish(n % 10, "news", vec![5; 500])).collect();
        net.run_until(|net| news.iter().all(|&ticket| net.reached_all(ticket)), secs(180)).unwrap();
        assert_eq!(net.measured().false_deaths(), 0);
    }
}

#[test]
fn large_messages_reach_all_under_a_bandwidth_contract_and_hardly_anybody_gets_one_twice() {
    // Each node has to receive 400 kB and can send 13.5 kB/s at worst: 30 s if nothing went twice.
    for seed in seeds::chosen(&[1, 2]) {
        for mode in MODES {
            let stop = StopRule::FeedbackCounter { k: 2 };
            let config = ConfigBuilder { bandwidth_max: 20_000, mode, stop, ..ConfigBuilder::lan() };
            let mut net = network(seed).nodes(10).loss(0.05).duplication(0.2).config(config).start_joined().unwrap();
            let news: Vec<_> = (0..10).map(|n| net.publish(n, "news", vec![5; 40_000])).collect();
            let all = |net: &Network| news.iter().all(|&ticket| net.reached_all(ticket));
            net.run_until(all, secs(60)).unwrap_or_else(|failure| panic!("{mode:?}: {failure}"));
            let payloads: u64 =
                net.up().filter_map(|n| net.node(n)).map(|node| node.counters().payloads_received).sum();
            assert!(payloads <= 90 * 5 / 4, "{mode:?}: {payloads} payloads, where 90 would do");
        }
    }
}
