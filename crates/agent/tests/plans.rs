//! `rumor lab plan`: what it writes is what an agent reads, and its exit code says whether the goal can be met.

use std::path::Path;
use std::process::{Command, Output};

fn rumor(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rumor")).args(words).output().expect("it runs")
}

#[test]
fn the_file_that_a_plan_emits_is_a_config_file() {
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("rumor.toml");
    let file = Path::to_str(&file).expect("it is text");
    let plan = rumor(&["lab", "plan", "--nodes", "20", "--loss", "0.1", "--deadline", "2s", "--emit", file]);
    assert_eq!(plan.status.code(), Some(0), "{plan:?}");
    let check = rumor(&["config", "check", file]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
}

#[test]
fn a_goal_that_cannot_be_met_is_answered_with_no_and_what_can() {
    let goal = ["--loss", "0", "--deadline", "10ms", "--bandwidth", "6912", "--rate", "20"];
    let plan = rumor(&[&["lab", "plan", "--nodes", "20"], &goal[..]].concat());
    assert_eq!(plan.status.code(), Some(1), "{plan:?}");
    let said = String::from_utf8_lossy(&plan.stderr).into_owned();
    assert!(said.contains("20 nodes cannot be told within 10.0 ms with 6912 bytes/s"), "{said}");
    assert!(said.contains("that deadline needs about"), "{said}");
}

#[test]
fn an_impossible_goal_is_refused() {
    let plan = rumor(&["lab", "plan", "--nodes", "1", "--loss", "0", "--deadline", "1s"]);
    assert_eq!(plan.status.code(), Some(2), "{plan:?}");
    assert!(String::from_utf8_lossy(&plan.stderr).contains("nodes is 1, must be from 2"), "{plan:?}");
}
