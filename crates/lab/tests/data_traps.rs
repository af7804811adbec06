//! The traps of a replicated database, one by one: each of these fails without the rule that avoids it.

mod database;

use std::collections::BTreeMap;
use std::time::Duration;

use database::{TOMBSTONE_TTL, all_lack, all_show, done, forgetful, network, register, result, set, settle};
use rumormill_core::Refusal;
use rumormill_core::config::ConfigBuilder;
use rumormill_core::data::{Entry, Kind, Value};
use rumormill_lab::{DiskFate, Failure, Network, seeds};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn an_overwritten_value_does_not_return_when_the_overwriting_one_ran_out_while_a_node_was_away() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 3).config(forgetful()).start_joined().unwrap();
        let old = net.put(0, "k", b"old");
        done(&mut net, old).unwrap();
        settle(&mut net).unwrap();
        net.crash(2);
        let new = net.put_for(0, "k", b"a new value that is longer than its hash", secs(5));
        done(&mut net, new).unwrap();
        net.run_for(secs(30)).unwrap();
        all_lack(&net, "k");
        net.restart(2, DiskFate::Kept);
        net.run_for(ms(300)).unwrap();
        settle(&mut net).unwrap();
        all_lack(&net, "k");
        net.run_for(TOMBSTONE_TTL).unwrap();
        all_lack(&net, "k");
    }
}

/// Node 3 writes while its clock is two minutes ahead, cut off, as where nobody else is nobody says what time it is. Then its
/// clock is right, and it sees the others again.
fn write_from_tomorrow(net: &mut Network) -> Result<(), Failure> {
    net.partition(&[vec![3]]);
    net.crash(3);
    net.set_clock_ahead(3, secs(120));
    net.restart(3, DiskFate::Kept);
    net.run_for(secs(30))?;
    let early = net.put(3, "k", b"from tomorrow");
    done(net, early)?;
    net.set_clock_ahead(3, secs(0));
    net.heal();
    Ok(())
}

#[test]
fn a_value_far_ahead_of_the_clock_is_refused_and_taken_once_its_time_has_come() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 4).start_joined().unwrap();
        write_from_tomorrow(&mut net).unwrap();
        net.run_for(secs(25)).unwrap();
        for node in 0..3 {
            assert_eq!(net.get(node, "k"), None, "it is 65 s ahead");
        }
        let refused =
            |net: &Network| -> u64 { (0..3).map(|node| net.node(node).unwrap().counters().dropped.refused).sum() };
        let before = refused(&net);
        net.run_for(secs(5)).unwrap();
        assert_eq!(refused(&net), before, "what was refused counts as known");
        net.run_for(secs(30)).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "k", &register(b"from tomorrow"));
    }
}

#[test]
fn a_node_whose_clock_is_ahead_of_its_peers_refuses_to_write_and_says_why() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 5).start_joined().unwrap();
        net.run_for(secs(5)).unwrap();
        for (ahead, accepts) in [(29, true), (40, false), (0, true)] {
            net.set_clock_ahead(1, secs(ahead));
            net.run_for(secs(10)).unwrap();
            let write = net.put(1, "k", b"v");
            match result(&mut net, write).unwrap() {
                Ok(_) => assert!(accepts, "{ahead} s ahead"),
                Err(Refusal::ClockAhead { ahead: said }) => {
                    assert!(!accepts && (ahead - 1..=ahead + 1).contains(&said.as_secs()), "{said:?} for {ahead} s");
                }
                Err(other) => panic!("{other}"),
            }
            let other = net.put(2, "other", b"v");
            done(&mut net, other).unwrap();
        }
        settle(&mut net).unwrap();
    }
}

#[test]
fn a_node_that_starts_with_a_clock_far_ahead_accepts_no_write_before_it_has_heard_what_time_it_is() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed, 5).start_joined().unwrap();
        net.run_for(secs(5)).unwrap();
        net.kill(1);
        net.set_clock_ahead(1, secs(86_400));
        net.restart(1, DiskFate::Kept);
        let started = net.now();
        // From the first moment at which it takes writes.
        while net.now() < started + secs(3) {
            net.run_for(ms(1)).unwrap();
            let write = net.put(1, "k", b"v");
            let result = result(&mut net, write).unwrap();
            assert!(matches!(result, Err(Refusal::NotDurable | Refusal::ClockAhead { .. })), "{result:?}");
        }
    }
}

#[test]
fn a_node_whose_stamps_are_ahead_refuses_to_write_until_its_peers_would_take_that() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 4).start_joined().unwrap();
        // Its clock is right by then, but whatever it writes comes after that.
        write_from_tomorrow(&mut net).unwrap();
        net.run_for(secs(10)).unwrap();
        let late = net.put(3, "other", b"v");
        let refused = result(&mut net, late).unwrap().unwrap_err();
        assert!(matches!(refused, Refusal::ClockAhead { ahead } if ahead > secs(60)), "{refused}");
        net.run_for(secs(60)).unwrap();
        let late = net.put(3, "other", b"v");
        done(&mut net, late).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "other", &register(b"v"));
    }
}

