//! Away longer than deletions are remembered: what was deleted meanwhile stays deleted, and what was written on either side
//! stays written.

mod database;

use std::time::Duration;

use database::{all_lack, all_show, done, register, set};
use rumormill_core::config::ConfigBuilder;
use rumormill_core::data::Value;
use rumormill_lab::{DiskFate, Failure, Network, seeds};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The shortest time for which deletions may be remembered.
const TOMBSTONE_TTL: Duration = secs(80);
/// What was written less than ten minutes before a separation may not have come over in time: it counts as younger.
const MARGIN: Duration = secs(600);
const NODES: usize = 5;

/// A cluster that has held some keys for long.
fn settled(seed: u64) -> Result<Network, Failure> {
    let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    let config = ConfigBuilder { tombstone_ttl: TOMBSTONE_TTL, ..ConfigBuilder::lan() };
    let mut net = Network::new(seed).replay(replay).nodes(NODES).config(config).start_joined()?;
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
    net.run_for(MARGIN + secs(60))?;
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
    for seed in seeds::chosen(&[1, 2, 3]) {
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
