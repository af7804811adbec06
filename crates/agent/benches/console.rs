//! What the console costs: the page in a real browser, and the agent that serves it.
//!
//! Figures stand in `docs/console.md`. Work of the page is counted in time of its thread, which a busy machine does not stretch; what
//! passed on the clock stands beside it.
#![expect(clippy::unwrap_used, reason = "a measurement that fails has no result")]
#![expect(clippy::print_stdout, reason = "a bench tells what it measures")]

#[path = "../tests/browser/mod.rs"]
mod browser;
#[path = "console/made_up.rs"]
mod made_up;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use browser::{Driver, Page};
use made_up::Cluster;
use serde_json::{Value, json};
use support::{Agent, until_all_know_all};

const WATCHED: Duration = Duration::from_secs(20);
const LOADS: usize = 15;
const CONSOLES: usize = 20;
/// Agents whose tags change, so that so many events a second reach the one that is measured.
const TALKERS: usize = 10;
const CHANGES: Duration = Duration::from_millis(200);

fn main() {
    // `cargo test` builds it as well, and runs it with no `--bench`.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let Some(driver) = Driver::start() else {
        println!("console: SKIPPED: no browser here; apt-get install chromium chromium-driver");
        return;
    };
    paint(&driver);
    for cluster in [Cluster { members: 1_000, rate: 50 }, Cluster { members: 10_000, rate: 50 }] {
        frames(&driver, cluster);
    }
    heap(&driver);
    agent(&driver);
}

/// When the page shows something, and when it shows the members.
fn paint(driver: &Driver) {
    let agent = Agent::start("n1", &[]);
    let page = driver.open("about:blank");
    page.before_scripts(
        "new MutationObserver((_, seen) => { if (document.querySelector('.members .line')) { window.shownAt = performance.now(); \
            seen.disconnect(); } }).observe(document, { childList: true, subtree: true })",
    );
    let mut times: Vec<[f64; 2]> = (0..LOADS)
        .map(|_| {
            page.go("about:blank");
            page.go(&agent.http);
            page.wait_for("window.shownAt && performance.getEntriesByName('first-contentful-paint').length");
            let first = page.run("return performance.getEntriesByName('first-contentful-paint')[0].startTime");
            [first.as_f64().unwrap(), page.run("return window.shownAt").as_f64().unwrap()]
        })
        .collect();
    times.sort_by(|a, b| a[1].total_cmp(&b[1]));
    let ([first, shown], [first_median, shown_median]) = (times[0], times[LOADS / 2]);
    println!(
        "paint: first {first:.0} ms, members shown {shown:.0} ms; median {first_median:.0} and {shown_median:.0} ms of {LOADS} loads"
    );
}

/// How long the page's own work takes at a time while events come in.
fn frames(driver: &Driver, cluster: Cluster) {
    let Cluster { members, rate } = cluster;
    let page = driver.open_traced(&format!("{}/#/cluster", cluster.serve()));
    page.wait_for(&format!("document.querySelector('.chip b').textContent.replace(',', '') > {}", members * 9 / 10));
    // What was noted comes in pieces: the first few are about the load, and about scripts that are not compiled yet.
    let load = (0..3).fold(Work::default(), |most, _| {
        thread::sleep(Duration::from_secs(2));
        most.max(longest(&page))
    });
    page.run("window.gap = 0; let last = performance.now(); const look = (now) => { window.gap = Math.max(window.gap, now - last); \
        last = now; requestAnimationFrame(look); }; requestAnimationFrame(look);");
    let mut most = Work::default();
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        thread::sleep(Duration::from_secs(2));
        most = most.max(longest(&page));
    }
    let gap = page.run("return window.gap").as_f64().unwrap();
    let rows = page.run("return document.querySelectorAll('.members .line').length");
    println!(
        "{members} members, {rate} events/s: longest task {:.1} ms of its thread ({:.0} ms by the clock), longest gap between \
        frames {gap:.0} ms, {rows} rows; at load {:.0} ms ({:.0} ms)",
        most.thread, most.clock, load.thread, load.clock
    );
}

/// The longest piece of work of the page since this was asked last, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    thread: f64,
    clock: f64,
}

impl Work {
    const fn max(self, other: Self) -> Self {
        Self { thread: self.thread.max(other.thread), clock: self.clock.max(other.clock) }
    }
}

fn longest(page: &Page<'_>) -> Work {
    let trace = page.trace();
    let process = |event: &Value| (event["pid"].as_u64(), event["tid"].as_u64());
    // Of several, the page is in the one that scripts ran in: tasks of others are short.
    let mains: Vec<_> = trace
        .iter()
        .filter(|event| event["name"] == "thread_name" && event["args"]["name"] == "CrRendererMain")
        .map(process)
        .collect();
    let tasks = trace.iter().filter(|event| event["name"] == "RunTask" && mains.contains(&process(event)));
    let millis = |value: &Value| value.as_f64().unwrap_or_default() / 1e3;
    tasks.fold(Work::default(), |most, task| {
        most.max(Work { thread: millis(&task["tdur"]), clock: millis(&task["dur"]) })
    })
}

fn metric(page: &Page<'_>, name: &str) -> f64 {
    let metrics = page.protocol("Performance.getMetrics", &json!({}));
    let found = metrics["metrics"].as_array().unwrap().iter().find(|metric| metric["name"] == name);
    found.unwrap()["value"].as_f64().unwrap()
}