/// A store that holds some twenty values of a kilobyte.
fn small() -> ConfigBuilder {
    ConfigBuilder { value_bytes_max: 1_024, data_bytes_max: 25_000, ..ConfigBuilder::lan() }
}

/// Fills the store of a node; returns the keys that it took.
fn fill(net: &mut Network, node: usize) -> Result<Vec<String>, Failure> {
    let mut keys = Vec::new();
    loop {
        let key = format!("n{node}-{}", keys.len());
        let write = net.put(node, &key, &[7; 1_000]);
        match result(net, write)? {
            Ok(_) => keys.push(key),
            Err(Refusal::DataFull { bytes, limit }) => {
                assert!(bytes > limit && limit == 25_000, "{bytes} of {limit}");
                return Ok(keys);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_full_store_refuses_to_grow_and_takes_writes_again_after_a_deletion() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 3).config(small()).start_joined().unwrap();
        let keys = fill(&mut net, 0).unwrap();
        settle(&mut net).unwrap();
        let elsewhere = net.put(1, "more", &[7; 1_000]);
        assert!(matches!(result(&mut net, elsewhere).unwrap(), Err(Refusal::DataFull { .. })));
        let same_size = net.put(1, &keys[0], &[8; 1_000]);
        done(&mut net, same_size).unwrap();
        for key in &keys[..5] {
            let deletion = net.delete(2, key);
            done(&mut net, deletion).unwrap();
        }
        settle(&mut net).unwrap();
        let again = net.put(1, "more", &[7; 1_000]);
        done(&mut net, again).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "more", &register(&[7; 1_000]));
    }
}

#[test]
fn stores_that_filled_apart_exchange_what_fits_and_the_rest_once_there_is_room() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 4).config(small()).start_joined().unwrap();
        net.partition(&[vec![0], vec![1], vec![2], vec![3]]);
        let keys: Vec<Vec<String>> = (0..4).map(|node| fill(&mut net, node).unwrap()).collect();
        net.heal();
        net.run_for(secs(120)).unwrap();
        for node in 0..4 {
            let held = net.node(node).unwrap().data_bytes();
            assert!(held <= 50_000, "n{node} holds {held} bytes");
        }
        // What is refused is tried again once a minute: at most all that the four wrote, from each to each.
        net.reset_measurements();
        net.run_for(secs(120)).unwrap();
        let sent = net.measured().total().payload_bytes();
        assert!(sent < 2 * 4 * 3 * 100_000, "{sent} bytes to say that nothing fits");
        for (node, keys) in keys.iter().enumerate() {
            for key in keys.iter().skip(6) {
                let deletion = net.delete(node, key);
                done(&mut net, deletion).unwrap();
            }
        }
        net.run_until(Network::data_has_settled, secs(180)).unwrap();
        net.check_data().unwrap();
        for key in keys.iter().flat_map(|keys| &keys[..6]) {
            all_show(&net, key, &register(&[7; 1_000]));
        }
    }
}

#[test]
fn two_nodes_that_make_a_deleted_key_anew_at_once_lose_none_of_what_they_add() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed, 4).start_joined().unwrap();
        for node in 0..4 {
            let (add, insert) = (net.add_to(node, "c", 1_000), net.insert(node, "s", b"old"));
            done(&mut net, add).unwrap();
            done(&mut net, insert).unwrap();
        }
        settle(&mut net).unwrap();
        for key in ["c", "s"] {
            let deletion = net.delete(2, key);
            done(&mut net, deletion).unwrap();
        }
        settle(&mut net).unwrap();
        all_lack(&net, "c");
        net.partition(&[vec![0, 1]]);
        for (node, amount, element) in [(0, 1, "a"), (3, 20, "b"), (0, 300, "c")] {
            let (add, insert) = (net.add_to(node, "c", amount), net.insert(node, "s", element.as_bytes()));
            done(&mut net, add).unwrap();
            done(&mut net, insert).unwrap();
        }
        net.heal();
        net.run_for(secs(1)).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "c", &Value::Counter(321));
        all_show(&net, "s", &set(&["a", "b", "c"]));
    }
}

#[test]
fn two_deletions_of_a_counter_by_nodes_that_saw_different_sums_take_away_what_either_saw() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed, 4).start_joined().unwrap();
        let first = net.add_to(0, "c", 1);
        done(&mut net, first).unwrap();
        settle(&mut net).unwrap();
        // n1 sees no more than this. The others see more, and last n0 alone.
        net.partition(&[vec![1]]);
        let second = net.add_to(0, "c", 20);
        done(&mut net, second).unwrap();
        net.run_for(secs(2)).unwrap();
        net.partition(&[vec![1], vec![2, 3]]);
        let third = net.add_to(0, "c", 300);
        done(&mut net, third).unwrap();
        for node in [1, 2] {
            let deletion = net.delete(node, "c");
            done(&mut net, deletion).unwrap();
        }
        net.heal();
        net.run_for(secs(1)).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "c", &Value::Counter(300));
    }
}

