//! Each scenario of the library shows what its first line says, with the checkers on, with a fixed seed and fresh ones.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use rumormill_core::State;
use rumormill_core::config::Mode;
use rumormill_lab::jobs::Unwatched;
use rumormill_lab::scenario::{Draft, Outcome, Run, library};
use rumormill_lab::seeds;

/// Plays a scenario to its end; `changes` are laid over it.
fn played(name: &str, seed: u64, changes: &[(&str, &str)]) -> (Run, Outcome) {
    let mut draft = Draft::named(name).unwrap();
    draft.set("seed", &seed.to_string()).unwrap();
    draft.set("check", "true").unwrap();
    for (key, value) in changes {
        match *key {
            "fault" | "publish" => {
                draft.set_list(key, &value.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap();
            }
            _ => draft.set(key, value).unwrap(),
        }
    }
    let mut run = Run::start(&draft.scenario().unwrap()).unwrap();
    run.go(&Unwatched).unwrap();
    let outcome = run.outcome();
    (run, outcome)
}

fn reached_all(outcome: &Outcome) -> bool {
    outcome.messages.iter().all(|message| message.reached == message.alive)
}

/// The ids that a node had in its lives.
fn ids(run: &Run, node: usize) -> Vec<rumormill_core::NodeId> {
    run.network().lives().iter().filter(|life| life.node == node).map(|life| life.id).collect()
}

#[test]
fn every_scenario_says_in_its_first_line_what_it_shows_and_is_possible() {
    for scenario in library::all() {
        assert!(scenario.text.starts_with("# ") && scenario.shows().ends_with('.'), "{}", scenario.name);
        Draft::named(scenario.name).unwrap().scenario().unwrap().check().unwrap();
    }
}

#[test]
fn churning_overlay() {
    for seed in seeds::chosen(&[1]) {
        let (run, outcome) = played("churning-overlay", seed, &[]);
        assert!(outcome.failures.len() > 60, "the experiment bites: {}", outcome.failures.len());
        assert_eq!(outcome.messages.len(), 15);
        assert!(reached_all(&outcome), "{:?}", outcome.messages);
        assert!(run.network().everyone_has_joined());
    }
}

#[test]
fn clock_skew() {
    for seed in seeds::chosen(&[1]) {
        let (run, outcome) = played("clock-skew", seed, &[]);
        assert!(outcome.joined_after.is_some());
        assert_eq!((outcome.false_positives, outcome.suspicions, outcome.messages.len()), (0, 0, 12));
        for message in &outcome.messages {
            let expected = if message.id.starts_with("n7:") && message.at > 30.0 { 1 } else { 40 };
            assert_eq!((message.reached, message.alive), (expected, 40), "{}", message.id);
        }
        assert!(run.network().everyone_knows_everyone());
    }
}

#[test]
fn flapping_node() {
    for seed in seeds::chosen(&[1]) {
        let (run, outcome) = played("flapping-node", seed, &[]);
        assert_eq!(outcome.false_positives, 0);
        assert_eq!(outcome.failures.iter().map(|failure| &*failure.node).collect::<Vec<_>>(), ["n7"; 4]);
        assert!(outcome.failures[3].last.is_some(), "down for 20 s it is known to be");
        let ids = ids(&run, 7);
        assert!(ids.len() == 5 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert!(run.network().everyone_agrees() && reached_all(&outcome));
    }
}

#[test]
fn half_open_network() {
    for seed in seeds::chosen(&[1]) {
        let (while_cut, outcome) = played(
            "half-open-network",
            seed,
            &[("duration", "60s"), ("fault", "oneway:1:n7@10s"), ("publish", "5:200@30s")],
        );
        let deaf = while_cut.network().id(7);
        let others = (0..40).filter(|&node| node != 7);
        let opinions: Vec<_> = others.map(|node| while_cut.network().opinion(node, deaf)).collect();
        assert_eq!(opinions, [Some(State::Dead); 39]);
        assert_eq!(outcome.false_positives, 0);
        assert!(outcome.messages.iter().all(|message| message.reached == 39 || message.id.starts_with("n7:")));

        let (run, outcome) = played("half-open-network", seed, &[]);
        assert_eq!(outcome.false_positives, 0);
        assert!(run.network().everyone_agrees() && reached_all(&outcome));
    }
}

#[test]
fn mass_restart() {
    for seed in seeds::chosen(&[1]) {
        let (run, outcome) = played("mass-restart", seed, &[]);
        assert_eq!((outcome.failures.len(), outcome.false_positives), (40, 0));
        for node in 0..40 {
            let ids = ids(&run, node);
            assert!(ids.len() == 2 && ids[0] == ids[1], "n{node}: {ids:?}");
        }
        assert!(run.network().everyone_agrees() && reached_all(&outcome));
    }
}

#[test]
fn overloaded_minority() {
    for seed in seeds::chosen(&[1]) {
        let (run, outcome) = played("overloaded-minority", seed, &[]);
        assert!(outcome.suspicions > 0, "the experiment bites");
        assert_eq!(outcome.false_positives, 0);
        assert!(run.network().everyone_agrees());
    }
}

#[test]
fn rolling_upgrade() {
    for seed in seeds::chosen(&[1]) {
        let (run, outcome) = played("rolling-upgrade", seed, &[]);
        assert_eq!((outcome.failures.len(), outcome.false_positives), (10, 0));
        for node in 0..10 {
            let config = run.network().node(node).unwrap().config();
            assert_eq!((config.mode, config.fanout), (Mode::PushPull, 4), "n{node}");
        }
        assert!(run.network().everyone_agrees() && reached_all(&outcome));
    }
}

#[test]
fn slow_joiner() {
    for seed in seeds::chosen(&[1]) {
        let (early, _) = played("slow-joiner", seed, &[("duration", "5900ms"), ("publish", "20:1000@4s")]);
        let newcomer = early.network().node(40).unwrap();
        assert!(newcomer.member_counts().alive < 41, "it stands still as soon as it has started");
        let (run, outcome) = played("slow-joiner", seed, &[]);
        assert_eq!((outcome.false_positives, outcome.deaths_of_unwell), (0, 0));
        let newcomer = run.network().node(40).unwrap();
        assert_eq!(newcomer.member_counts().alive, 41);
        assert!(reached_all(&outcome));
    }
}

#[test]
fn split_and_heal() {
    for seed in seeds::chosen(&[1]) {
        let (apart, _) =
            played("split-and-heal", seed, &[("duration", "50s"), ("fault", "partition:0.5@10s"), ("publish", "")]);
        for node in apart.network().up() {
            let counts = apart.network().node(node).unwrap().member_counts();
            assert_eq!((counts.alive, counts.dead), (20, 20), "n{node}");
        }
        let (run, outcome) = played("split-and-heal", seed, &[]);
        assert_eq!((outcome.false_positives, outcome.messages.len()), (0, 20));
        assert!(run.network().everyone_agrees() && reached_all(&outcome));
    }
}

#[test]
fn storm_of_joins() {
    for seed in seeds::chosen(&[1]) {
        let (run, outcome) = played("storm-of-joins", seed, &[]);
        assert_eq!(run.network().up().count(), 200);
        assert!(run.network().everyone_agrees() && reached_all(&outcome));
        assert_eq!((outcome.false_positives, outcome.messages.len()), (0, 25));
    }
}
