//! What the database does on a real machine, through [`Cluster`] as an application uses it: local reads, durable writes,
//! and a new node that fetches a million entries, beside a plain copy of the same bytes.
//!
//! `cargo bench -p rumormill --bench data` runs everything; `-- reads`, `-- writes` and `-- fetch` one of them. Files go
//! to the system's directory for temporary ones, `TMPDIR`: it should lie on a disk.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rumormill::bench::Storing;
use rumormill::data::{Data, Edit, Write};
use rumormill::{Builder, Cluster};
use rumormill_core::Record;
use tokio::runtime::Runtime;

const ENTRIES: usize = 1_000_000;
const VALUE_BYTES: usize = 100;
/// How many bytes of records one commit of the plain copy takes up.
const CHUNK_BYTES: usize = 4 << 20;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if wanted.first().is_some_and(|first| first == "serve") {
        return runtime(1).block_on(serve());
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if is_wanted("reads") {
        runtime(2).block_on(reads());
    }
    if is_wanted("writes") {
        runtime(2).block_on(writes());
    }
    if is_wanted("plain") {
        plain(175 * ENTRIES as u64);
    }
    if is_wanted("fetch") {
        fetch();
    }
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().expect("a runtime starts")
}

fn key(number: usize) -> String {
    format!("key-{number:09}")
}

fn node(name: &str) -> Builder {
    Cluster::builder(name).cluster("benchmark").bind("127.0.0.1:0")
}

/// Writes entries, a thousand at once.
async fn fill(data: &Data, count: usize) {
    for keys in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let put = |number| Write::new(key(number), Edit::Put { value: vec![7; VALUE_BYTES], ttl: None });
        data.write(keys.iter().copied().map(put).collect()).await.expect("there is room");
    }
}

async fn reads() {
    let cluster = node("reader").start().await.expect("the node starts");
    let data = cluster.data();
    for count in [10_000, ENTRIES] {
        fill(&data, count).await;
        for threads in [1, 2] {
            let rate = read(&data, count, threads);
            println!("reads among {count:>7} keys, {threads} threads: {:.2} million a second", 1e-6 * rate);
        }
    }
    cluster.stop().await;
}

/// Reads keys in an order without a pattern, on threads of their own. Reads a second of all together.
fn read(data: &Data, count: usize, threads: usize) -> f64 {
    const READS: usize = 1_000_000;
    let keys: Vec<String> = (0..READS).map(|n| key(n.wrapping_mul(2_654_435_761) % count)).collect();
    let watch = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let found = keys.iter().filter(|key| black_box(data.get(key)).is_some()).count();
                assert_eq!(found, READS);
            });
        }
    });
    (READS * threads) as f64 / watch.elapsed().as_secs_f64()
}

async fn writes() {
    const TIME: Duration = Duration::from_secs(2);
    for writers in [1, 8, 64, 512] {
        let directory = tempfile::tempdir().expect("there is a directory for temporary files");
        let cluster = node("writer").data_dir(directory.path()).start().await.expect("the node starts");
        assert!(cluster.is_durable());
        let watch = Instant::now();
        let tasks: Vec<_> =
            (0..writers).map(|writer| tokio::spawn(write(cluster.data(), writer, watch, TIME))).collect();
        let mut count = 0;
        for task in tasks {
            count += task.await.expect("writers do not panic");
        }
        println!(
            "durable writes of {writers:>3} writers: {:.0} a second",
            count as f64 / watch.elapsed().as_secs_f64()
        );
        cluster.stop().await;
    }
    bare_writes(64, TIME);
}

/// One writer after the other; how many were durable in that time.
async fn write(data: Data, writer: usize, watch: Instant, time: Duration) -> usize {
    let mut count = 0;
    while watch.elapsed() < time {
        let written =
            data.put(format!("writer-{writer}-{count}"), vec![7; VALUE_BYTES]).await.expect("the disk has room");
        assert!(written.durable);
        count += 1;
    }
    count
}

/// The store alone, with groups of that many small records.
fn bare_writes(group: usize, time: Duration) {
    let directory = tempfile::tempdir().expect("there is a directory for temporary files");
    let mut store = Storing::open(directory.path()).expect("the store opens");
    let watch = Instant::now();
    let mut count = 0;
    while watch.elapsed() < time {
        let records: Vec<Record> = (count..count + group).map(record).collect();
        store.commit(&records).expect("the disk has room");
        count += group;
    }
    println!("the store alone, {group} at once: {:.0} a second", count as f64 / watch.elapsed().as_secs_f64());
}

/// A record of about the size of that of an entry.
fn record(number: usize) -> Record {
    let key = key(number);
    let value = [key.as_bytes(), &[7; VALUE_BYTES + 36]].concat();
    Record {
        key: [b"data/".as_slice(), &[u8::try_from(key.len()).expect("short"), 0], key.as_bytes()].concat(),
        value: Some(value),
    }
}

