//! Demers et al. 1987, "Epidemic algorithms for replicated database maintenance", against the models.

mod support;

use rumormill_core::StopRule;
use rumormill_core::config::Mode;
use rumormill_lab::published::{self, RumorRow};
use rumormill_lab::spread::{Parameters, Timing};
use rumormill_lab::theory;
use support::{near, spread};

const RUNS: usize = 2_000;

/// All rows of one table against its reproduction, then the paper.
fn table_holds(number: usize) {
    let name = format!("Table {number}");
    let rows: Vec<RumorRow> = published::demers().into_iter().filter(|row| row.table.contains(&name)).collect();
    assert!(rows.len() >= 2, "{name}");
    for row in rows {
        let what = |quantity: &str| format!("{}, row {}, {quantity}", row.table, row.stop);
        let outcome = spread(&Parameters { mode: row.mode, stop: row.stop, runs: RUNS, ..Parameters::default() });
        for (quantity, cell, ours) in [
            ("residue s", row.residue, outcome.residue),
            ("traffic m", row.traffic, outcome.traffic),
            ("t_ave", row.time_average, outcome.time_average),
            ("t_last", row.time_last, outcome.time_last),
        ] {
            near(&what(quantity), ours, RUNS, cell.reproduced);
            near(&what(quantity), ours, RUNS, cell.paper);
        }
    }
}

#[test]
fn table_1_push_feedback_and_counter() {
    table_holds(1);
}

#[test]
fn table_2_push_blind_and_coin() {
    table_holds(2);
}

#[test]
fn table_3_pull_feedback_and_counter() {
    table_holds(3);
}

/// "s = e^-m": the residue of every push rule follows from its traffic (§1.4).
#[test]
fn the_residue_of_push_follows_from_its_traffic_whatever_the_rule() {
    for stop in [
        StopRule::BlindCounter { k: 3 },
        StopRule::BlindCoin { k: 3 },
        StopRule::FeedbackCounter { k: 2 },
        StopRule::FeedbackCoin { k: 2 },
        StopRule::TransmitLimit { lambda: 1.0 },
    ] {
        let parameters = Parameters { nodes: 10_000, mode: Mode::Push, stop, runs: 40, ..Parameters::default() };
        let outcome = spread(&parameters);
        let expected = theory::residue_of_traffic(outcome.traffic.mean);
        // The law is asymptotic in n; besides chance, a deviation of order 1/n is its own.
        let tolerance = 4.0 * outcome.residue.error_of_mean(40) + 5.0 / 10_000.0;
        assert!((outcome.residue.mean - expected).abs() < tolerance, "{stop}: {:?}, e^-m {expected}", outcome.residue);
    }
}

/// Blind needs k about one larger than feedback for the same residue, by the two equations. The one of feedback is that of
/// contacts one after the other, as with clocks; a blind sender does not care who was first.
#[test]
fn coins_leave_the_roots_of_their_equations() {
    use StopRule::{BlindCoin, FeedbackCoin};
    for (stop, timing, root) in [
        (BlindCoin { k: 3 }, Timing::Rounds, theory::residue_blind_coin(3)),
        (BlindCoin { k: 4 }, Timing::Rounds, theory::residue_blind_coin(4)),
        (BlindCoin { k: 3 }, Timing::Async, theory::residue_blind_coin(3)),
        (FeedbackCoin { k: 1 }, Timing::Async, theory::residue_feedback_coin(1)),
        (FeedbackCoin { k: 2 }, Timing::Async, theory::residue_feedback_coin(2)),
        (FeedbackCoin { k: 3 }, Timing::Async, theory::residue_feedback_coin(3)),
    ] {
        let parameters =
            Parameters { nodes: 10_000, mode: Mode::Push, stop, timing, runs: 40, ..Parameters::default() };
        let outcome = spread(&parameters);
        let tolerance = 4.0 * outcome.residue.error_of_mean(40) + 5.0 / 10_000.0;
        assert!((outcome.residue.mean - root).abs() < tolerance, "{stop}: {:?}, root {root}", outcome.residue);
        let predicted = parameters.residue_predicted(outcome.traffic.mean).expect("it has a root").value;
        assert!((predicted - root).abs() < 1e-12, "{stop}: {predicted}, root {root}");
    }
}

/// In rounds two senders that hit the same node are both useful, so the root of feedback and coin is not what is left.
#[test]
fn feedback_and_coin_leaves_less_than_its_root_in_rounds() {
    let stop = StopRule::FeedbackCoin { k: 1 };
    let parameters = Parameters { nodes: 10_000, mode: Mode::Push, stop, runs: 40, ..Parameters::default() };
    let outcome = spread(&parameters);
    let below = theory::residue_feedback_coin(1) - outcome.residue.mean;
    assert!(below > 4.0 * outcome.residue.error_of_mean(40), "{:?}", outcome.residue);
    assert_eq!(parameters.residue_predicted(outcome.traffic.mean).expect("it has a law").text, "e^-m");
}

/// s = e^-1.58m needs a network in which everybody sends: what these rules leave under a limit is far from it.
#[test]
fn nothing_is_predicted_under_a_connection_limit() {
    let stop = StopRule::FeedbackCounter { k: 2 };
    let parameters = Parameters { mode: Mode::Push, stop, connection_limit: Some(1), ..Parameters::default() };
    assert_eq!(parameters.residue_predicted(3.0), None);
}

/// §1.5: with a limit of one conversation in a cycle push gets better and pull gets much worse; hunting helps both.
#[test]
fn a_connection_limit_helps_push_and_harms_pull_and_hunting_helps_both() {
    let residue = |mode, connection_limit, hunt| {
        let stop = StopRule::FeedbackCounter { k: 2 };
        let runs = 400;
        spread(&Parameters { mode, stop, connection_limit, hunt, runs, ..Parameters::default() }).residue.mean
    };
    let [push, limited, hunted] = [(None, 0), (Some(1), 0), (Some(1), 5)].map(|(c, h)| residue(Mode::Push, c, h));
    assert!(hunted < limited && limited < push, "push {push}, limited {limited}, hunting {hunted}");
    let [pull, limited, hunted] = [(None, 0), (Some(1), 0), (Some(1), 5)].map(|(c, h)| residue(Mode::Pull, c, h));
    assert!(10.0 * pull < limited && hunted < limited, "pull {pull}, limited {limited}, hunting {hunted}");
}
