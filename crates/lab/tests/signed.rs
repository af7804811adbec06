//! Signed identity: who is let in, whose word counts, and what a revocation does, on networks of real nodes.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "these tests have networks of their own, which sign")]
mod database;

use std::time::Duration;

use database::{all_lack, all_show, done, register, result, settle};
use rumormill_core::data::Value;
use rumormill_core::io::{ContactError, StopReason, Warning};
use rumormill_core::{ConfigBuilder, Event, MemberChange, State, Tags, Wall};
use rumormill_lab::{DiskFate, Network, Options, seeds};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn network(seed: u64, nodes: usize) -> Network {
    Network::new(seed).replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed)).nodes(nodes).signed()
}

fn joined(seed: u64, nodes: usize) -> Network {
    network(seed, nodes).start_joined().unwrap_or_else(|failure| panic!("{failure}"))
}

/// Whether a node was told, at any time, something that `wanted` takes.
fn was_told(net: &Network, node: usize, wanted: impl Fn(&Event) -> bool) -> bool {
    net.measured().notes.iter().any(|note| note.node == node && wanted(&note.event))
}

/// Whether nobody that is up, other than the members themselves, lists one of these.
fn all_are_rid_of(net: &Network, members: &[usize]) -> bool {
    let lists = |node: usize, member: usize| node != member && net.opinion(node, net.id(member)).is_some();
    !net.up().any(|node| members.iter().any(|&member| lists(node, member)))
}

/// The updates that nodes dropped because nobody answers for them.
fn dropped(net: &Network, node: usize) -> (u64, u64, u64) {
    let dropped = net.node(node).unwrap().counters().dropped;
    (dropped.unsigned, dropped.forged, dropped.revoked)
}

#[test]
fn a_signed_cluster_does_all_that_a_plain_one_does() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, 20).start_cold(0, secs(1));
        net.run_for(secs(1)).unwrap();
        net.run_until(Network::everyone_knows_everyone, secs(10)).unwrap();
        let (dead, left) = (net.id(17), net.id(18));
        net.crash(17);
        net.leave(18);
        net.set_tags(3, Tags::from([("role".to_owned(), "web".to_owned())]));
        net.run_until(|net| net.everyone_thinks(dead, State::Dead), secs(20)).unwrap();
        assert!(net.everyone_thinks(left, State::Left));
        net.restart(17, DiskFate::Kept);
        net.run_until(|net| net.everyone_thinks(dead, State::Alive), secs(20)).unwrap();
        for node in [2, 5, 9] {
            let added = net.add_to(node, "hits", 2);
            done(&mut net, added).unwrap();
        }
        let (put, inserted) = (net.put(4, "color", b"blue"), net.insert(6, "team", b"ada"));
        done(&mut net, put).unwrap();
        done(&mut net, inserted).unwrap();
        let brief = net.put_for(7, "brief", b"a value that is longer than its digest", secs(5));
        done(&mut net, brief).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "hits", &Value::Counter(6));
        all_show(&net, "color", &register(b"blue"));
        all_show(&net, "brief", &register(b"a value that is longer than its digest"));
        // Others delete what they did not write.
        for (node, key) in [(8, "hits"), (9, "color"), (10, "team")] {
            let deleted = net.delete(node, key);
            done(&mut net, deleted).unwrap();
        }
        net.run_for(secs(10)).unwrap();
        settle(&mut net).unwrap();
        for key in ["hits", "color", "team", "brief"] {
            all_lack(&net, key);
        }
        let added = net.add_to(2, "hits", 1);
        done(&mut net, added).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "hits", &Value::Counter(1));
        for node in net.up() {
            assert_eq!(dropped(&net, node), (0, 0, 0), "at n{node}");
        }
    }
}

#[test]
fn counters_that_two_delete_at_once_are_joined_alike_everywhere() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = joined(seed, 9);
        for node in 0..3 {
            let added = net.add_to(node, "hits", 5);
            done(&mut net, added).unwrap();
        }
        settle(&mut net).unwrap();
        net.partition(&[vec![0, 1, 2, 3], vec![4, 5, 6, 7, 8]]);
        let (here, there) = (net.delete(3, "hits"), net.delete(7, "hits"));
        done(&mut net, here).unwrap();
        done(&mut net, there).unwrap();
        let more = net.add_to(0, "hits", 2);
        done(&mut net, more).unwrap();
        net.heal();
        settle(&mut net).unwrap();
        all_show(&net, "hits", &Value::Counter(2));
        net.run_until(Network::everyone_agrees, secs(60)).unwrap();
    }
}

