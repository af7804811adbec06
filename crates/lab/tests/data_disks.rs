//! The database and its disks: what is acknowledged outlives any crash, what is confirmed is on so many disks, and a disk that
//! fails or comes back from a backup loses nothing that somebody else has.

mod database;

use std::time::Duration;

use database::{all_lack, all_show, done, forgetful, network, register, result, set, settle};
use rumormill_core::data::{Edit, Value, Write};
use rumormill_core::{Refusal, Wall};
use rumormill_lab::{DiskFate, Network, Options, seeds};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn counters_are_exact_and_registers_as_they_were_after_a_backup_was_restored() {
    for seed in seeds::chosen(&(1..=20).collect::<Vec<_>>()) {
        let mut net = network(seed, 5).start_joined().unwrap();
        let first = net.add_to(1, "c", 100);
        done(&mut net, first).unwrap();
        let backup = net.backup(1);
        let second = net.add_to(1, "c", 10);
        done(&mut net, second).unwrap();
        let put = net.put(1, "r", b"after the backup");
        done(&mut net, put).unwrap();
        net.run_for(secs(1)).unwrap();
        net.crash(1);
        net.put_back(1, backup);
        net.run_for(secs(2)).unwrap();
        net.restart(1, DiskFate::Kept);
        net.run_until(|net| net.node(1).is_some_and(|node| node.member_counts().alive > 0), secs(1)).unwrap();
        net.run_for(ms(20)).unwrap();
        // Before anybody can have told it of the second.
        let third = net.add_to(1, "c", 1);
        done(&mut net, third).unwrap();
        net.run_for(secs(1)).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "c", &Value::Counter(111));
        all_show(&net, "r", &register(b"after the backup"));
    }
}

#[test]
fn a_disk_that_takes_no_writes_stops_writes_alone_and_gets_everything_once_it_works() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed, 4).start_joined().unwrap();
        let before = net.put(0, "own", b"before");
        done(&mut net, before).unwrap();
        settle(&mut net).unwrap();
        net.set_disk_failing(0, true);
        let refused = net.put(0, "own", b"lost");
        let refusal = result(&mut net, refused).unwrap().unwrap_err();
        assert!(matches!(&refusal, Refusal::NotStored { reason } if reason.contains("no space left")), "{refusal}");
        let elsewhere = net.put(1, "other", b"v");
        done(&mut net, elsewhere).unwrap();
        net.run_until(Network::everyone_holds_the_same, secs(10)).unwrap();
        all_show(&net, "own", &register(b"before"));
        all_show(&net, "other", &register(b"v"));
        net.run_until(|net| net.node(0).is_some_and(|node| node.unsaved() == 1), secs(1)).unwrap();
        net.set_disk_failing(0, false);
        let after = net.put(0, "own", b"after");
        done(&mut net, after).unwrap();
        settle(&mut net).unwrap();
        net.crash(0);
        net.partition(&[vec![0]]);
        net.restart(0, DiskFate::Kept);
        net.run_for(ms(100)).unwrap();
        assert_eq!(net.get(0, "own").map(|entry| entry.value), Some(register(b"after")));
        assert_eq!(net.get(0, "other").map(|entry| entry.value), Some(register(b"v")));
    }
}

#[test]
fn an_expiry_that_is_stored_behind_a_write_does_not_undo_it() {
    for seed in seeds::chosen(&[1, 2, 3, 4]) {
        let mut options = Options { nodes: 2, disk_delay: ms(200), ..Default::default() };
        options.config = forgetful();
        let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
        let mut net = Network::new(seed).options(options).replay(replay).start_joined().unwrap();
        let short = net.put_for(0, "k", b"a value that is longer than its hash", secs(2));
        done(&mut net, short).unwrap();
        // The next value is on its way to the disk, which takes 20 ms at least, when this one runs out.
        let expires = net.get(0, "k").and_then(|entry| entry.expires).unwrap();
        net.run_until(|net| net.wall(0) + ms(10) >= Wall::from_micros(u64::from(expires.0) * 1_000_000), secs(5))
            .unwrap();
        let next = net.put(0, "k", b"next");
        done(&mut net, next).unwrap();
        net.run_for(secs(1)).unwrap();
        net.kill(0);
        net.partition(&[vec![0]]);
        net.restart(0, DiskFate::Kept);
        assert_eq!(net.get(0, "k").map(|entry| entry.value), Some(register(b"next")));
    }
}

