//! The flight recorder: lives of real nodes, run again in the laboratory.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rumormill::{
    Authority, Builder, Cluster, ConfigBuilder, EventKind, Events, Keyring, RECORD_BYTES_MAX, StartError, Warning,
    authority,
};
use rumormill_core::config::IdentityKind;
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
async fn live(recorded: Builder, other: Builder, messages: usize) {
    let other = other.start().await.unwrap();
    let contact = other.local_address().to_string();
    let node = recorded.join([contact]).start().await.unwrap();
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

/// Whether even a part of a secret is in a file.
fn has_part_of(content: &[u8], secret: &[u8]) -> bool {
    let has = |part: &[u8]| content.windows(part.len()).any(|window| window == part);
    secret.chunks_exact(8).any(has)
}

#[tokio::test]
async fn a_life_is_the_same_again_although_the_recording_has_wrapped_and_no_key_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("life");
    let keyring = Keyring::generate().unwrap();
    let [recorded, other] = ["a", "b"].map(|name| builder(name).keyring(keyring.clone()));
    // More than twice what fits.
    live(recorded.record(&file).record_bytes_max(SMALL), other, 300).await;
    let content = fs::read(&file).unwrap();
    assert!(content.len() as u64 <= SMALL && content.len() as u64 > SMALL / 2, "{} bytes", content.len());
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let outcome = outcome(&file);
    assert!(outcome.identical, "{:?}", outcome.difference);
    assert!(outcome.inputs > 100 && outcome.events > 50 && !outcome.harmed, "{outcome:?}");
    let secrets = secrets(&keyring);
    assert!(secrets.len() >= 2);
    assert!(!secrets.iter().any(|secret| has_part_of(&content, secret)), "part of a key is in the recording");
}

#[tokio::test]
async fn a_life_of_a_node_that_signs_is_the_same_again_without_the_key_that_it_signs_with() {
    let directory = tempfile::tempdir().unwrap();
    let (file, authority) = (directory.path().join("life"), Authority::generate().unwrap());
    let keyring = Keyring::generate().unwrap();
    let signed = |name: &str| {
        let data_dir = directory.path().join(name);
        let (_, key) = authority::public_key_in(&data_dir).unwrap();
        let config = ConfigBuilder {
            identity: IdentityKind::Signed,
            authority: authority.public_key(),
            history_count: 4,
            ..ConfigBuilder::local()
        };
        let dressed = builder(name).config(config).keyring(keyring.clone());
        dressed.data_dir(data_dir).certificate(authority.admit(key, None, None))
    };
    live(signed("a").record(&file).record_bytes_max(SMALL), signed("b"), 300).await;
    let content = fs::read(&file).unwrap();
    assert!(content.len() as u64 <= SMALL && content.len() as u64 > SMALL / 2, "{} bytes", content.len());
    let outcome = outcome(&file);
    assert!(outcome.identical, "{:?}", outcome.difference);
    assert!(outcome.inputs > 100 && outcome.events > 50 && !outcome.harmed, "{outcome:?}");
    // RFC 8410: what stands before the 32 bytes of the private key.
    let key = fs::read(directory.path().join("a/identity.pk8")).unwrap();
    let at = key.windows(4).position(|window| window == [0x04, 0x22, 0x04, 0x20]).unwrap() + 4;
    let (private, public) = (&key[at..at + 32], &key[key.len() - 32..]);
    assert!(has_part_of(&content, public), "what its certificate says is there");
    assert!(!has_part_of(&content, private), "part of the private key is in the recording");
    assert!(!secrets(&keyring).iter().any(|secret| has_part_of(&content, secret)), "part of a key is in it");
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
    let is_told = |_: &Agent| {
        let output = run(&["lab", "replay", &file, "--json", "--why", "n1"]);
        serde_json::from_slice::<Value>(&output.stdout).is_ok_and(|told| told["why"]["state"] == "dead")
    };
    recorded.until("the recording", is_told);
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
