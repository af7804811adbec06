//! A disk that takes no more, as a limit on the size of files stands in for one: what was said yes to is there, the rest is refused
//! by name, and the agent goes on.

mod support;

use std::process::Command;

use support::{Agent, run, until_all_know_all, words};

/// The largest file of the agent, in blocks of 512 bytes.
const BLOCKS: &str = "12288";
/// Values of this size fill it soon.
const VALUE_BYTES: usize = 100_000;

/// An agent whose files cannot grow beyond so much.
fn limited(name: &str, arguments: &[&str]) -> Agent {
    let inner = Agent::command_line(name, arguments);
    let mut command = Command::new("sh");
    // Without the trap the system would end a process that writes further.
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" \"$@\"")]);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, _) in inner.get_envs() {
        command.env_remove(name);
    }
    Agent::of(command)
}

fn value(number: usize) -> String {
    number.to_string().repeat(VALUE_BYTES / number.to_string().len())
}

#[test]
fn what_a_full_disk_does_not_take_is_refused_and_what_it_took_is_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let other = Agent::start("n1", &[]);
    let data_dir = directory.path().to_str().unwrap();
    let mut full = limited("n2", &["--data-dir", data_dir, "--join", &other.gossip]);
    until_all_know_all(&[&other, &full]);

    let mut taken = 0;
    let refused = loop {
        let (code, _, err) = full.said(&["put", &format!("key/{taken}"), &value(taken)]);
        if code != 0 {
            break (code, err);
        }
        taken += 1;
        assert!(taken < 200, "the disk is never full");
    };
    assert!(taken > 0 && refused.0 == 3 && refused.1.contains("does not take writes"), "after {taken}: {refused:?}");

    // It is a member as before: it reads, passes on messages, and takes over what others write.
    full.ask(&["publish", "news", "hello"]);
    let news = other.follow(&["subscribe", "news", "--history", "1"]);
    news.wait_for("a message", |line| line["topic"] == "news");
    other.ask(&["put", "of-other", "value"]);
    full.until("what the other wrote", |full| full.said(&["get", "of-other"]).1 == "value\n");
    assert_eq!(full.said(&["get", "key/0"]).1.trim_end(), value(0));
    assert_eq!(full.ask(&["info"])["health"], 0);

    full.process.kill();
    let again = Agent::start("n2", &["--data-dir", data_dir]);
    assert_eq!(again.id, full.id);
    for number in 0..taken {
        assert_eq!(again.said(&["get", &format!("key/{number}")]).1.trim_end(), value(number), "key {number}");
    }
    again.until("what the other wrote", |again| again.said(&["get", "of-other"]).1 == "value\n");
}

#[test]
fn a_recording_that_a_full_disk_ends_is_run_as_far_as_it_goes_and_the_agent_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("life").display().to_string();
    let mut agent = limited("n1", &["--record", &file]);
    let log = agent.follow(&["logs"]);
    let is_end = |line: &serde_json::Value| {
        line["message"].as_str().is_some_and(|said| said.contains("the recording ends here: File too large"))
    };
    // Twice what fits.
    for number in 0..125 {
        agent.ask(&["put", "key", &value(number)]);
    }
    log.wait_for("why the recording ends", is_end);
    assert_eq!(agent.ask(&["get", "key"])["value"], value(124));
    agent.process.kill();
    assert!(!log.rest().iter().any(is_end), "it is told again");
    let (code, said, complaint) = words(&run(&["lab", "replay", &file, "--json"]));
    assert_eq!((code, complaint.as_str()), (0, ""), "{said}");
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    let inputs = document["inputs"].as_u64().unwrap();
    assert!(document["identical"] == true && inputs >= 40, "{document}");
}