/// A process of its own that holds all entries.
struct Server {
    process: Child,
    /// It ends when this does.
    _life: ChildStdin,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program is a file");
        let mut process = Command::new(program)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let life = process.stdin.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says where it is");
        Self { process, _life: life, address: line.trim().parse().expect("it says where it is") }
    }

    fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("it is ours");
    }
}

async fn serve() {
    let cluster = node("server").start().await.expect("the node starts");
    fill(&cluster.data(), ENTRIES).await;
    println!("{}", cluster.local_address());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.expect("no panic").ok();
}

fn fetch() {
    let server = Server::start();
    let memory = memory_of(server.id(), "VmRSS");
    // From now on the peak counts anew.
    fs::write(format!("/proc/{}/clear_refs", server.id()), "5").expect("it is ours");
    let directory = tempfile::tempdir().expect("there is a directory for temporary files");
    let (readable, durable, bytes) = runtime(1).block_on(fetch_from(server.address, directory.path()));
    let peak = memory_of(server.id(), "VmHWM");
    drop(server);
    println!(
        "a new node has {ENTRIES} entries, {bytes} bytes: readable in {:.2} s, durable in {:.2} s; the server took {} KiB beside its {memory}",
        readable.as_secs_f64(),
        durable.as_secs_f64(),
        peak.saturating_sub(memory),
    );
    println!("{:.1} times as long as that", durable.as_secs_f64() / plain(bytes).as_secs_f64());
}

/// What it takes at least: to copy so many bytes, and then to store as many records.
fn plain(bytes: u64) -> Duration {
    let (copied, stored) = (copy(bytes), store_all());
    println!(
        "a plain copy of {bytes} bytes takes {:.2} s, writing as many records in chunks of {CHUNK_BYTES} bytes {:.2} s",
        copied.as_secs_f64(),
        stored.as_secs_f64()
    );
    copied + stored
}

/// From the start of a node until it can read everything, and until everything is durable; and the bytes that came.
async fn fetch_from(contact: SocketAddr, directory: &std::path::Path) -> (Duration, Duration, u64) {
    let watch = Instant::now();
    let cluster = node("new").data_dir(directory).join([contact.to_string()]).start().await.expect("the node starts");
    let state = || cluster.inspect(|node| (node.shelf().updates(), node.counters().bytes_received));
    let bytes = loop {
        let (updates, bytes) = state().await.expect("the node runs");
        if updates == ENTRIES {
            break bytes;
        }
        assert!(watch.elapsed() < Duration::from_mins(5), "{updates} of {ENTRIES} entries came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let readable = watch.elapsed();
    // Records become durable in the order in which the node hands them over.
    cluster.data().put("last", "").timeout(Duration::from_mins(5)).await.expect("the disk has room");
    let durable = watch.elapsed();
    cluster.stop().await;
    (readable, durable, bytes)
}

/// Copies bytes over a connection on loopback, in pieces of 16 KiB.
fn copy(bytes: u64) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let watch = Instant::now();
    let sender = thread::spawn(move || {
        let mut socket = TcpStream::connect(address).expect("somebody listens");
        let piece = [7; 16 << 10];
        let mut left = bytes;
        while left > 0 {
            let length = left.min(16 << 10);
            socket.write_all(&piece[..usize::try_from(length).expect("small")]).expect("somebody reads");
            left -= length;
        }
    });
    let (mut socket, _) = listener.accept().expect("somebody comes");
    let (mut piece, mut received) = (vec![0; 16 << 10], 0);
    while let Ok(length @ 1..) = socket.read(&mut piece) {
        received += black_box(&piece[..length]).len() as u64;
    }
    sender.join().expect("the sender does not panic");
    assert_eq!(received, bytes);
    watch.elapsed()
}

/// Writes as many records to a store as a new node fetches.
fn store_all() -> Duration {
    let directory = tempfile::tempdir().expect("there is a directory for temporary files");
    let mut store = Storing::open(directory.path()).expect("the store opens");
    let records: Vec<Record> = (0..ENTRIES).map(record).collect();
    let size = |record: &Record| record.key.len() + record.value.as_ref().map_or(0, Vec::len);
    let watch = Instant::now();
    for chunk in records.chunks(CHUNK_BYTES / size(&records[0])) {
        store.commit(chunk).expect("the disk has room");
    }
    watch.elapsed()
}

/// A line of what the system knows about a process, in KiB.
fn memory_of(process: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("this benchmark needs Linux");
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    found.and_then(|text| text.split_whitespace().next()?.parse().ok()).expect("the line is there")
}
