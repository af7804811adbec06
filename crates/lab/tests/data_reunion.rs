//! Away longer than deletions are remembered: what was deleted meanwhile stays deleted, and what was written on either side
//! stays written.

#[expect(dead_code, reason = "other tests share more of it")]
mod database;

use std::time::Duration;

use database::{TOMBSTONE_TTL, all_lack, all_show, done, forgetful, network, register, set};
use rumormill_core::data::{Edit, Value, Write};
use rumormill_core::rng::Rng;
use rumormill_lab::{DiskFate, Failure, Link, Network, Options, seeds};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// What was written less than ten minutes before a separation may not have come over in time: it counts as younger.
const MARGIN: Duration = secs(600);
/// How often a node stores that it holds all that the others do: it may take itself to have been away for that much longer.
const HEARD_PAUSE: Duration = secs(60);
const NODES: usize = 5;

/// A cluster that has held some keys for long.
fn settled(seed: u64) -> Result<Network, Failure> {
    settled_over(seed, Link::default())
}

fn settled_over(seed: u64, link: Link) -> Result<Network, Failure> {
    let options = Options { nodes: NODES, link, config: forgetful(), ..Options::default() };
    let mut net = network(seed, NODES).options(options).start_joined()?;
    for key in ["kept", "deleted-here", "deleted-there", "overwritten"] {
        let put = net.put(0, key, b"old");
        done(&mut net, put)?;
    }
    for node in 0..NODES {
        let (add, insert) = (net.add_to(node, "hits", 1), net.insert(node, "set", format!("e{node}").as_bytes()));
        done(&mut net, add)?;
        done(&mut net, insert)?;
    }
    let counter = net.add_to(0, "old-counter", 7);
    done(&mut net, counter)?;
    net.run_until(Network::data_has_settled, secs(30))?;
    net.run_for(MARGIN + HEARD_PAUSE * 2)?;
    Ok(net)
}

/// What both sides of a separation do, each by one node.
fn live_apart(net: &mut Network, here: usize, there: usize) -> Result<(), Failure> {
    // Long enough for each side to see the other one dead.
    net.run_for(secs(60))?;
    let writes = [
        net.delete(here, "deleted-here"),
        net.delete(here, "old-counter"),
        net.remove_element(here, "set", b"e0"),
        net.put(here, "new-here", b"new"),
        net.add_to(here, "hits", 10),
        net.delete(there, "deleted-there"),
        net.put(there, "overwritten", b"new"),
        net.put(there, "new-there", b"new"),
        net.remove_element(there, "set", b"e1"),
        net.insert(there, "set", b"new"),
        net.add_to(there, "hits", 100),
    ];
    for write in writes {
        done(net, write)?;
    }
    net.run_for(TOMBSTONE_TTL * 2)
}

fn all_is_as_it_should(net: &mut Network) -> Result<(), Failure> {
    net.run_until(Network::everyone_knows_everyone, secs(120))?;
    net.run_until(Network::data_has_settled, secs(120))?;
    net.run_for(TOMBSTONE_TTL * 2)?;
    for key in ["deleted-here", "deleted-there", "old-counter"] {
        all_lack(net, key);
    }
    all_show(net, "kept", &register(b"old"));
    all_show(net, "overwritten", &register(b"new"));
    all_show(net, "new-here", &register(b"new"));
    all_show(net, "new-there", &register(b"new"));
    all_show(net, "hits", &Value::Counter(115));
    all_show(net, "set", &set(&["e2", "e3", "e4", "new"]));
    net.run_until(Network::data_has_settled, secs(30))?;
    net.check_data()
}

#[test]
fn a_node_that_was_cut_off_for_long() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = settled(seed).unwrap();
        net.partition(&[vec![4]]);
        live_apart(&mut net, 4, 0).unwrap();
        net.heal();
        all_is_as_it_should(&mut net).unwrap();
    }
}

