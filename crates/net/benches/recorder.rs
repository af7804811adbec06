//! What the flight recorder costs: two nodes on loopback pass messages, with and without it, by turns; the CPU time of the process.
//!
//! `cargo bench -p rumormill --bench recorder`
//!
//! With `-- without N` or `-- with N` it passes N messages once, so that something else can count instructions, which do not depend on what the machine
//! does beside: docs/laboratory.md has the command. Two counts of different N leave out what a start takes.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::expect_used, reason = "a benchmark that fails ends")]

use std::path::Path;
use std::time::Duration;

use rumormill::{Builder, Cluster, Keyring};

/// Messages of one measurement, and how large they are.
const MESSAGES: usize = 20_000;
const BYTES: usize = 200;
/// So many are published before the receiver has to have them: none is missed where the machine has other work.
const AHEAD: usize = 50;
/// Measurements of each kind.
const RUNS: usize = 9;
/// Of `utime` and `stime`.
const TICKS_A_SECOND: f64 = 100.0;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [kind, messages] = &arguments[..] {
        let directory = (kind == "with").then(|| directory.path());
        let messages = messages.parse().expect("a number of messages");
        runtime.block_on(pass_messages(directory, messages));
        return;
    }
    let mut took = [const { Vec::new() }; 2];
    for _ in 0..RUNS {
        for (took, is_recorded) in took.iter_mut().zip([false, true]) {
            let directory = is_recorded.then(|| directory.path());
            took.push(runtime.block_on(pass_messages(directory, MESSAGES)));
        }
    }
    let [without, with] = took.map(|mut took| {
        took.sort_by(f64::total_cmp);
        took[took.len() / 2]
    });
    println!("{MESSAGES} messages of {BYTES} bytes between two sealed nodes, medians of {RUNS} runs each");
    println!("without: {without:.2} s of CPU");
    println!("with:    {with:.2} s of CPU, {:+.1} %", (with / without - 1.0) * 100.0);
}

/// The CPU time that it takes, both nodes together.
async fn pass_messages(directory: Option<&Path>, messages: usize) -> f64 {
    let keyring = Keyring::generate().expect("random numbers");
    let node = |name: &str| -> Builder {
        let builder = Cluster::builder(name).bind("127.0.0.1:0").keyring(keyring.clone());
        match directory {
            Some(directory) => builder.record(directory.join(name)),
            None => builder,
        }
    };
    let sender = node("a").start().await.expect("it starts");
    let receiver = node("b").join([sender.local_address().to_string()]).start().await.expect("it starts");
    let mut heard = receiver.subscribe("news").await.expect("it runs");
    while sender.members().await.expect("it runs").len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = cpu();
    for _ in 0..messages / AHEAD {
        for _ in 0..AHEAD {
            sender.publish("news", vec![7; BYTES]).await.expect("it drains");
        }
        for _ in 0..AHEAD {
            heard.next().await.expect("it runs");
        }
    }
    let took = cpu() - begun;
    sender.stop().await;
    receiver.stop().await;
    took
}

/// Of this process, all threads.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the kernel tells it");
    let fields: Vec<f64> = stat.split_whitespace().skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    fields.iter().sum::<f64>() / TICKS_A_SECOND
}