#[test]
fn a_partial_view_is_signed_as_well() {
    for seed in seeds::chosen(&[1]) {
        let partial = ConfigBuilder { view: rumormill_core::config::View::Partial, ..ConfigBuilder::lan() };
        let net = Network::new(seed).replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed));
        let mut net = net.nodes(20).config(partial).signed().start_cold(0, secs(2));
        net.run_for(secs(20)).unwrap();
        net.run_until(Network::everyone_has_joined, secs(60)).unwrap();
        let put = net.put(4, "color", b"blue");
        done(&mut net, put).unwrap();
        settle(&mut net).unwrap();
        let since = net.true_wall();
        net.revoke(5, 9, since);
        net.run_until(|net| !net.is_up(9) && all_are_rid_of(net, &[9]), secs(30)).unwrap();
        net.run_for(secs(60)).unwrap();
        assert!(all_are_rid_of(&net, &[9]));
    }
}

#[test]
fn whoever_has_a_certificate_of_another_authority_is_not_let_in_and_both_sides_say_why() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 10);
        net.crash(9);
        net.falsify_certificate(9);
        let id = net.id(9);
        net.run_until(|net| net.everyone_thinks(id, State::Dead), secs(20)).unwrap();
        net.restart(9, DiskFate::Kept);
        net.run_for(secs(30)).unwrap();
        assert!(net.everyone_thinks(id, State::Dead), "its claims counted");
        let refused = |event: &Event| matches!(event, Event::ContactFailed { reason: ContactError::NotAdmitted, .. });
        assert!(was_told(&net, 9, refused), "it was not told that it is not let in");
        let told = |event: &Event| matches!(event, Event::Warning(Warning::NotTrusted { .. }));
        assert!(net.up().any(|node| node != 9 && was_told(&net, node, told)), "nobody said why");
    }
}

#[test]
fn a_stranger_without_a_certificate_learns_nothing_from_its_contact_but_why() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 5);
        net.add(1, 0, Duration::ZERO);
        net.falsify_certificate(5);
        net.run_for(secs(10)).unwrap();
        let refused = |event: &Event| matches!(event, Event::ContactFailed { reason: ContactError::NotAdmitted, .. });
        assert!(was_told(&net, 5, refused), "the stranger was not told why");
        let told = |event: &Event| {
            matches!(event, Event::Warning(Warning::NotAdmitted { reason: ContactError::NotAdmitted, .. }))
        };
        assert!(was_told(&net, 0, told), "its contact did not say whom it turned away");
        assert_eq!(net.node(5).unwrap().members().count(), 1, "the stranger knows members");
        assert!(all_are_rid_of(&net, &[5]));
    }
}

/// Rounds in which a revocation has to take effect on 50 nodes: those for which it is hot, 4 log10 51 of them.
const ROUNDS: u32 = 7;

#[test]
fn a_revoked_member_is_gone_at_all_of_50_nodes_within_seven_rounds() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = joined(seed, 50);
        let id = net.id(17);
        let since = net.true_wall();
        net.revoke(3, 17, since);
        let bound = net.settings().gossip_interval * ROUNDS;
        net.run_until(|net| all_are_rid_of(net, &[17]), bound).unwrap();
        net.run_until(|net| !net.is_up(17), secs(20)).unwrap();
        let stopped = |event: &Event| matches!(event, Event::Stopped { reason: StopReason::Revoked });
        assert!(was_told(&net, 17, stopped));
        for node in net.up() {
            let shown =
                net.node(node).unwrap().revoked_members().map(|member| (member.id, member.state)).collect::<Vec<_>>();
            assert_eq!(shown, [(id, State::Revoked)]);
        }
        let changes = &net.measured().changes;
        assert!(!changes.iter().any(|change| change.member == id && change.change == MemberChange::Failed));
        net.run_until(Network::everyone_agrees, secs(30)).unwrap();
    }
}

