//! Demers et al. 1987, "Epidemic algorithms for replicated database maintenance", against the models.

mod support;

use rumormill_core::StopRule;
use rumormill_core::config::Mode;
use rumormill_lab::published::{self, RumorRow};
use rumormill_lab::spread::Parameters;
use rumormill_lab::theory;
use support::{near, spread};

const RUNS: usize = 2_000;

/// All rows of one table against the paper and its reproduction.
fn table_holds(number: usize, time_average_as_printed: bool) {
    let name = format!("Table {number}");
    let rows: Vec<RumorRow> = published::demers().into_iter().filter(|row| row.table.contains(&name)).collect();
    assert!(rows.len() >= 2, "{name}");
    for row in rows {
        let what = |quantity: &str| format!("{}, row {}, {quantity}", row.table, row.stop);
        let outcome = spread(&Parameters { mode: row.mode, stop: row.stop, runs: RUNS, ..Parameters::default() });
        for (quantity, cell, ours) in [
            ("residue s", row.residue, outcome.residue),
            ("traffic m", row.traffic, outcome.traffic),
            ("t_last", row.time_last, outcome.time_last),
        ] {
            near(&what(quantity), ours, RUNS, cell.paper);
            near(&what(quantity), ours, RUNS, cell.reproduced);
        }
        near(&what("t_ave"), outcome.time_average, RUNS, row.time_average.reproduced);
        if time_average_as_printed {
            near(&what("t_ave"), outcome.time_average, RUNS, row.time_average.paper);
        }
    }
}

#[test]
fn table_1_push_feedback_and_counter() {
    table_holds(1, false);
}

#[test]
fn table_2_push_blind_and_coin() {
    table_holds(2, false);
}

#[test]
fn table_3_pull_feedback_and_counter() {
    table_holds(3, true);
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

/// Blind needs k about one larger than feedback for the same residue, by the two equations.
#[test]
fn coins_leave_the_roots_of_their_equations() {
    for (stop, root) in [
        (StopRule::BlindCoin { k: 3 }, theory::residue_blind_coin(3)),
        (StopRule::BlindCoin { k: 4 }, theory::residue_blind_coin(4)),
    ] {
        let outcome = spread(&Parameters { nodes: 10_000, mode: Mode::Push, stop, runs: 40, ..Parameters::default() });
        let tolerance = 4.0 * outcome.residue.error_of_mean(40) + 5.0 / 10_000.0;
        assert!((outcome.residue.mean - root).abs() < tolerance, "{stop}: {:?}, root {root}", outcome.residue);
    }
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
