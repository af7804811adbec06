//! What a node costs at 1,000 and 10,000 members: a ping in, with and without updates, and the memory of a full view.
//!
//! The bytes are those that real nodes send; pings are put together by hand from the layout in `docs/protocol.md`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use divan::Bencher;
use rumormill_core::io::{Command, StreamId, Ticket};
use rumormill_core::{Channel, Config, Identity, Input, Interner, Node, NodeId, Now, Output, Wall};

const HEADER: usize = 30;
const GREETING: usize = HEADER + 9;

fn main() {
    print_heap();
    divan::main();
}

fn now() -> Now {
    Now { wall: Wall::from_micros(1_800_000_000_000_000), ..Now::default() }
}

fn address(number: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a00_0000 + number), 4747).into()
}

fn node(number: u32, interner: &Interner) -> Node {
    let identity = Identity::new(
        NodeId((u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        format!("node-{number}"),
        address(number),
        u64::from(number),
    );
    Node::sharing(identity, Config::default(), u64::from(number), now(), interner.clone())
}

fn drain(node: &mut Node) -> Vec<Output> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

/// What a node says on the stream to its contact: a greeting, and a packet that claims it and asks to join.
fn introduction(number: u32) -> Vec<Vec<u8>> {
    let mut joiner = node(number, &Interner::default());
    drain(&mut joiner);
    let command = Command::Join { contacts: vec![address(0)] };
    joiner.handle_input(now(), Input::Command { ticket: Ticket(1), command });
    let mut pieces = Vec::new();
    loop {
        let sent = drain(&mut joiner).into_iter().find_map(|output| match output {
            Output::Transmit { channel: Channel::Stream(stream), bytes, .. } => Some((stream, bytes)),
            Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
        });
        let Some((stream, bytes)) = sent else { return pieces };
        pieces.push(bytes);
        joiner.handle_input(now(), Input::StreamWritten { stream });
    }
}

/// A node that knows all of these, who introduced themselves one after the other.
fn acquainted(introductions: &[Vec<Vec<u8>>], interner: &Interner) -> Node {
    let mut node = node(0, interner);
    drain(&mut node);
    for (number, pieces) in introductions.iter().enumerate() {
        let stream = StreamId(number as u64 * 2 + 1);
        node.handle_input(now(), Input::StreamOpened { stream, from: address(1) });
        drain(&mut node);
        for bytes in pieces {
            // The claim without the request to join, which would be answered with all members each time.
            let bytes = if bytes.len() > GREETING { without_join(bytes) } else { bytes.clone() };
            node.handle_input(now(), Input::StreamBytes { stream, bytes: &bytes });
            drain(&mut node);
        }
        node.handle_input(now(), Input::StreamClosed { stream });
        drain(&mut node);
    }
    assert_eq!(node.member_counts().alive, introductions.len() + 1);
    node
}

/// Cuts the two bytes of the join frame off a packet.
fn without_join(packet: &[u8]) -> Vec<u8> {
    let frames = &packet[4..packet.len() - 2];
    let length = u32::try_from(frames.len()).expect("a claim is small");
    [&length.to_le_bytes(), frames].concat()
}

/// An item of a frame of updates: length, hop count, claim.
fn item(introduction: &[Vec<u8>]) -> Vec<u8> {
    let packet = introduction.iter().find(|piece| piece.len() != GREETING).expect("there is a packet");
    // Length of the packet 4, kind and length of the updates 2, packet number and flags 3; at the end join 2.
    packet[9..packet.len() - 2].to_vec()
}

/// A ping from member 1 to member 0, with these items of updates.
fn ping(introductions: &[Vec<Vec<u8>>], items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = introductions[0][0][..HEADER].to_vec();
    bytes[12..20].copy_from_slice(&node(0, &Interner::default()).id().0.to_le_bytes());
    bytes.push(0x10);
    bytes.extend_from_slice(&[1, 7, 0]);
    bytes.extend_from_slice(&[0; 8]);
    if !items.is_empty() {
        let items = items.concat();
        let content = items.len() + 3;
        bytes.push(0x12);
        let low = u8::try_from(content & 0x7f).expect("seven bits");
        bytes.extend_from_slice(&[low | 0x80, u8::try_from(content >> 7).expect("a small frame")]);
        bytes.extend_from_slice(&[0, 0, 0]);
        bytes.extend_from_slice(&items);
    }
    bytes
}

fn bench_ping(bencher: Bencher<'_, '_>, members: u32, updates: usize) {
    let introductions: Vec<_> = (1..=members).map(introduction).collect();
    let mut node = acquainted(&introductions, &Interner::default());
    // Let what is hot cool, as on a cluster at rest.
    while let Some(due) = node.poll_timeout().filter(|due| due.as_micros() < 60_000_000) {
        node.handle_input(Now { instant: due, wall: now().wall }, Input::Timeout);
        drain(&mut node);
    }
    let later = Now { instant: rumormill_core::Instant::from_micros(61_000_000), wall: now().wall };
    let items: Vec<_> = introductions.iter().step_by(members as usize / 10).take(updates).map(|i| item(i)).collect();
    let bytes = ping(&introductions, &items);
    bencher.bench_local(|| {
        node.handle_input(later, Input::Datagram { from: address(1), bytes: black_box(&bytes) });
        while let Some(output) = node.poll_output() {
            black_box(output);
        }
    });
    let counters = *node.counters();
    assert!(counters.dropped.malformed == 0 && counters.dropped.misdirected == 0, "{counters:?}");
    assert_eq!(counters.updates_known > 0, updates > 0, "{counters:?}");
}

#[divan::bench(args = [1_000, 10_000])]
fn ping_with_nothing(bencher: Bencher<'_, '_>, members: u32) {
    bench_ping(bencher, members, 0);
}

#[divan::bench(args = [1_000, 10_000])]
fn ping_with_8_known_updates(bencher: Bencher<'_, '_>, members: u32) {
    bench_ping(bencher, members, 8);
}

#[divan::bench(args = [1_000, 10_000], sample_count = 5)]
fn build_a_full_view(bencher: Bencher<'_, '_>, members: u32) {
    let introductions: Vec<_> = (1..=members).map(introduction).collect();
    bencher.bench_local(|| acquainted(&introductions, &Interner::default()));
}

/// Resident memory before and after twenty nodes that share their claims take in ten thousand members each.
fn print_heap() {
    const NODES: usize = 20;
    const MEMBERS: u32 = 10_000;
    let introductions: Vec<_> = (1..=MEMBERS).map(introduction).collect();
    let interner = Interner::shared();
    let first = acquainted(&introductions, &interner);
    let before = resident_bytes();
    let nodes: Vec<Node> = (0..NODES).map(|_| acquainted(&introductions, &interner)).collect();
    let per_member = (resident_bytes() - before) * 10 / (NODES * MEMBERS as usize);
    let (whole, tenth) = (per_member / 10, per_member % 10);
    println!("full view of {MEMBERS}: {whole}.{tenth} bytes per member and node beyond the shared claims");
    drop((first, nodes));
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this benchmark needs Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("statm has a second field");
    pages * 4_096
}