#[test]
fn a_revoked_member_does_not_come_back_by_a_restart_nor_does_anybody_speak_to_it() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 12);
        let before = net.backup(7);
        net.crash(7);
        let since = net.true_wall();
        net.revoke(3, 7, since);
        net.run_until(|net| all_are_rid_of(net, &[7]), secs(10)).unwrap();
        for disk in [None, Some(before)] {
            if let Some(backup) = disk {
                net.put_back(7, backup);
            }
            net.restart(7, DiskFate::Kept);
            if net.is_up(7) {
                net.join(7, 2);
            }
            net.run_until(|net| !net.is_up(7), secs(20)).unwrap();
            net.run_for(secs(10)).unwrap();
            assert!(all_are_rid_of(&net, &[7]));
        }
        // Also nodes that stop and start again know it before they hear of anybody.
        net.kill(3);
        net.restart(3, DiskFate::Kept);
        net.run_for(secs(5)).unwrap();
        assert_eq!(net.node(3).unwrap().revoked_members().count(), 1);
        net.run_until(Network::everyone_agrees, secs(60)).unwrap();
    }
}

#[test]
fn what_a_revoked_member_wrote_before_stays_and_what_it_wrote_since_is_void() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 10);
        let (early, kept) = (net.put(4, "early", b"1"), net.put(5, "kept", b"2"));
        done(&mut net, early).unwrap();
        done(&mut net, kept).unwrap();
        let added = net.add_to(5, "hits", 3);
        done(&mut net, added).unwrap();
        settle(&mut net).unwrap();
        net.run_for(secs(5)).unwrap();
        let since = net.true_wall();
        net.run_for(secs(5)).unwrap();
        // Cut off from most, it goes on writing, and some hear it.
        net.partition(&[vec![3, 4], vec![0, 1, 2, 5, 6, 7, 8, 9]]);
        for ticket in [net.put(4, "late", b"3"), net.delete(4, "kept"), net.delete(4, "hits")] {
            done(&mut net, ticket).unwrap();
        }
        net.run_for(secs(2)).unwrap();
        assert_eq!(net.get(3, "late").map(|entry| entry.value), Some(register(b"3")));
        net.revoke(0, 4, since);
        net.heal();
        net.run_until(|net| !net.is_up(4), secs(60)).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "early", &register(b"1"));
        all_show(&net, "kept", &register(b"2"));
        all_show(&net, "hits", &Value::Counter(3));
        all_lack(&net, "late");
        net.run_until(Network::everyone_agrees, secs(60)).unwrap();
    }
}

#[test]
fn everything_that_a_revoked_member_wrote_can_be_void() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 6);
        let early = net.put(4, "early", b"1");
        done(&mut net, early).unwrap();
        settle(&mut net).unwrap();
        net.revoke(0, 4, Wall::from_micros(0));
        net.run_until(|net| !net.is_up(4), secs(20)).unwrap();
        settle(&mut net).unwrap();
        all_lack(&net, "early");
    }
}

#[test]
fn a_member_whose_signatures_are_not_valid_leaves_no_difference_among_the_others() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 20);
        let before = net.node(0).unwrap().root();
        net.lie(7, true);
        for number in 0..10 {
            let put = net.put(7, &format!("key {number}"), b"not vouched for");
            done(&mut net, put).unwrap();
        }
        net.set_tags(7, Tags::from([("role".to_owned(), "liar".to_owned())]));
        net.run_for(secs(20)).unwrap();
        let honest = || (0..20).filter(|&node| node != 7);
        for node in honest() {
            assert_eq!(net.node(node).unwrap().root(), before, "n{node} took something in");
        }
        assert!(honest().any(|node| dropped(&net, node).1 > 0), "nobody looked at a signature");
        // What goes on goes on with the liar, whose root differs from all others.
        net.crash(7);
        let id = net.id(7);
        net.run_until(|net| net.everyone_thinks(id, State::Dead), secs(30)).unwrap();
        net.run_for(secs(30)).unwrap();
        net.reset_measurements();
        net.run_for(secs(30)).unwrap();
        let total = net.measured().total().wire_bytes();
        let mut quiet = joined(seed, 20);
        quiet.crash(7);
        quiet.run_for(secs(60)).unwrap();
        quiet.reset_measurements();
        quiet.run_for(secs(30)).unwrap();
        let usual = quiet.measured().total().wire_bytes();
        assert!(total < 2 * usual, "{total} bytes in 30 s, where {usual} are usual");
    }
}

#[test]
fn a_certificate_that_runs_out_ends_a_membership_on_both_sides() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 8);
        net.kill(5);
        net.limit_certificate(5, secs(40));
        let id = net.id(5);
        net.restart(5, DiskFate::Kept);
        net.run_until(|net| net.everyone_thinks(id, State::Alive), secs(20)).unwrap();
        net.run_for(secs(60)).unwrap();
        assert!(!net.is_up(5), "it goes on");
        assert!(all_are_rid_of(&net, &[5]));
        let stopped = |event: &Event| matches!(event, Event::Stopped { reason: StopReason::CertificateExpired });
        assert!(was_told(&net, 5, stopped));
        net.run_until(Network::everyone_agrees, secs(30)).unwrap();
    }
}

