//! A disk that takes no more, as a limit on the size of files stands in for one: what was said yes to is there, the rest is refused
//! by name, and the agent goes on.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Agent, until_all_know_all};

/// The largest file of the agent, in blocks of 512 bytes.
const BLOCKS: &str = "12288";
/// Values of this size fill it soon.
const VALUE_BYTES: usize = 100_000;

/// An agent whose files cannot grow beyond so much.
fn limited(name: &str, directory: &Path, contact: &Agent) -> Agent {
    let inner = Agent::command_line(name, &["--data-dir", directory.to_str().unwrap(), "--join", &contact.gossip]);
    let mut command = Command::new("sh");
    // Without the trap the system would end a process that writes further.
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" \"$@\"")]);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, _) in inner.get_envs() {
        command.env_remove(name);
    }
    Agent::of(command)
}

#[test]
fn what_a_full_disk_does_not_take_is_refused_and_what_it_took_is_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let other = Agent::start("n1", &[]);
    let mut full = limited("n2", directory.path(), &other);
    until_all_know_all(&[&other, &full]);

    let value = |number: usize| number.to_string().repeat(VALUE_BYTES / number.to_string().len());
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
    let again = Agent::start("n2", &["--data-dir", directory.path().to_str().unwrap()]);
    assert_eq!(again.id, full.id);
    for number in 0..taken {
        assert_eq!(again.said(&["get", &format!("key/{number}")]).1.trim_end(), value(number), "key {number}");
    }
    again.until("what the other wrote", |again| again.said(&["get", "of-other"]).1 == "value\n");
}
