//! Gauges and what they are together, from the command line and over HTTP, on real agents.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use serde_json::Value;
use support::{Agent, until_all_know_all};

fn three() -> Vec<Agent> {
    let first = Agent::start("a", &[]);
    let join = ["--join", &first.gossip.clone()];
    let others = ["b", "c"].map(|name| Agent::start(name, &join));
    let agents: Vec<Agent> = std::iter::once(first).chain(others).collect();
    until_all_know_all(&agents.iter().collect::<Vec<_>>());
    agents
}

fn near(value: &Value, truth: f64) -> bool {
    (value.as_f64().unwrap() - truth).abs() <= truth.abs() * 0.01
}

#[test]
fn any_agent_tells_what_the_values_of_all_are_together() {
    let agents = three();
    for (agent, value) in agents.iter().zip(["-2", "4.5", "20"]) {
        assert_eq!(agent.said(&["gauge", "queue", value]), (0, String::new(), String::new()));
    }
    for (function, truth) in [("count", 3.0), ("sum", 22.5), ("avg", 7.5), ("min", -2.0), ("max", 20.0)] {
        let document = agents[1].ask(&["aggregate", function, "queue"]);
        assert!(near(&document["value"], truth), "{document}");
        assert_eq!((&document["function"], &document["name"]), (&function.into(), &"queue".into()));
        assert_eq!((&document["members"], &document["converged"]), (&3.into(), &true.into()), "{document}");
    }
    let median = agents[2].ask(&["aggregate", "quantile", "queue", "0.5"]);
    let (value, error) = (median["value"].as_f64().unwrap(), median["error"].as_f64().unwrap());
    assert!((value - 4.5).abs() <= error && error < 0.1, "{median}");
    let (code, out, _) = agents[0].said(&["aggregate", "avg", "queue"]);
    assert!(code == 0 && out.starts_with("7.5") && out.contains("of 3 agents"), "{out}");
    // What one takes away counts no more.
    assert_eq!(agents[2].said(&["gauge", "queue", "--delete"]).0, 0);
    let document = agents[0].ask(&["aggregate", "count", "queue"]);
    assert!(near(&document["value"], 2.0), "{document}");
}

#[test]
fn every_agent_has_some_gauges_of_its_own() {
    let agents = three();
    for (name, least) in [("memory", 1e6), ("members", 2.99), ("uptime", 0.0)] {
        let document = agents[0].ask(&["aggregate", "min", name]);
        assert!(document["value"].as_f64().unwrap() >= least, "{document}");
    }
    let (code, out, _) = agents[0].said(&["aggregate", "count"]);
    assert!(code == 0 && out.starts_with("3 "), "{out}");
    let (code, _, err) = agents[0].said(&["gauge", "load", "3"]);
    assert!(code == 1 && err.contains("gauge is load, must be another than load, memory, members and uptime"), "{err}");
}

#[test]
fn what_is_wrong_is_said_by_field_value_and_rule() {
    let agent = Agent::start("alone", &[]);
    for (arguments, expected, sentence) in [
        (&["gauge", "queue", "many"] as &[_], 1, "number is many, must be a finite number"),
        (&["gauge", "queue", "NaN"], 1, "number is NaN, must be a finite number"),
        (&["gauge", &"x".repeat(65), "1"], 1, "must be 1 to 64 bytes without control characters"),
        (&["aggregate", "avg"], 2, "name is none, must be the gauge whose avg is wanted"),
        (&["aggregate", "quantile", "queue"], 2, "q is none, must be a part from 0 to 1"),
        (&["aggregate", "quantile", "queue", "1.5"], 1, "quantile is 1.5, must be from 0 to 1"),
        (&["aggregate", "avg", "queue", "0.5"], 2, "q is 0.5, must be left out with avg"),
        (&["aggregate", "avg", "queue"], 1, "no agent has a value of queue"),
    ] {
        let (code, out, err) = agent.said(arguments);
        assert_eq!((code, out.as_str()), (expected, ""), "{arguments:?}: {err}");
        assert!(err.contains(sentence), "{arguments:?}: {err}");
    }
    let (code, out, _) = agent.said(&["aggregate", "count"]);
    assert!(code == 0 && out.starts_with("1 "), "{out}");
}