#[test]
fn two_nodes_that_were_cut_off_together_for_long() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = settled(seed).unwrap();
        net.partition(&[vec![3, 4]]);
        live_apart(&mut net, 4, 0).unwrap();
        net.heal();
        all_is_as_it_should(&mut net).unwrap();
    }
}

#[test]
fn two_nodes_that_were_cut_off_together_and_restarted_meanwhile() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = settled(seed).unwrap();
        net.partition(&[vec![3, 4]]);
        live_apart(&mut net, 3, 1).unwrap();
        for node in [0, 3, 4] {
            net.kill(node);
            net.restart(node, DiskFate::Kept);
        }
        net.run_for(secs(20)).unwrap();
        net.heal();
        all_is_as_it_should(&mut net).unwrap();
    }
}

#[test]
fn a_node_that_was_down_for_long() {
    for seed in seeds::chosen(&[1, 2, 3, 170_560]) {
        let mut net = settled(seed).unwrap();
        let add = net.add_to(4, "own", 5);
        done(&mut net, add).unwrap();
        net.crash(4);
        live_apart(&mut net, 2, 0).unwrap();
        net.restart(4, DiskFate::Kept);
        all_is_as_it_should(&mut net).unwrap();
        let add = net.add_to(4, "own", 1);
        done(&mut net, add).unwrap();
        net.run_until(Network::data_has_settled, secs(30)).unwrap();
        all_show(&net, "own", &Value::Counter(6));
    }
}

#[test]
fn a_backup_that_is_older_than_deletions_are_remembered() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = settled(seed).unwrap();
        let backup = net.backup(4);
        let (add, put) = (net.add_to(4, "own", 5), net.put(4, "after", b"the backup"));
        done(&mut net, add).unwrap();
        done(&mut net, put).unwrap();
        live_apart(&mut net, 2, 0).unwrap();
        net.crash(4);
        net.put_back(4, backup);
        net.run_for(secs(5)).unwrap();
        net.restart(4, DiskFate::Kept);
        net.run_for(secs(1)).unwrap();
        let add = net.add_to(4, "own", 1);
        done(&mut net, add).unwrap();
        all_is_as_it_should(&mut net).unwrap();
        all_show(&net, "own", &Value::Counter(6));
        all_show(&net, "after", &register(b"the backup"));
    }
}

#[test]
fn a_network_that_flaps_before_the_two_sides_stay_together() {
    for seed in seeds::chosen(&(1..=12).collect::<Vec<_>>()) {
        // So slow that a reunion takes longer than some of the times together.
        let mut net = settled_over(seed, Link { latency: ms(150), ..Link::default() }).unwrap();
        let group = if seed % 2 == 0 { vec![4] } else { vec![3, 4] };
        net.partition(std::slice::from_ref(&group));
        live_apart(&mut net, 4, 0).unwrap();
        let rng = &mut Rng::new(seed);
        for _ in 0..8 {
            net.heal();
            let together = ms(50 + rng.below(4_000) as u64);
            net.run_for(together).unwrap();
            net.partition(std::slice::from_ref(&group));
            // Some as long as deletions are remembered, some too short for anybody to be declared dead.
            let apart = if rng.chance(0.3) { TOMBSTONE_TTL + secs(20) } else { ms(rng.below(15_000) as u64) };
            net.run_for(apart).unwrap();
        }
        net.heal();
        all_is_as_it_should(&mut net).unwrap();
    }
}

#[test]
fn a_node_that_was_asleep_for_long() {
    for seed in seeds::chosen(&[1, 2, 3, 4]) {
        let mut net = settled(seed).unwrap();
        let (add, put) = (net.add_to(4, "own", 5), net.put(4, "last", b"before it slept"));
        done(&mut net, put).unwrap();
        done(&mut net, add).unwrap();
        net.pause(4, secs(60) + TOMBSTONE_TTL * 2 + secs(20));
        live_apart(&mut net, 2, 0).unwrap();
        net.run_for(secs(30)).unwrap();
        all_is_as_it_should(&mut net).unwrap();
        all_show(&net, "own", &Value::Counter(5));
        all_show(&net, "last", &register(b"before it slept"));
        let add = net.add_to(4, "own", 1);
        done(&mut net, add).unwrap();
        net.run_until(Network::data_has_settled, secs(30)).unwrap();
        all_show(&net, "own", &Value::Counter(6));
    }
}

