//! The reference of the settings, `docs/configuration.md`, is what the program itself says.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use support::{run, text};

const HEAD: &str = "# Configuration

Every setting of `rumor agent`, as `rumor config show --json` tells them. `UPDATE=1 cargo test` rewrites this file.

A setting is a key of the TOML file that `--config` names, an environment variable (`RUMOR_` and the key in capitals), or a flag: one of its own where `rumor agent --help` lists it, else
`--set KEY=VALUE`. A flag wins over the environment, that over the file, that over the preset. `rumor config default` prints a file with all of them, `rumor config check FILE` reads one without starting
anything, `rumor config show` says where each value comes from.

Durations are written as `500ms`, `10s`, `5m`, `2h`. Where presets differ the defaults are those of lan, wan and local. What a rule says of other settings in brackets are their defaults. Settings that are *shared* must be the
same on all nodes: those that differ do not join each other.
";

fn settings(preset: &str) -> Vec<Value> {
    let output = run(&["config", "show", "--preset", preset, "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A value as a file has it; long numbers with what they are in powers of two.
fn shown(value: &Value) -> String {
    if *value == "" || *value == Value::Array(Vec::new()) || *value == Value::Object(serde_json::Map::new()) {
        return String::new();
    }
    let plain = format!("`{value}`");
    let Some(bytes) = value.as_u64().filter(|bytes| *bytes >= 1 << 20 && bytes % (1 << 20) == 0) else { return plain };
    format!("{plain} ({} Mi)", bytes >> 20)
}

fn rows(of: &str, settings: &[Value], others: &BTreeMap<&str, Vec<Value>>, reference: &mut String) {
    write!(reference, "\n## {of}\n\n| setting | type, unit | default | must be | shared | a change takes a |\n|---|---|---|---|---|---|\n")
        .unwrap();
    for (place, setting) in settings.iter().enumerate() {
        let field = |key: &str| setting[key].as_str().unwrap();
        let mut defaults = vec![shown(&setting["default"])];
        defaults.extend(others.values().map(|preset| {
            assert_eq!(preset[place]["key"], setting["key"]);
            shown(&preset[place]["default"])
        }));
        if defaults.iter().all(|default| *default == defaults[0]) || setting["key"] == "preset" {
            defaults.truncate(1);
        }
        let kind = if field("type") == field("unit") || field("type") == "true or false" {
            field("type").to_owned()
        } else {
            format!("{}, {}", field("type"), field("unit"))
        };
        let rules: Vec<&str> = setting["rules"].as_array().unwrap().iter().map(|rule| rule.as_str().unwrap()).collect();
        let takes = if setting["reloaded"] == true { "reload" } else { "restart" };
        let shared = if setting["shared"] == true { "yes" } else { "" };
        let row = format!(
            "| `{}` | {kind} | {} | {} | {shared} | {takes} |\n| | {} *Default from: {}.* | | | | |\n",
            field("key"),
            defaults.join(", "),
            rules.join("; "),
            field("meaning"),
            field("source"),
        );
        reference.push_str(&row.replace("|  |", "| |").replace("|  |", "| |"));
    }
}

#[test]
fn the_reference_says_what_the_program_says() {
    let lan = settings("lan");
    let is_of_agent = |setting: &&Value| setting["key"] != "cluster";
    let split = lan.iter().take_while(is_of_agent).count();
    let mut reference = HEAD.to_owned();
    let others: BTreeMap<&str, Vec<Value>> =
        [("1", "wan"), ("2", "local")].map(|(order, preset)| (order, settings(preset))).into();
    let halves = |from: usize, to: usize| {
        let others = others.iter().map(|(order, preset)| (*order, preset[from..to].to_vec())).collect();
        (lan[from..to].to_vec(), others)
    };
    let (agent, agent_others) = halves(0, split);
    rows("The agent", &agent, &agent_others, &mut reference);
    let (node, node_others) = halves(split, lan.len());
    rows("The node", &node, &node_others, &mut reference);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &reference).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference, "docs/configuration.md is out of date; run the tests with UPDATE=1");
}

#[test]
fn what_replicas_depend_on_is_shared_and_nothing_else() {
    let settings = settings("lan");
    let shared: Vec<&str> = settings
        .iter()
        .filter(|setting| setting["shared"] == true)
        .map(|setting| setting["key"].as_str().unwrap())
        .collect();
    let expected = [
        "cluster",
        "identity",
        "authority",
        "view",
        "epoch_interval",
        "dead_ttl",
        "tombstone_ttl",
        "history_count",
        "history_bytes",
        "history_age",
    ];
    assert_eq!(shared, expected);
    let says = |setting: &&Value| setting["meaning"].as_str().unwrap().contains("Shared");
    let said: Vec<&str> = settings.iter().filter(says).map(|setting| setting["key"].as_str().unwrap()).collect();
    assert_eq!(said, expected[1..], "the meanings say so");
}

#[test]
fn each_number_and_duration_of_the_node_has_a_bound() {
    for setting in settings("lan").into_iter().skip_while(|setting| setting["key"] != "cluster") {
        let (key, rules) = (setting["key"].as_str().unwrap(), setting["rules"].as_array().unwrap());
        let is_bounded = ["duration", "whole number"].contains(&setting["type"].as_str().unwrap());
        assert!(!is_bounded || !rules.is_empty(), "{key} may be anything");
    }
}