#[test]
fn a_second_try_to_store_what_others_wrote_does_not_undo_a_write_under_way() {
    for seed in seeds::chosen(&(1..=12).collect::<Vec<_>>()) {
        let options = Options { nodes: 2, disk_delay: ms(300), ..Default::default() };
        let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
        let mut net = Network::new(seed).options(options).replay(replay).start_joined().unwrap();
        net.set_disk_failing(0, true);
        let theirs = net.put(1, "k", b"theirs");
        done(&mut net, theirs).unwrap();
        net.run_until(|net| net.node(0).is_some_and(|node| node.unsaved() == 1), secs(5)).unwrap();
        net.set_disk_failing(0, false);
        net.run_for(ms(1_700)).unwrap();
        let ours = net.put(0, "k", b"ours");
        done(&mut net, ours).unwrap();
        net.run_for(secs(1)).unwrap();
        net.kill(0);
        net.partition(&[vec![0]]);
        net.restart(0, DiskFate::Kept);
        assert_eq!(net.get(0, "k").map(|entry| entry.value), Some(register(b"ours")));
    }
}

#[test]
fn everything_is_there_after_all_nodes_died_at_once() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed, 6).config(forgetful()).start_joined().unwrap();
        for node in 0..6 {
            let amount = 1 << node;
            let writes = [
                net.add_to(node, "c", amount),
                net.insert(node, "s", format!("e{node}").as_bytes()),
                net.put(node, &format!("r{node}"), b"v"),
            ];
            for write in writes {
                done(&mut net, write).unwrap();
            }
        }
        let deleted = net.delete(0, "r0");
        done(&mut net, deleted).unwrap();
        for node in 0..6 {
            net.crash(node);
        }
        net.run_for(secs(5)).unwrap();
        for node in 0..6 {
            net.restart(node, DiskFate::Kept);
        }
        net.run_for(ms(100)).unwrap();
        // Each goes on where it was.
        let more: Vec<_> = (0..6).map(|node| net.add_to(node, "c", 100)).collect();
        for write in more {
            done(&mut net, write).unwrap();
        }
        settle(&mut net).unwrap();
        all_show(&net, "c", &Value::Counter(663));
        all_show(&net, "s", &set(&["e0", "e1", "e2", "e3", "e4", "e5"]));
        all_lack(&net, "r0");
        all_show(&net, "r5", &register(b"v"));
    }
}

#[test]
fn a_confirmed_write_is_on_so_many_other_disks_at_that_moment() {
    for seed in seeds::chosen(&(1..=10).collect::<Vec<_>>()) {
        let options = Options { nodes: 5, disk_delay: ms(100), ..Default::default() };
        let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
        let mut net = Network::new(seed).options(options).replay(replay).start_joined().unwrap();
        let write = net.write_all(0, vec![Write::new("k", put(b"v"))], 3, secs(10));
        let written = done(&mut net, write).unwrap();
        assert!(written.durable && written.replicas >= 3, "{written:?}");
        (0..5).for_each(|node| net.crash(node));
        net.partition(&[vec![0], vec![1], vec![2], vec![3]]);
        (0..5).for_each(|node| net.restart(node, DiskFate::Kept));
        net.run_for(ms(150)).unwrap();
        let holders = (1..5).filter(|&node| net.get(node, "k").is_some()).count();
        assert!(holders >= written.replicas, "{holders} of {}", written.replicas);
    }
}

fn put(value: &[u8]) -> Edit {
    Edit::Put { value: value.to_vec(), ttl: None }
}

#[test]
fn who_has_no_disk_or_dies_before_its_disk_has_it_confirms_nothing_and_the_deadline_says_how_many_did() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let options = Options { nodes: 4, disk_delay: ms(400), ..Default::default() };
        let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
        let mut net = Network::new(seed).options(options).replay(replay).start_joined().unwrap();
        net.kill(1);
        net.take_disk(1);
        net.restart(1, DiskFate::Kept);
        net.run_for(secs(15)).unwrap();
        // n1 has no disk, that of n2 fails, and n3 dies as soon as it holds the value: its disk takes at least 40 ms.
        net.set_disk_failing(2, true);
        let write = net.write_all(0, vec![Write::new("k", put(b"v"))], 1, secs(8));
        net.run_until(|net| net.get(3, "k").is_some(), secs(2)).unwrap();
        net.crash(3);
        net.run_for(secs(5)).unwrap();
        assert!(net.result(write).is_none(), "{:?}", net.result(write));
        let written = done(&mut net, write).unwrap();
        assert_eq!((written.replicas, written.wanted), (0, 1));
        assert!(written.in_memory <= 1, "{written:?}");
        let later = net.write_all(0, vec![Write::new("k2", put(b"v"))], 1, secs(8));
        net.set_disk_failing(2, false);
        assert_eq!(done(&mut net, later).unwrap().replicas, 1);
    }
}