/// What the page keeps after many events.
fn heap(driver: &Driver) {
    let rate = 2_000;
    let page = driver.open(&format!("{}/#/cluster", Cluster { members: 1_000, rate }.serve()));
    page.protocol("Performance.enable", &json!({}));
    page.wait_for("document.querySelectorAll('.members .line').length > 5");
    let begun = Instant::now();
    for seconds in [5, 15, 25] {
        thread::sleep((begun + Duration::from_secs(seconds)).saturating_duration_since(Instant::now()));
        for _ in 0..2 {
            page.protocol("HeapProfiler.collectGarbage", &json!({}));
        }
        let (heap, nodes) = (metric(&page, "JSHeapUsedSize") / 1e6, metric(&page, "Nodes"));
        println!(
            "heap after about {} events: {heap:.2} MB, {nodes:.0} nodes of the document",
            u64::from(rate) * seconds
        );
    }
}

/// What a real agent spends on consoles while events come in.
fn agent(driver: &Driver) {
    let agent = Agent::start("n0", &[]);
    let talkers: Vec<Agent> = (1..=TALKERS).map(|index| Agent::join(&format!("n{index}"), &agent, &[])).collect();
    until_all_know_all(&[&[&agent][..], &talkers.iter().collect::<Vec<_>>()].concat());
    let is_over = Arc::new(AtomicBool::new(false));
    let changing: Vec<_> =
        talkers.iter().map(|talker| change_tags(talker.http.clone(), Arc::clone(&is_over))).collect();
    let events = count_events(&agent);
    let alone = spent(&agent, &events);
    let page = driver.open(&agent.http);
    page.wait_for(&format!("document.querySelectorAll('.members .line').length === {}", TALKERS + 1));
    let watched = spent(&agent, &events);
    println!(
        "agent: {:.2} % of a core with no console at {:.0} events/s, {:.2} % with one at {:.0} events/s",
        alone.share * 100.0,
        alone.rate,
        watched.share * 100.0,
        watched.rate
    );
    let before = resident(&agent);
    let consoles: Vec<_> = (0..CONSOLES).map(|_| console(&agent)).collect();
    let many = spent(&agent, &events);
    let each = (resident(&agent) - before) / 1024.0 / f64::from(u32::try_from(consoles.len()).unwrap());
    println!(
        "agent: {each:.3} MiB for each of {CONSOLES} more consoles, {:.2} % of a core for all",
        many.share * 100.0
    );
    is_over.store(true, Ordering::Relaxed);
    for thread in changing {
        thread.join().unwrap();
    }
}

fn change_tags(http: String, is_over: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for turn in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let tags = json!({ "turn": format!("{turn}") }).to_string();
            let request = ureq::patch(format!("{http}/v1/tags")).header("content-type", "application/json");
            request.send(tags).unwrap();
            thread::sleep(CHANGES);
        }
    })
}

/// A stream of what happens, and how many events have come on it.
fn count_events(agent: &Agent) -> Arc<AtomicU64> {
    let (counted, counting) = (Arc::new(AtomicU64::new(0)), stream(agent, "/v1/events"));
    let count = Arc::clone(&counted);
    thread::spawn(move || {
        for line in BufReader::new(counting).lines().map_while(Result::ok) {
            count.fetch_add(u64::from(line.starts_with("data:")), Ordering::Relaxed);
        }
    });
    counted
}

fn stream(agent: &Agent, path: &str) -> TcpStream {
    let mut connection = TcpStream::connect(agent.http.strip_prefix("http://").unwrap()).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    connection
}

/// The connections of a page that is looked at: what happens, one topic, and one for everything else. What comes in is read.
fn console(agent: &Agent) -> TcpStream {
    for path in ["/v1/events", "/v1/topics/news?history=50"] {
        let mut connection = stream(agent, path);
        thread::spawn(move || while connection.read(&mut [0; 16_384]).is_ok_and(|read| read > 0) {});
    }
    let mut other = stream(agent, "/metrics");
    let mut asking = other.try_clone().unwrap();
    thread::spawn(move || while other.read(&mut [0; 16_384]).is_ok_and(|read| read > 0) {});
    let kept = asking.try_clone().unwrap();
    thread::spawn(move || {
        while write!(asking, "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").is_ok() {
            thread::sleep(Duration::from_secs(2));
        }
    });
    kept
}

/// How much of a core an agent took for a while, and how many events came in a second.
struct Spent {
    share: f64,
    rate: f64,
}

fn spent(agent: &Agent, events: &AtomicU64) -> Spent {
    let (begun, cpu, heard) = (Instant::now(), processor(agent), events.load(Ordering::Relaxed));
    thread::sleep(WATCHED);
    let seconds = begun.elapsed().as_secs_f64();
    let came = u32::try_from(events.load(Ordering::Relaxed) - heard).unwrap();
    Spent { share: (processor(agent) - cpu) / seconds, rate: f64::from(came) / seconds }
}

/// Seconds of processor time that an agent has taken, as it says itself.
fn processor(agent: &Agent) -> f64 {
    measured(agent, "process_cpu_seconds_total")
}

/// Its memory in KiB, as the system has it.
fn resident(agent: &Agent) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.process.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn measured(agent: &Agent, name: &str) -> f64 {
    let page = agent.metrics();
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}