#[test]
fn a_node_whose_clock_is_beyond_the_end_of_its_certificate_stops_and_comes_back_once_it_is_right() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = joined(seed, 8);
        net.kill(5);
        net.limit_certificate(5, secs(3_600));
        let id = net.id(5);
        net.restart(5, DiskFate::Kept);
        net.run_until(|net| net.everyone_thinks(id, State::Alive), secs(20)).unwrap();
        net.set_clock_ahead(5, secs(2 * 3_600));
        net.run_until(|net| !net.is_up(5), secs(30)).unwrap();
        let stopped = |event: &Event| matches!(event, Event::Stopped { reason: StopReason::CertificateExpired });
        assert!(was_told(&net, 5, stopped));
        net.set_clock_ahead(5, secs(0));
        net.restart(5, DiskFate::Kept);
        net.run_until(|net| net.everyone_thinks(id, State::Alive), secs(60)).unwrap();
    }
}

#[test]
fn a_revocation_outlives_clocks_that_step_either_way() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 8);
        net.set_clock_ahead(3, secs(2 * 86_400));
        let since = net.true_wall();
        net.revoke(0, 5, since);
        net.run_until(|net| !net.is_up(5), secs(20)).unwrap();
        net.run_for(secs(30)).unwrap();
        for ahead in [secs(0), secs(90), secs(0)] {
            net.set_clock_ahead(3, ahead);
            net.run_for(secs(30)).unwrap();
            assert!(all_are_rid_of(&net, &[5]), "at {ahead:?} ahead");
        }
        let know = |net: &Network| net.up().all(|node| net.node(node).unwrap().revoked_members().count() == 1);
        assert!(know(&net), "somebody has forgotten it");
        net.run_until(Network::everyone_agrees, secs(60)).unwrap();
    }
}

#[test]
fn a_revocation_by_another_authority_is_refused() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 3);
        let (id, since) = (net.id(1), net.true_wall());
        let ticket = net.revoke_falsely(0, 1, since);
        net.run_for(secs(5)).unwrap();
        assert!(matches!(net.result(ticket), Some(Err(_))), "{:?}", net.result(ticket));
        assert!(net.is_up(1) && net.everyone_thinks(id, State::Alive), "the word of another authority counts");
        let put = net.put(1, "color", b"blue");
        done(&mut net, put).unwrap();
        settle(&mut net).unwrap();
        all_show(&net, "color", &register(b"blue"));
        // By the authority itself it is in force; that what was refused has left nothing shows here too.
        let ticket = net.revoke(0, 1, since);
        net.run_until(|net| !net.is_up(1) && all_are_rid_of(net, &[1]), secs(5)).unwrap();
        assert!(matches!(net.result(ticket), Some(Ok(_))));
    }
}

#[test]
fn a_cluster_without_an_authority_takes_no_revocation_and_nobody_writes_one_like_data() {
    for seed in seeds::chosen(&[1]) {
        let mut net = joined(seed, 3);
        let mut plain = Network::new(seed).nodes(3).start_joined().unwrap();
        let since = plain.true_wall();
        let ticket = plain.revoke(0, 1, since);
        plain.run_for(secs(1)).unwrap();
        assert!(matches!(plain.result(ticket), Some(Err(_))), "a cluster without an authority took a revocation");
        let put = net.put(0, "\0revoked/0000000000000001", b"forged");
        assert!(result(&mut net, put).unwrap().is_err(), "revocations can be written like data");
    }
}

#[test]
fn what_seeds_draw_is_survived_with_signatures_too() {
    for seed in seeds::chosen(&[1, 2, 3, 4, 5, 6]) {
        let net = Network::new(seed).replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed));
        let mut net = net.options(Options::drawn(seed)).signed().start_cold(0, secs(1));
        net.run_for(secs(90)).unwrap();
        net.make_peace();
        net.run_until(|net| net.everyone_agrees() && net.data_has_settled(), secs(180)).unwrap();
        net.check_data().unwrap();
        for node in net.up() {
            assert_eq!(dropped(&net, node), (0, 0, 0), "at n{node}");
        }
    }
}
