//! `rumor lab run`: its document, the line that repeats a run, and what it refuses.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use serde_json::{Value, json};
use support::{run, text};

fn document(arguments: &[&str]) -> Value {
    let output = run(&[&["lab", "run", "--json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(arguments: &[&str]) -> [String; 3] {
    let output = run(&[&["lab", "run", "--json"], arguments].concat());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{arguments:?}");
    let failure: Value = serde_json::from_slice(&output.stderr).unwrap();
    ["field", "value", "rule"].map(|key| failure["error"][key].as_str().unwrap_or("-").to_owned())
}

fn keys(document: &Value) -> Vec<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

const BUSY: &[&str] = &[
    "--nodes",
    "30",
    "--duration",
    "40s",
    "--loss",
    "0.02",
    "--seed",
    "7",
    "--fault",
    "crash:0.1@10s",
    "--fault",
    "partition:0.4@25s",
    "--fault",
    "heal@28s",
    "--publish",
    "4:200@5s",
];

#[test]
fn the_document_has_the_agreed_shape() {
    let output = text(&run(&[&["lab", "run", "--json"], BUSY].concat()).stdout);
    let document: Value = serde_json::from_str(&output).unwrap();
    let expected = [
        "nodes",
        "view",
        "mode",
        "seed",
        "joined_after",
        "messages",
        "failures",
        "false_positives",
        "suspicions",
        "per_node",
        "estimate_error",
        "events",
        "events_per_second",
        "elapsed",
        "memory_per_node",
        "trace_hash",
        "replay",
    ];
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(keys(&document), sorted, "{output}");
    let places: Vec<_> = expected.iter().map(|key| output.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "the order is agreed as well: {output}");
    assert_eq!(
        [&document["nodes"], &document["view"], &document["mode"]],
        [&json!(30), &json!("full"), &json!("push-pull")]
    );
    assert!(document["joined_after"].as_f64().unwrap() > 0.0);
    let message = &document["messages"][3];
    assert_eq!(keys(message), ["alive", "at", "average", "bytes", "hops", "id", "last", "reached", "redundancy"]);
    // Three of thirty failed.
    let said = ["at", "bytes", "alive", "reached"].map(|key| &message[key]);
    assert_eq!(said, [&json!(5.0), &json!(200), &json!(27), &json!(27)]);
    let failures = document["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 3);
    for failure in failures {
        assert_eq!(keys(failure), ["at", "first", "last", "node"]);
        let [at, first, last] = ["at", "first", "last"].map(|key| failure[key].as_f64().unwrap());
        assert!((at - 10.0).abs() < 1e-9 && 0.0 < first && first <= last, "{failure}");
    }
    for rate in ["datagrams_per_second", "bytes_per_second"] {
        let [mean, max] = ["mean", "max"].map(|key| document["per_node"][rate][key].as_f64().unwrap());
        assert!(0.0 < mean && mean <= max, "{rate}");
    }
    assert_eq!(document["trace_hash"].as_str().unwrap().len(), 16);
    assert!(document["events_per_second"].as_f64().unwrap() > 0.0 && document["elapsed"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_printed_line_repeats_the_run() {
    let first = document(BUSY);
    let line = first["replay"].as_str().unwrap();
    assert!(!line.contains("0.1@") && !line.contains("0.4@"), "shares are spelt out: {line}");
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[..3], ["rumor", "lab", "run"]);
    let again = document(&words[3..]);
    for key in ["trace_hash", "replay", "messages", "failures", "events", "suspicions"] {
        assert_eq!(first[key], again[key], "{key}");
    }
    let other = document(&[BUSY, &["--clock-skew", "1ms"]].concat());
    assert_ne!(first["trace_hash"], other["trace_hash"]);
}

#[test]
fn people_read_what_happened_in_a_few_lines_and_the_line_at_the_end_is_the_command() {
    let output = run(&[&["lab", "run"], BUSY].concat());
    let said = text(&output.stdout);
    assert!(said.starts_with("30 nodes, push-pull, fanout 3, 2 % loss, 40s of virtual time, seed 7: "), "{said}");
    for part in
        ["all had joined after ", "4 messages, each with every node: after ", "3 failures: known to the first after "]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.lines().last().unwrap().trim_start().starts_with("rumor lab run --nodes 30 "), "{said}");
}

#[test]
fn a_scenario_is_read_from_a_file_and_flags_win() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own.toml");
    std::fs::write(&path, "nodes = 9\nduration = \"5s\"\nmode = \"pull\"\npublish = [\"n1:10@3s\"]\n").unwrap();
    let path = path.to_str().unwrap();
    let document = document(&["--scenario", path, "--nodes", "8"]);
    assert_eq!([&document["nodes"], &document["mode"]], [&json!(8), &json!("pull")]);
    assert_eq!(document["messages"][0]["id"], "n1:1");
    let replay = document["replay"].as_str().unwrap();
    assert_eq!(replay, "rumor lab run --nodes 8 --duration 5s --seed 1 --mode pull --publish n1:10@3s");
}

#[test]
fn the_library_is_listed_and_its_scenarios_run_by_name() {
    let output = run(&["lab", "run", "--list"]);
    let listed = text(&output.stdout);
    assert!(listed.lines().any(|line| line.starts_with("split-and-heal  ")), "{listed}");
    assert_eq!(document(&["--scenario", "flapping-node"])["failures"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_impossible_is_refused_with_field_value_and_rule() {
    for (arguments, field, value, rule) in [
        (&["--loss", "1"][..], "loss", "1", "below 1"),
        (&["--fanout", "0"], "fanout", "0", "from 1"),
        (&["--nodes", "1"], "nodes", "1", "from 2"),
        (&["--nodes", "many"], "nodes", "many", "whole number"),
        (&["--duration", "0s"], "duration", "0s", "above 0"),
        (&["--view", "partial", "--start", "joined"], "start", "joined", "cold"),
        (&["--mode", "sideways"], "mode", "sideways", "one of push, pull, push-pull"),
        (&["--start", "warm"], "start", "warm", "cold"),
        (&["--set", "fanuot=3"], "fanuot", "3", "perhaps fanout"),
        (&["--nodes", "20", "--fault", "crash:n20@5s"], "fault", "crash:n20@5s", "n0 to n19"),
        (&["--fault", "crash:n3@31s"], "fault", "crash:n3@31s", "up to the end"),
        (&["--fault", "explode:n3@3s"], "fault", "explode:n3@3s", "one of crash"),
        (&["--publish", "3@3s"], "publish", "3@3s", "written as"),
        (&["--publish", "n100:1@3s"], "publish", "n100:1@3s", "n0 to n99"),
        (&["--scenario", "no-such"], "scenario", "no-such", "split-and-heal"),
        (&["--plot", "a.gif"], "plot", "a.gif", ".svg or .png"),
    ] {
        let said = refused(arguments);
        assert_eq!([&*said[0], &*said[1]], [field, value], "{arguments:?}");
        assert!(said[2].contains(rule), "{arguments:?}: {}", said[2]);
    }
}

#[test]
fn an_unknown_key_of_a_file_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own.toml");
    std::fs::write(&path, "nodes = 9\n\nfaults = [\"heal@1s\"]\n").unwrap();
    let [field, _, rule] = refused(&["--scenario", path.to_str().unwrap()]);
    assert_eq!(field, "faults");
    assert!(rule.contains("perhaps fault") && rule.contains("(line 3 of "), "{rule}");
}

#[test]
fn a_run_that_does_not_fit_into_memory_is_refused_with_the_estimate() {
    let output = run(&["lab", "run", "--json", "--nodes", "1000000", "--set", "members_max=1048576"]);
    let failure: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((output.status.code(), &failure["error"]["code"]), (Some(2), &json!("memory")));
    assert!(failure["error"]["message"].as_str().unwrap().starts_with("about 64"), "{failure}");
}

#[test]
fn what_does_not_settle_in_time_ends_with_the_line_that_repeats_it() {
    let output = run(&["lab", "run", "--nodes", "20", "--fault", "crash:0.5@20s", "--settle", "1ms"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("comes true in time") && said.contains("replay: rumor lab run --nodes 20 "), "{said}");
}
