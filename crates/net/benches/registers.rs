//! What registers do on a real machine, through [`Cluster`] as an application uses it: five voters with data directories,
//! on loopback, all in one process.
//!
//! `cargo bench -p rumormill --bench registers` runs everything; `-- alone`, `-- contended` and `-- gossip` one of them.
//! Files go to the system's directory for temporary ones, `TMPDIR`: it should lie on a disk.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use std::time::{Duration, Instant};

use rumormill::registers::{Expected, Register, RegisterError, Value};
use rumormill::{Builder, Cluster};
use rumormill_core::NodeId;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const VOTERS: usize = 5;
/// Who contend for one register.
const PROPOSERS: usize = 10;
/// How long they do.
const CONTENTION: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(30);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if is_wanted("alone") {
        runtime().block_on(alone());
    }
    if is_wanted("contended") {
        runtime().block_on(contended());
    }
    if is_wanted("gossip") {
        runtime().block_on(gossip());
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}

/// Nodes of which the first five vote, and where they keep that.
struct Fleet {
    nodes: Vec<Cluster>,
    _kept: TempDir,
}

impl Fleet {
    async fn start(count: usize) -> Self {
        let kept = tempfile::tempdir().expect("a directory can be made");
        let mut nodes: Vec<Cluster> = Vec::new();
        for number in 0..count {
            let name = format!("n{number}");
            let contact = nodes.first().map(|first| first.local_address().to_string());
            let mut builder: Builder = Cluster::builder(&name).cluster("benchmark").bind("127.0.0.1:0").allow_faults();
            if number < VOTERS {
                builder = builder.data_dir(kept.path().join(&name));
            }
            nodes.push(builder.join(contact).start().await.expect("the node starts"));
        }
        let fleet = Self { nodes, _kept: kept };
        fleet.until_all_know_all().await;
        let voters: Vec<NodeId> = fleet.nodes[..VOTERS].iter().map(Cluster::id).collect();
        fleet.nodes[0].registers().found(voters).await.expect("nobody was named before");
        for node in &fleet.nodes {
            while node.registers().status().await.expect("it runs").configuration.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        fleet
    }

    async fn until_all_know_all(&self) {
        for node in &self.nodes {
            while node.members().await.expect("it runs").len() < self.nodes.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn register(&self, node: usize, name: &str) -> Register {
        self.nodes[node].registers().register(name).timeout(TIMEOUT)
    }
}

/// Sorts, and tells the median and the 99th part of a hundred, in milliseconds.
fn tell(what: &str, mut spans: Vec<Duration>) {
    spans.sort_unstable();
    let at = |part: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the array")]
        let place = ((spans.len() - 1) as f64 * part).round() as usize;
        spans[place].as_secs_f64() * 1e3
    };
    println!(
        "{what}: median {:.2} ms, 99 % within {:.2} ms, longest {:.2} ms, of {}",
        at(0.5),
        at(0.99),
        at(1.0),
        spans.len()
    );
}

/// One change after the other, each of what the last one left.
async fn changes(register: &Register, count: usize) -> Vec<Duration> {
    let mut before = register.get().await.expect("a quorum answers").value;
    let mut spans = Vec::with_capacity(count);
    for number in 0..count {
        let (begun, value) = (Instant::now(), number.to_string());
        let expected = before.map_or(Expected::Absent, Expected::Value);
        register.compare_and_set(expected, &value).await.expect("nobody else changes it");
        spans.push(begun.elapsed());
        before = Some(Value::from(value.into_bytes()));
    }
    spans
}

async fn alone() {
    let fleet = Fleet::start(VOTERS + 1).await;
    tell("compare-and-set, by a voter", changes(&fleet.register(0, "voter"), 1_000).await);
    tell("compare-and-set, by another node", changes(&fleet.register(VOTERS, "other"), 1_000).await);
    let register = fleet.register(VOTERS, "other");
    let mut reads = Vec::new();
    for _ in 0..1_000 {
        let begun = Instant::now();
        register.get().await.expect("a quorum answers");
        reads.push(begun.elapsed());
    }
    tell("read, by another node", reads);
}

/// Each adds one to the same register again and again; whoever finds something else there tries again with that.
async fn contended() {
    let fleet = Fleet::start(PROPOSERS).await;
    let mut contenders = JoinSet::new();
    for node in 0..PROPOSERS {
        let register = fleet.register(node, "sum");
        contenders.spawn(async move { contend(&register).await });
    }
    let all = contenders.join_all().await;
    let done: Vec<usize> = all.iter().map(|contender| contender.done).collect();
    let waited = all.iter().map(|contender| contender.waited).max().unwrap_or_default();
    let unknown: usize = all.iter().map(|contender| contender.unknown).sum();
    let total: usize = done.iter().sum();
    println!(
        "{PROPOSERS} proposers on one register: {:.0} changes a second, the fewest of one {}, the most {}; the longest wait {:.2} s; {unknown} of unknown outcome",
        total as f64 / CONTENTION.as_secs_f64(),
        done.iter().min().copied().unwrap_or_default(),
        done.iter().max().copied().unwrap_or_default(),
        waited.as_secs_f64(),
    );
    let sum = fleet.register(0, "sum").get().await.expect("a quorum answers").value.expect("it was changed");
    let sum: usize = String::from_utf8_lossy(&sum).parse().expect("a sum");
    assert!((total..=total + unknown).contains(&sum), "{sum}: every change that was confirmed is in the sum, once");
}

#[derive(Debug, Default)]
struct Contender {
    done: usize,
    unknown: usize,
    /// The longest time without a success.
    waited: Duration,
}

async fn contend(register: &Register) -> Contender {
    let (begun, mut last, mut contender) = (Instant::now(), Instant::now(), Contender::default());
    let mut held = register.get().await.expect("a quorum answers");
    while begun.elapsed() < CONTENTION {
        let sum = held.value.as_ref().map_or(0, |value| String::from_utf8_lossy(value).parse::<u64>().expect("a sum"));
        let expected = held.value.clone().map_or(Expected::Absent, Expected::Value);
        held = match register.compare_and_set(expected, (sum + 1).to_string()).await {
            Ok(held) => {
                contender.done += 1;
                contender.waited = contender.waited.max(last.elapsed());
                last = Instant::now();
                held
            }
            Err(RegisterError::Mismatch(held)) => held,
            Err(RegisterError::Unknown) => {
                contender.unknown += 1;
                register.get().await.expect("a quorum answers")
            }
            Err(error) => panic!("{error}"),
        };
    }
    contender.waited = contender.waited.max(last.elapsed());
    contender
}

/// A proposer to whom no voter gets through, nor it to them: only others pass on what they say.
async fn gossip() {
    let fleet = Fleet::start(2 * VOTERS).await;
    let proposer = fleet.nodes.last().expect("there are some");
    let faults = proposer.faults().expect("they are allowed");
    faults.cut(fleet.nodes[..VOTERS].iter().map(Cluster::local_address));
    let register = proposer.registers().register("far").timeout(TIMEOUT);
    tell("compare-and-set, by gossip alone", changes(&register, 20).await);
}