#[test]
fn values_of_two_kinds_written_at_once_show_as_a_conflict_everywhere_until_the_key_is_deleted() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed, 4).start_joined().unwrap();
        net.partition(&[vec![0, 1]]);
        let add = net.add_to(3, "k", 5);
        done(&mut net, add).unwrap();
        net.run_for(ms(10)).unwrap();
        let put = net.put(0, "k", b"v");
        done(&mut net, put).unwrap();
        net.heal();
        net.run_for(secs(1)).unwrap();
        settle(&mut net).unwrap();
        for node in 0..4 {
            let Entry { value, conflict, .. } = net.get(node, "k").unwrap();
            assert_eq!((value, conflict), (Value::Register(b"v".to_vec()), vec![Kind::Counter]), "n{node}");
        }
        let other_kind = net.add_to(3, "k", 1);
        assert!(matches!(result(&mut net, other_kind).unwrap(), Err(Refusal::WrongKind { held: Kind::Register, .. })));
        let deletion = net.delete(2, "k");
        done(&mut net, deletion).unwrap();
        settle(&mut net).unwrap();
        all_lack(&net, "k");
        let anew = net.add_to(3, "k", 7);
        done(&mut net, anew).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "k", &Value::Counter(7));
    }
}

#[test]
fn a_watcher_that_was_away_gets_what_it_missed_or_is_told_to_read_again() {
    for seed in seeds::chosen(&[1, 2]) {
        let config = ConfigBuilder { watch_changes: 100, ..forgetful() };
        let mut net = network(seed, 3).config(config).start_joined().unwrap();
        for _ in 0..30 {
            net.work(1);
            net.run_for(ms(20)).unwrap();
        }
        net.run_for(secs(2)).unwrap();
        let position = net.node(0).unwrap().data_position();
        let mut known: BTreeMap<String, Entry> =
            net.list(0).into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        for _ in 0..60 {
            net.work(1);
            net.run_for(ms(20)).unwrap();
        }
        // Also values that ran out meanwhile.
        net.run_for(secs(12)).unwrap();
        let missed = net.node(0).unwrap().data_changes(position).unwrap();
        assert!(missed.len() > 20, "{}", missed.len());
        for change in &missed {
            match change.entry() {
                Some(entry) => known.insert(change.key.clone(), entry.into_owned()),
                None => known.remove(&change.key),
            };
        }
        let known: Vec<Entry> = known.into_values().collect();
        assert_eq!(known, net.list(0));
        for n in 0..101 {
            let write = net.put(1, &format!("many{n}"), b"v");
            done(&mut net, write).unwrap();
        }
        settle(&mut net).unwrap();
        assert_eq!(net.node(0).unwrap().data_changes(position), None, "more than it keeps");
        let position = net.node(0).unwrap().data_position();
        net.kill(0);
        net.restart(0, DiskFate::Kept);
        net.run_for(secs(1)).unwrap();
        assert_eq!(net.node(0).unwrap().data_changes(position), None, "of an earlier start");
    }
}

#[test]
fn a_node_that_stood_still_while_a_value_ran_out_and_was_forgotten_tells_its_watchers() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 3).config(forgetful()).start_joined().unwrap();
        let short = net.put_for(0, "k", b"v", secs(3));
        done(&mut net, short).unwrap();
        settle(&mut net).unwrap();
        let position = net.node(2).unwrap().data_position();
        net.pause(2, TOMBSTONE_TTL + secs(10));
        net.run_for(TOMBSTONE_TTL + secs(15)).unwrap();
        let changes = net.node(2).unwrap().data_changes(position).unwrap();
        assert!(changes.iter().any(|change| change.key == "k" && change.entry().is_none()), "{changes:?}");
        net.run_for(secs(30)).unwrap();
        net.check_data().unwrap();
    }
}

#[test]
fn a_node_whose_clock_is_behind_writes_later_than_all_that_it_has_seen() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed, 4).start_joined().unwrap();
        // n1 is behind the others by somewhat less than anybody would refuse to take.
        for node in [0, 2, 3] {
            net.set_clock_ahead(node, secs(55));
        }
        net.run_for(secs(20)).unwrap();
        let writes =
            [net.put(0, "r", b"theirs"), net.add_to(0, "c", 5), net.insert(0, "s", b"a"), net.put(0, "gone", b"v")];
        for write in writes {
            done(&mut net, write).unwrap();
        }
        settle(&mut net).unwrap();
        let writes =
            [net.put(1, "r", b"ours"), net.delete(1, "c"), net.remove_element(1, "s", b"a"), net.delete(1, "gone")];
        for write in writes {
            done(&mut net, write).unwrap();
        }
        settle(&mut net).unwrap();
        all_show(&net, "r", &register(b"ours"));
        all_show(&net, "s", &set(&[]));
        all_lack(&net, "c");
        all_lack(&net, "gone");
        net.run_for(secs(120)).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "r", &register(b"ours"));
    }
}
