//! Who is in the cluster: joining, failing, leaving, coming back, being cut off, and sharing a name or an identity.

use std::time::Duration;

use rumormill_core::io::{StopReason, Warning};
use rumormill_core::{Event, MemberChange, State, Tags};
use rumormill_lab::{DiskFate, Network, seeds};

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

/// A cluster that has joined.
fn joined(seed: u64, nodes: usize) -> Network {
    network(seed).nodes(nodes).start_joined().unwrap_or_else(|failure| panic!("{failure}"))
}

fn failures(net: &Network) -> Vec<rumormill_lab::Change> {
    net.measured().changes.iter().filter(|change| change.change == MemberChange::Failed).copied().collect()
}

#[test]
fn a_hundred_nodes_that_know_one_contact_soon_know_each_other() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed).nodes(100).start_cold(0, secs(1));
        net.run_for(secs(1)).unwrap();
        net.run_until(Network::everyone_knows_everyone, secs(4)).unwrap();
        assert_eq!(net.measured().false_deaths(), 0);
    }
}

#[test]
fn joining_works_while_a_fifth_of_all_datagrams_is_lost() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed).nodes(30).loss(0.2).jitter(ms(20)).start_cold(0, secs(1));
        net.run_for(secs(1)).unwrap();
        net.run_until(Network::everyone_agrees, secs(60)).unwrap();
    }
}

#[test]
fn a_contact_that_comes_late_is_found_all_the_same() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed).nodes(3).start_cold(0, ms(10));
        net.run_for(ms(1)).unwrap();
        net.crash(0);
        net.run_for(secs(20)).unwrap();
        let unreached = net.measured().notes.iter().any(|note| matches!(note.event, Event::ContactFailed { .. }));
        assert!(unreached, "nobody said that the contact does not answer");
        net.restart(0, DiskFate::Lost);
        net.run_until(Network::everyone_knows_everyone, secs(60)).unwrap();
    }
}

#[test]
fn a_crash_is_known_to_all_within_seconds_and_nobody_else_is_blamed() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = joined(seed, 50);
        let (victim, id) = (17, net.id(17));
        net.crash(victim);
        // A probe interval or two until somebody probes it, half a second and three resends, then the suspicion.
        let took = net.run_until(|net| net.everyone_thinks(id, State::Dead), secs(15)).unwrap();
        assert!(took >= secs(2), "a suspect has at least 2.2 s to contradict, and this took {took:?}");
        assert!(failures(&net).iter().all(|change| change.member == id));
        net.run_until(Network::everyone_agrees, secs(30)).unwrap();
    }
}

#[test]
fn a_killed_process_is_found_out_like_a_dead_machine() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 20);
        let id = net.id(3);
        net.kill(3);
        net.run_until(|net| net.everyone_thinks(id, State::Dead), secs(15)).unwrap();
    }
}

#[test]
fn a_node_that_leaves_is_left_at_once_and_never_dead() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 30);
        let id = net.id(4);
        net.leave(4);
        net.run_until(|net| !net.is_up(4) && net.everyone_thinks(id, State::Left), secs(6)).unwrap();
        net.run_for(secs(20)).unwrap();
        assert!(net.everyone_thinks(id, State::Left));
        assert_eq!(failures(&net), []);
    }
}

#[test]
fn a_removed_member_is_gone_everywhere_and_one_that_still_runs_comes_back() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 10);
        let dead = net.id(9);
        net.crash(9);
        net.run_until(|net| net.everyone_thinks(dead, State::Dead), secs(15)).unwrap();
        net.remove(0, dead, false);
        net.run_until(|net| net.up().all(|node| net.opinion(node, dead).is_none()), secs(10)).unwrap();
        let live = net.id(5);
        let before = net.node(5).unwrap().incarnation();
        net.remove(0, live, true);
        net.run_until(|net| net.node(5).unwrap().incarnation() > before, secs(10)).unwrap();
        net.run_until(Network::everyone_knows_everyone, secs(20)).unwrap();
    }
}

#[test]
fn a_restart_with_its_disk_is_the_same_member_with_a_higher_incarnation_and_no_failure() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 20);
        net.run_for(secs(20)).unwrap();
        let (id, before) = (net.id(7), net.node(7).unwrap().incarnation());
        net.kill(7);
        net.run_for(ms(300)).unwrap();
        net.restart(7, DiskFate::Kept);
        net.run_until(|net| net.node(7).unwrap().incarnation() > before && net.everyone_knows_everyone(), secs(20))
            .unwrap();
        assert_eq!(net.id(7), id);
        assert_eq!(net.node(7).unwrap().incarnation().boot(), before.boot() + 1);
        net.run_for(secs(15)).unwrap();
        assert_eq!(failures(&net), []);
    }
}

