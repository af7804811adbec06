//! Lives of nodes that sign, recorded on the virtual network and run again where nobody has their keys.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "these tests have networks of their own, which sign")]
mod database;

use std::path::PathBuf;
use std::time::Duration;

use database::{done, settle};
use rumormill_core::{NodeId, Tags};
use rumormill_lab::recording::{Replayed, replay};
use rumormill_lab::{Network, Options, seeds};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn network(seed: u64) -> Network {
    Network::new(seed).replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed))
}

/// What was recorded of a node, run again.
fn again(net: &Network, node: usize) -> Replayed {
    let digits: String = net.replay_line().chars().filter(char::is_ascii_alphanumeric).collect();
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(digits);
    std::fs::write(&file, net.recorded(node).unwrap()).unwrap();
    replay(&file, |_, _| {}).unwrap()
}

/// Whoever ran it again is where the recorded node is.
#[track_caller]
fn is_the_same(net: &Network, node: usize) -> Replayed {
    let replayed = again(net, node);
    assert!(replayed.outcome.identical, "{:?}; replay: {}", replayed.outcome, net.replay_line());
    let (recorded, again) = (net.node(node).unwrap(), &replayed.node);
    assert_eq!((again.root(), again.counters()), (recorded.root(), recorded.counters()));
    assert_eq!(again.shelf().contents(), recorded.shelf().contents());
    replayed
}

#[test]
fn a_node_that_signs_checks_and_hears_of_a_revocation_does_so_again_without_its_key() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed).nodes(6).signed().start_joined().unwrap();
        net.record(0);
        net.set_tags(0, Tags::from([("role".to_owned(), "web".to_owned())]));
        for node in [0, 1, 4] {
            let writes = [
                net.put(node, &format!("color {node}"), b"blue"),
                net.put_for(node, &format!("brief {node}"), b"a value that is longer than its digest", secs(3)),
                net.insert(node, "team", format!("n{node}").as_bytes()),
                net.add_to(node, "hits", 2),
            ];
            for write in writes {
                done(&mut net, write).unwrap();
            }
        }
        settle(&mut net).unwrap();
        for key in ["hits", "team", "color 1"] {
            let deleted = net.delete(0, key);
            done(&mut net, deleted).unwrap();
        }
        net.lie(5, true);
        net.set_tags(5, Tags::from([("role".to_owned(), "liar".to_owned())]));
        let forged = net.put(5, "color 0", b"not vouched for");
        done(&mut net, forged).unwrap();
        net.run_for(secs(10)).unwrap();
        let since = net.true_wall();
        net.revoke(0, 4, since);
        net.run_until(|net| !net.is_up(4), secs(20)).unwrap();
        let Replayed { node, outcome } = is_the_same(&net, 0);
        assert!(outcome.inputs > 100 && node.counters().dropped.forged > 1, "{outcome:?}");
        assert_eq!(node.revoked_members().map(|member| member.id).collect::<Vec<NodeId>>(), [net.id(4)]);

        // From a snapshot in the middle of its life, which knows certificates, forgeries and the revocation.
        net.record(0);
        let more = net.put(0, "color 2", b"green");
        done(&mut net, more).unwrap();
        net.lie(5, false);
        net.set_tags(5, Tags::new());
        net.run_for(secs(10)).unwrap();
        net.leave(0);
        net.run_for(secs(10)).unwrap();
        let outcome = again(&net, 0).outcome;
        assert!(outcome.identical && outcome.inputs > 50, "{outcome:?}");
    }
}

#[test]
fn a_time_of_day_that_steps_ahead_and_back_steps_again() {
    let mut net = network(1).nodes(5).signed().start_joined().unwrap();
    net.record(2);
    for ahead in [secs(90), secs(0), secs(2 * 86_400), secs(3_600), secs(0)] {
        net.set_clock_ahead(2, ahead);
        net.put(2, "color", b"blue");
        net.run_for(secs(15)).unwrap();
    }
    let outcome = is_the_same(&net, 2).outcome;
    let (from, until) = (outcome.from.unwrap(), outcome.until.unwrap());
    assert!(until < from, "by a clock that was set back it ends before it begins: {from} to {until}");
}

#[test]
fn whatever_befalls_nodes_that_sign_befalls_them_again() {
    for seed in seeds::chosen(&[1, 2, 3]) {
        let mut net = network(seed).options(Options::drawn(seed)).signed().start_cold(0, secs(1));
        net.run_for(secs(30)).unwrap();
        let recorded: Vec<usize> = net.up().take(3).collect();
        for &node in &recorded {
            net.record(node);
        }
        net.run_for(secs(60)).unwrap();
        net.make_peace();
        settle(&mut net).unwrap();
        for node in recorded {
            let outcome = again(&net, node).outcome;
            assert!(outcome.identical, "n{node}: {outcome:?}; replay: {}", net.replay_line());
        }
    }
}
