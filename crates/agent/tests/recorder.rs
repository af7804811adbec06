//! The flight recorder: lives of real nodes, run again in the laboratory.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rumormill::{Builder, Cluster, ConfigBuilder, EventKind, Events, Keyring, RECORD_BYTES_MAX, StartError, Warning};
use rumormill_lab::recording::{Outcome, Replayed, replay};
use serde_json::Value;
use support::{Agent, HASTY, run, text, until_all_know_all, words};

const SMALL: u64 = 8 << 20;

/// A node that keeps so few messages that its state fits a small recording.
fn builder(name: &str) -> Builder {
    Cluster::builder(name).bind("127.0.0.1:0").config(ConfigBuilder { history_count: 4, ..ConfigBuilder::local() })
}

fn outcome(file: &Path) -> Outcome {
    let Replayed { outcome, .. } = replay(file, |_, _| {}).unwrap();
    outcome
}

/// Lets a recorded node hear so many large messages of another, and do something itself.
async fn live(recorded: Builder, keyring: Option<Keyring>, messages: usize) {
    let with_keys = |builder: Builder| match &keyring {
        Some(keyring) => builder.keyring(keyring.clone()),
        None => builder,
    };
    let other = with_keys(builder("b")).start().await.unwrap();
    let contact = other.local_address().to_string();
    let node = with_keys(recorded).join([contact]).start().await.unwrap();
    let mut heard = node.subscribe("news").await.unwrap();
    other.publish("news", "begin").await.unwrap();
    let mut waiting = 1;
    for number in 0..=messages {
        while waiting > 0 {
            heard.next().await.expect("the node runs");
            waiting -= 1;
        }
        if number < messages {
            other.publish("news", vec![number.to_le_bytes()[0]; 60_000]).await.unwrap();
            node.data().put(format!("key {number}"), "value").await.unwrap();
            waiting = 1;
        }
    }
    other.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn a_life_is_the_same_again_although_the_recording_has_wrapped_and_no_key_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("life");
    let keyring = Keyring::generate().unwrap();
    // More than twice what fits.
    live(builder("a").record(&file).record_bytes_max(SMALL), Some(keyring.clone()), 300).await;
    let content = fs::read(&file).unwrap();
    assert!(content.len() as u64 <= SMALL && content.len() as u64 > SMALL / 2, "{} bytes", content.len());
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let outcome = outcome(&file);
    assert!(outcome.identical, "{:?}", outcome.difference);
    assert!(outcome.inputs > 100 && outcome.events > 50 && !outcome.harmed, "{outcome:?}");
    let secrets = secrets(&keyring);
    assert!(secrets.len() >= 2);
    for secret in secrets {
        let has = |part: &[u8]| content.windows(part.len()).any(|window| window == part);
        assert!(!secret.chunks_exact(8).any(has), "part of a key is in the recording");
    }
}

/// The secret and the keys of a key file, as bytes.
fn secrets(keyring: &Keyring) -> Vec<Vec<u8>> {
    let of_line = |line: &str| {
        let (_, digits) = line.split_once(' ').filter(|(word, _)| ["secret", "key"].contains(word))?;
        Some((0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect())
    };
    keyring.to_text().lines().filter_map(of_line).collect()
}

#[tokio::test]
async fn a_disk_that_is_full_ends_the_recording_and_not_the_node() {
    let recorded = builder("a").record("/dev/full");
    let mut events = recorded.events();
    let node = recorded.start().await.unwrap();
    let work = async {
        loop {
            node.publish("news", "still here").await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let reason = tokio::select! {
        reason = ended(&mut events) => reason,
        () = work => None,
    };
    assert!(reason.unwrap().contains("No space left"));
    node.publish("news", "still here").await.unwrap();
    node.stop().await;
    assert_eq!(ended(&mut events).await, None, "it is told once");
}

/// Why the recording ended, if it does before the node stops.
async fn ended(events: &mut Events) -> Option<String> {
    while let Some(event) = events.next().await {
        if let EventKind::Warning(Warning::RecordingEnded { reason }) = event.unwrap().kind {
            return Some(reason);
        }
    }
    None
}

#[tokio::test]
async fn an_earlier_recording_is_kept_and_any_other_file_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("life");
    for _ in 0..2 {
        builder("a").record(&file).start().await.unwrap().stop().await;
    }
    assert!(outcome(&file).identical && outcome(&directory.path().join("life.old")).identical);
    fs::write(&file, "notes").unwrap();
    let refused = builder("a").record(&file).start().await.unwrap_err();
    assert!(matches!(refused, StartError::Record { .. }), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), b"notes");
    let refused = builder("a").record(directory.path().join("small")).record_bytes_max(1 << 20).start().await;
    assert_eq!(refused.unwrap_err().field(), "record_bytes_max");
    assert_eq!(RECORD_BYTES_MAX, 64 << 20);
}

#[test]
fn an_agent_that_is_killed_leaves_a_recording_that_tells_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("life").display().to_string();
    let mut first = Agent::start("n1", &HASTY);
    let mut recorded = Agent::join("n2", &first, &[&HASTY[..], &["--record", &file]].concat());
    until_all_know_all(&[&first, &recorded]);
    first.process.kill();
    recorded.wait_for("failed", &first);
    recorded.process.kill();
    let (code, said, complaint) = words(&run(&["lab", "replay", &file, "--json", "--why", "n1", "--events"]));
    assert_eq!((code, complaint.as_str()), (0, ""), "{said}");
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&document["name"], &document["identical"]), (&Value::from("n2"), &Value::from(true)));
    assert_eq!(document["why"]["state"], "dead");
    let events = document["all_events"].as_array().unwrap();
    assert_eq!(Some(events.len() as u64), document["events"].as_u64());
    assert!(events.iter().any(|event| event["event"].as_str().unwrap().contains("Failed")), "{events:?}");
    let output = run(&["lab", "replay", &file]);
    assert!(text(&output.stdout).contains("to the last byte"), "{}", text(&output.stdout));
    let (code, _, complaint) = words(&run(&["lab", "replay", "/dev/null"]));
    assert!(code == 2 && complaint.contains("a recording of a node"), "{complaint}");
}