#[test]
fn a_node_declared_dead_comes_back_through_the_members_that_it_remembers() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 20);
        net.run_for(secs(30)).unwrap();
        let id = net.id(7);
        net.crash(7);
        net.run_until(|net| net.everyone_thinks(id, State::Dead), secs(15)).unwrap();
        net.restart(7, DiskFate::Kept);
        net.run_until(Network::everyone_agrees, secs(40)).unwrap();
    }
}

#[test]
fn a_node_that_lost_its_disk_is_a_new_member_and_takes_over_its_name() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 10);
        let old = net.id(7);
        net.crash(7);
        net.restart(7, DiskFate::Lost);
        let new = net.id(7);
        assert_ne!(old, new);
        net.run_until(|net| net.everyone_thinks(new, State::Alive), secs(20)).unwrap();
        net.run_until(|net| net.everyone_thinks(old, State::Dead), secs(30)).unwrap();
        net.run_until(|net| net.up().all(|node| shown_name(net, node, 7) == "n7"), secs(30)).unwrap();
    }
}

fn shown_name(net: &Network, observer: usize, member: usize) -> String {
    let member = net.node(observer).and_then(|node| node.member(net.id(member)));
    member.map(|member| member.name).unwrap_or_default()
}

#[test]
fn of_two_members_with_one_name_everybody_shows_the_same_one_with_a_suffix() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 10);
        net.kill(6);
        net.rename(6, "n2");
        net.restart(6, DiskFate::Lost);
        net.run_until(Network::everyone_knows_everyone, secs(30)).unwrap();
        net.run_for(secs(5)).unwrap();
        let suffixed = format!("n2~{}", &net.id(6).to_string()[..4]);
        for node in net.up() {
            assert_eq!(shown_name(&net, node, 2), "n2", "the first boot of n2 is the earlier one");
            assert_eq!(shown_name(&net, node, 6), suffixed);
        }
        let told = |note: &rumormill_lab::Note| {
            note.node == 6 && matches!(&note.event, Event::Warning(Warning::NameTaken { .. }))
        };
        assert!(net.measured().notes.iter().any(told), "the loser is told");
    }
}

#[test]
fn two_processes_with_one_identity_do_not_go_on_for_long() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 8);
        net.run_for(secs(5)).unwrap();
        let copy = net.copy(3, 0);
        let stopped = |net: &Network| {
            net.measured().notes.iter().any(|note| {
                [3, copy].contains(&note.node)
                    && matches!(note.event, Event::Stopped { reason: StopReason::SharedIdentity })
            })
        };
        net.run_until(stopped, secs(60)).unwrap();
        let others = net.up().filter(|node| ![3, copy].contains(node)).count();
        assert_eq!(others, 7, "nobody else stops");
    }
}

#[test]
fn a_pause_of_two_seconds_kills_nobody() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = joined(seed, 30);
        for round in 0..5 {
            net.pause(round, secs(2));
            net.run_for(secs(8)).unwrap();
        }
        assert_eq!(failures(&net), []);
        assert!(net.everyone_knows_everyone(), "{}", net.replay_line());
    }
}

#[test]
fn a_broken_direction_between_two_nodes_kills_neither() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 12);
        net.oneway(0, 1);
        net.run_for(secs(60)).unwrap();
        assert_eq!(failures(&net), []);
    }
}

#[test]
fn a_tenth_of_all_datagrams_lost_for_a_minute_kills_nobody() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed).nodes(60).loss(0.1).start_joined().unwrap();
        net.run_for(secs(60)).unwrap();
        assert_eq!(failures(&net), []);
    }
}

#[test]
fn halves_that_declared_each_other_dead_merge_again_by_themselves() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 20);
        net.partition(&[(0..10).collect()]);
        let (left, right) = (net.id(0), net.id(19));
        let apart =
            |net: &Network| net.opinion(19, left) == Some(State::Dead) && net.opinion(0, right) == Some(State::Dead);
        net.run_until(apart, secs(40)).unwrap();
        net.run_for(secs(30)).unwrap();
        net.heal();
        net.run_until(Network::everyone_agrees, secs(60)).unwrap();
    }
}