/// Updates on each side where rolls have to be long: more than two packets of them.
const MANY: usize = 10_000;

fn many(n: usize) -> String {
    format!("many-{n:05}")
}

/// Two nodes that hold many keys, and then part for long. Each deletes some and writes others; both see the other one return.
fn two_with_much(seed: u64, stream_bytes_per_second: u64) -> Result<Network, Failure> {
    let options = Options { nodes: 2, config: forgetful(), stream_bytes_per_second, ..Options::default() };
    let mut net = network(seed, 2).options(options).start_joined()?;
    let put = |n: usize| Write::new(many(n), Edit::Put { value: b"old".to_vec(), ttl: None });
    for n in (0..MANY).step_by(1_000) {
        let write = net.write_all(0, (n..n + 1_000).map(put).collect(), 0, secs(10));
        done(&mut net, write)?;
    }
    net.run_for(secs(60))?;
    assert!(net.data_has_settled());
    net.run_for(MARGIN + HEARD_PAUSE * 2)?;
    net.partition(&[vec![0]]);
    net.run_for(secs(60))?;
    for node in 0..2 {
        let delete = |n: usize| Write::new(many(n), Edit::Delete);
        let gone = (0..MANY).skip(node).step_by(100).map(delete).collect();
        let write = net.write_all(node, gone, 0, secs(10));
        done(&mut net, write)?;
        let put = net.put(node, &format!("new-{node}"), b"new");
        done(&mut net, put)?;
    }
    net.run_for(TOMBSTONE_TTL * 2)?;
    Ok(net)
}

fn much_is_as_it_should(net: &mut Network) -> Result<(), Failure> {
    net.run_until(
        |net| net.up().all(|node| net.node(node).is_some_and(|node| node.member_counts().alive == 2)),
        secs(120),
    )?;
    net.run_for(secs(120))?;
    assert!(net.data_has_settled(), "{}", net.replay_line());
    net.run_for(TOMBSTONE_TTL * 2)?;
    net.check_data()?;
    for node in 0..2 {
        assert_eq!(net.list(node).len(), MANY - MANY / 50 + 2, "n{node}; {}", net.replay_line());
    }
    for n in 0..MANY {
        let is_gone = n % 100 < 2;
        assert_eq!(net.get(0, &many(n)).is_none(), is_gone, "{}; {}", many(n), net.replay_line());
    }
    Ok(())
}

#[test]
fn two_that_both_ask_and_whose_rolls_are_longer_than_a_packet() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = two_with_much(seed, 125_000_000).unwrap();
        net.heal();
        much_is_as_it_should(&mut net).unwrap();
    }
}

#[test]
fn a_roll_that_breaks_off_half_way_deletes_nothing() {
    for seed in seeds::chosen(&[1, 2, 3, 4]) {
        // A roll takes some seconds.
        let mut net = two_with_much(seed, 20_000).unwrap();
        let before = [net.list(0).len(), net.list(1).len()];
        for tenths in [5, 15, 25, 35, 45] {
            net.heal();
            net.run_until(|net| net.node(0).is_some_and(|node| node.member_counts().alive == 2), secs(120)).unwrap();
            net.run_for(ms(tenths * 100 + seed * 20)).unwrap();
            net.partition(&[vec![0]]);
            // Streams that stall for ten seconds end, and each sees the other one dead.
            net.run_for(secs(60)).unwrap();
            for (node, before) in before.into_iter().enumerate() {
                let now = net.list(node).len();
                assert!(now >= before - MANY / 100 && now <= before + 1, "{now} of {before} at n{node}");
            }
        }
        net.heal();
        much_is_as_it_should(&mut net).unwrap();
    }
}
