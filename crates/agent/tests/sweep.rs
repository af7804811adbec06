//! `rumor lab sweep`: what it prints and draws, what it refuses before anything runs, and what Ctrl-C leaves.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{rumor, run, text};

const MODES: [&str; 10] = [
    "lab",
    "sweep",
    "spread",
    "--over",
    "nodes=100,1000",
    "--over",
    "mode=push,pull,push-pull",
    "--runs",
    "20",
    "--json",
];

#[test]
fn a_sweep_prints_every_combination_and_draws_them_beside_the_theory() {
    let directory = tempfile::tempdir().unwrap();
    let (plot, csv) = (directory.path().join("a.svg"), directory.path().join("a.csv"));
    let files = ["--plot", plot.to_str().unwrap(), "--csv", csv.to_str().unwrap()];
    let output = run(&[&MODES[..], &files].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let points = document["points"].as_array().unwrap();
    assert_eq!((points.len(), &document["planned"], &document["of"]), (6, &6.into(), &"spread".into()));
    assert_eq!(points[4]["parameters"], serde_json::json!({ "nodes": 1000, "mode": "pull" }));
    assert_eq!(points[4]["outcome"]["runs"], 20);
    let svg = fs::read_to_string(plot).unwrap();
    for words in ["push-pull", "push: log2 n + ln n", "nodes", "rounds until the last informed node knew"] {
        assert!(svg.contains(&format!("aria-label=\"{words}\"")), "{words}");
    }
    // A header, and two points for each measurement and each formula.
    assert_eq!(fs::read_to_string(csv).unwrap().lines().count(), 1 + 2 * 6);
}

#[test]
fn the_number_of_cores_changes_nothing() {
    let points = |threads: &str| {
        let output = rumor(&MODES).env("RAYON_NUM_THREADS", threads).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["points"].take()
    };
    assert_eq!(points("1"), points("4"));
}

#[test]
fn other_flags_stay_as_they_were_given_and_switches_are_swept_by_true_and_false() {
    let sweep = |arguments: &[&str]| -> Value {
        let output =
            run(&[&["lab", "sweep", "average", "--json", "--nodes", "64", "--cycles", "9"], arguments].concat());
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    };
    let document = sweep(&["--push-sum", "--over", "seed=1,2"]);
    assert_eq!(document["points"][1]["outcome"]["method"], "push-sum");
    assert_eq!(document["points"][1]["outcome"]["cycles"], 9);
    let document = sweep(&["--over", "push-sum=true,false"]);
    assert_eq!(document["points"][0]["outcome"]["method"], "push-sum");
    assert_ne!(document["points"][1]["outcome"]["method"], "push-sum");
}

#[test]
fn what_cannot_be_swept_is_refused_before_anything_runs() {
    // So long that a test would never end if it ran.
    let long = ["lab", "sweep", "spread", "--nodes", "1000000", "--runs", "1000000", "--json"];
    for (arguments, field) in [
        (&["--over", "nodes=10,1"][..], Some("nodes")),
        (&["--over", "colour=red"], Some("over")),
        (&["--over", "plot=a.svg"], Some("over")),
        (&["--over", "seed=1,2", "--over", "seed=3"], Some("over")),
        (&["--over", "seed=1..10000", "--over", "loss=0,0.1"], Some("over")),
        (&["--over", "seed=1,2", "--y", "elapsed"], Some("y")),
        (&["--over", "seed=1,2", "--x", "mode"], Some("x")),
        (&["--over", "mode=push,pull", "--csv", "a.csv"], Some("mode")),
        (&["--over", "seed=1,2", "--average", "nodes"], Some("average")),
        (&["--over", "seed=1,2", "--average", "seed"], Some("average")),
        (&["--over", "seed=1,2", "--plot", "picture.jpg"], Some("plot")),
        (&["--over", "seed=1,2", "--plot", "/nowhere/at/all.svg"], None),
        (&["--over", "seed=1,2", "--csv", "/nowhere/at/all.csv"], None),
        (&["--over", "mode=sideways"], None),
        (&["--over", "seed="], None),
        (&[], None),
    ] {
        let output = run(&[&long[..], arguments].concat());
        let (code, stderr) = (output.status.code(), text(&output.stderr));
        let error: Value = serde_json::from_str(stderr.trim_end()).unwrap_or_else(|_| panic!("one line: {stderr}"));
        assert_eq!((code, text(&output.stdout).as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert_eq!(error["error"]["field"].as_str(), field, "{arguments:?}: {stderr}");
        assert_eq!(error["error"]["outcome"], "none", "{arguments:?}");
    }
}

#[test]
fn nothing_is_left_of_a_command_that_was_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (plot, kept) = (directory.path().join("a.svg"), directory.path().join("b.csv"));
    fs::write(&kept, "kept").unwrap();
    for csv in ["/nowhere/at/all.csv", directory.path().to_str().unwrap()] {
        let output = run(&["lab", "spread", "--plot", plot.to_str().unwrap(), "--csv", csv]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(!plot.exists(), "an empty picture is left");
    }
    let output = run(&["lab", "spread", "--csv", kept.to_str().unwrap(), "--plot", "/nowhere/at/all.svg"]);
    assert_eq!((output.status.code(), fs::read_to_string(kept).unwrap().as_str()), (Some(2), "kept"));
}

#[test]
fn ctrl_c_keeps_what_is_done_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (plot, csv) = (directory.path().join("a.png"), directory.path().join("a.csv"));
    let mut command = rumor(&["lab", "sweep", "spread", "--nodes", "20000", "--over", "seed=1..1000", "--runs", "20"]);
    command.args(["--json", "--plot", plot.to_str().unwrap(), "--csv", csv.to_str().unwrap()]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_it_has_worked(&child);
    let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let output = child.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let points = document["points"].as_array().unwrap();
    assert!(!points.is_empty() && points.len() < 1_000, "{} points", points.len());
    assert!(points.iter().all(|point| point["outcome"]["runs"] == 20), "whole points only");
    assert_eq!(document["planned"], 1_000);
    let said = format!("stopped after {} of 1000 points", points.len());
    assert!(text(&output.stderr).contains(&said), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(csv).unwrap().lines().count(), 1 + 2 * points.len(), "measured and theory");
    assert!(fs::read(plot).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn ctrl_c_ends_a_study_with_the_runs_that_are_done_and_exit_code_1() {
    let child = rumor(&["lab", "average", "--nodes", "20000", "--runs", "100000", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until_it_has_worked(&child);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let runs = document["runs"].as_u64().unwrap();
    assert!((1..100_000).contains(&runs), "{runs}");
    assert!(text(&output.stderr).contains(&format!("stopped after {runs} of 100000 runs")), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    // As many runs with the same seed are the same.
    let again = run(&["lab", "average", "--nodes", "20000", "--runs", &runs.to_string(), "--json"]);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["variance"], document["variance"]);
}

/// Until the process has used as much of a core as some points need: a second, in ticks of 10 ms.
fn wait_until_it_has_worked(child: &Child) {
    let stat = format!("/proc/{}/stat", child.id());
    assert!(Path::new(&stat).exists());
    while fs::read_to_string(&stat).unwrap().split(' ').nth(13).unwrap().parse::<u64>().unwrap() < 100 {
        std::thread::yield_now();
    }
}