#[test]
fn a_restart_of_the_whole_fleet_leaves_nobody_wrongly_dead() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 30);
        net.run_for(secs(30)).unwrap();
        for node in 0..30 {
            net.crash(node);
        }
        net.run_for(secs(2)).unwrap();
        for node in 0..30 {
            net.restart(node, DiskFate::Kept);
        }
        net.run_until(Network::everyone_agrees, secs(60)).unwrap();
        net.run_for(secs(20)).unwrap();
        assert!(net.everyone_knows_everyone());
    }
}

#[test]
fn half_of_the_fleet_may_die_at_once() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 60);
        for node in 30..60 {
            net.crash(node);
        }
        net.run_until(Network::everyone_agrees, secs(40)).unwrap();
        assert_eq!(net.measured().false_deaths(), 0, "{}", net.replay_line());
    }
}

#[test]
fn new_tags_are_known_to_all() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 20);
        let tags = Tags::from([("role".to_owned(), "db".to_owned())]);
        net.set_tags(4, tags.clone());
        let known = |net: &Network| {
            net.up().all(|node| net.node(node).unwrap().member(net.id(4)).is_some_and(|member| member.tags == tags))
        };
        net.run_until(known, secs(10)).unwrap();
    }
}

#[test]
fn clocks_that_are_wrong_by_seconds_disturb_nobody() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed).nodes(20).clock_skew(secs(10)).start_joined().unwrap();
        let id = net.id(11);
        net.crash(11);
        net.run_until(|net| net.everyone_thinks(id, State::Dead), secs(15)).unwrap();
        net.run_until(Network::everyone_agrees, secs(30)).unwrap();
    }
}

#[test]
fn a_clock_that_steps_far_ahead_and_back_while_it_runs_makes_nobody_suspect_anybody() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 10);
        // A minute and a half is more than others believe; two days is longer than anything is kept for.
        for ahead in [secs(90), secs(2 * 86_400), secs(0), secs(3_600), secs(10)] {
            net.set_clock_ahead(3, ahead);
            net.run_for(secs(30)).unwrap();
            assert_eq!((failures(&net).len(), net.measured().false_deaths()), (0, 0), "at {ahead:?} ahead");
        }
        net.set_clock_ahead(3, secs(0));
        net.run_until(Network::everyone_agrees, secs(60)).unwrap();
        assert!(net.everyone_knows_everyone());
        let id = net.id(5);
        net.crash(5);
        net.run_until(|net| net.everyone_thinks(id, State::Dead), secs(15)).unwrap();
    }
}

#[test]
fn a_node_whose_boot_cannot_be_stored_does_not_speak() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 4);
        net.kill(2);
        net.set_disk_failing(2, true);
        let before = net.measured().traffic[2];
        net.restart(2, DiskFate::Kept);
        net.run_for(secs(5)).unwrap();
        assert_eq!(net.measured().traffic[2], before);
        let stopped = |note: &rumormill_lab::Note| {
            matches!(note.event, Event::Stopped { reason: StopReason::BootNotStored }) && note.node == 2
        };
        assert!(net.measured().notes.iter().any(stopped));
    }
}

#[test]
fn a_disk_that_takes_no_writes_is_told_with_the_reason_and_the_node_goes_on() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 4);
        net.set_disk_failing(2, true);
        let id = net.id(3);
        net.crash(3);
        net.run_until(|net| net.everyone_thinks(id, State::Dead), secs(15)).unwrap();
        net.run_for(secs(5)).unwrap();
        let told = |note: &rumormill_lab::Note| {
            let Event::Warning(warning @ Warning::PersistFailed { .. }) = &note.event else { return None };
            Some((note.node, warning.to_string()))
        };
        let told: Vec<_> = net.measured().notes.iter().filter_map(told).collect();
        assert_eq!(told, [(2, "the data directory does not take writes: no space left on device".to_owned())]);
    }
}

#[test]
fn one_seed_gives_one_run_and_another_seed_another() {
    let run = |seed| {
        let mut net = network(seed).nodes(20).loss(0.05).duplication(0.05).reordering(0.1).start_cold(0, secs(1));
        net.run_for(secs(10)).unwrap();
        net.crash(3);
        net.run_for(secs(10)).unwrap();
        net.trace_hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
