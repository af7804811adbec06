//! False claims about members by somebody who has the key: nobody is listed as gone who answers, and what is known of
//! the dead is not cut short.

#[expect(dead_code, reason = "these tests need little of it")]
mod support;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use rumormill_core::io::{Command, MemberChange, State, Ticket};
use rumormill_core::{Config, Event, Input, Node, NodeId, Now, Output, Tags};
use support::{HEADER, acquainted, address, datagrams, drain, frame, now, varint};

/// The second node of a pair.
const PEER: NodeId = NodeId(3);
const SUSPECT: u8 = 1;
const DEAD: u8 = 2;
const REMOVED: u8 = 4;

/// What the peer says of itself, in the bytes of a claim; the node has heard it too.
fn told_claim(node: &mut Node, peer: &mut Node) -> Vec<u8> {
    let tags = Tags::from([("role".to_owned(), "web".to_owned())]);
    peer.handle_input(now(10), Input::Command { ticket: Ticket(9), command: Command::SetTags { tags } });
    let (_, datagram) = datagrams(drain(peer)).into_iter().next().expect("it tells others");
    node.handle_input(now(10), Input::Datagram { from: address(2), bytes: &datagram });
    drain(node);
    // Frame, its length, packet and flags, length, hop: no length is above 127.
    let frames = &datagram[HEADER + 1..];
    let length = usize::from(frames[5]);
    frames[7..6 + length].to_vec()
}

/// The same claim in another state; with a moment where it is a certificate.
fn in_state(alive: &[u8], state: u8, forget: Option<u64>) -> Vec<u8> {
    let mut claim = alive.to_vec();
    // Kind, member, boot and refutations.
    claim[1 + 8 + 1 + 1] = state;
    if let Some(millis) = forget {
        let seconds = u32::try_from(now(millis).wall.as_micros() / 1_000_000).expect("in this century");
        claim[0] |= 0x10;
        claim.splice(1..1, seconds.to_le_bytes());
    }
    claim
}

/// Gives updates to a node in one datagram, as if another member had sent them.
fn give(node: &mut Node, updates: &[Vec<u8>], when: Now) -> Vec<Event> {
    let items = updates.iter().flat_map(|update| [&varint(update.len() as u64 + 1)[..], &[1], update].concat());
    let mut datagram = vec![0; HEADER];
    datagram[..4].copy_from_slice(&node.cluster_hash().to_le_bytes());
    datagram[4..12].copy_from_slice(&77_u64.to_le_bytes());
    datagram.push(0x10);
    datagram.extend(frame(0x12, &[0, 0, 0].into_iter().chain(items).collect::<Vec<_>>()));
    node.handle_input(when, Input::Datagram { from: address(77), bytes: &datagram });
    assert_eq!(node.counters().dropped.malformed, 0);
    events(drain(node))
}

fn events(outputs: Vec<Output>) -> Vec<Event> {
    split(outputs).0
}

/// Events, and datagrams with where they go.
fn split(outputs: Vec<Output>) -> (Vec<Event>, Vec<(SocketAddr, Vec<u8>)>) {
    let (told, sent): (Vec<_>, Vec<_>) = outputs.into_iter().partition(|output| matches!(output, Output::Event(_)));
    let event = |output| if let Output::Event(event) = output { Some(event) } else { None };
    (told.into_iter().filter_map(event).collect(), datagrams(sent))
}

fn gone(events: &[Event]) -> Vec<NodeId> {
    let gone = |event: &Event| {
        let Event::Member { change, member, .. } = event else { return None };
        matches!(change, MemberChange::Failed | MemberChange::Removed).then_some(member.id)
    };
    events.iter().filter_map(gone).collect()
}

/// Runs the timers of a node from one time to another, and of its peer, which hears it and is heard; gives the events of the node.
fn run_with(node: &mut Node, peer: &mut Node, (from, until): (u64, u64)) -> Vec<Event> {
    let (mut told, ends) = (Vec::new(), now(until).instant);
    loop {
        let due = |node: &Node| node.poll_timeout().expect("a node with peers has timers");
        let first = due(node).min(due(peer)).max(now(from).instant);
        if first > ends {
            return told;
        }
        let when = Now { instant: first, wall: now(first.as_micros() / 1_000).wall };
        node.handle_input(when, Input::Timeout);
        let mut waiting: VecDeque<_> = drain(node).into_iter().map(|output| (true, output)).collect();
        peer.handle_input(when, Input::Timeout);
        waiting.extend(drain(peer).into_iter().map(|output| (false, output)));
        while let Some((is_of_node, output)) = waiting.pop_front() {
            let (happened, sent) = split(vec![output]);
            told.extend(happened.into_iter().filter(|_| is_of_node));
            let (receiver, place, from) = if is_of_node { (&mut *peer, 2, 1) } else { (&mut *node, 1, 2) };
            for (_, bytes) in sent.into_iter().filter(|(to, _)| *to == address(place)) {
                receiver.handle_input(when, Input::Datagram { from: address(from), bytes: &bytes });
                waiting.extend(drain(receiver).into_iter().map(|output| (!is_of_node, output)));
            }
        }
    }
}

/// Runs the timers of a node that nobody answers; gives its events and where it sent datagrams.
fn run_alone(node: &mut Node, (from, until): (u64, u64)) -> (Vec<Event>, BTreeSet<SocketAddr>) {
    let (mut told, mut sent) = (Vec::new(), BTreeSet::new());
    while let Some(due) = node.poll_timeout().filter(|due| *due <= now(until).instant) {
        let due = due.max(now(from).instant);
        node.handle_input(Now { instant: due, wall: now(due.as_micros() / 1_000).wall }, Input::Timeout);
        let (happened, out) = split(drain(node));
        sent.extend(out.into_iter().map(|(to, _)| to));
        told.extend(happened);
    }
    (told, sent)
}

#[test]
fn no_claim_of_others_has_a_member_gone_that_answers() {
    let hour = Some(3_600_000);
    let dead = |alive: &[u8]| vec![in_state(alive, SUSPECT, None), in_state(alive, DEAD, hour)];
    let removed = |alive: &[u8]| vec![in_state(alive, REMOVED, Some(4_000))];
    let later = |alive: &[u8]| {
        let mut later = alive.to_vec();
        later[1 + 8 + 1] += 1;
        vec![in_state(&later, DEAD, hour)]
    };
    for (claims, what) in [(&dead as &dyn Fn(&[u8]) -> _, "dead"), (&removed, "removed"), (&later, "dead later")] {
        let (mut node, mut peer) = acquainted(Config::default);
        let alive = told_claim(&mut node, &mut peer);
        let mut told = give(&mut node, &claims(&alive), now(1_000));
        told.extend(run_with(&mut node, &mut peer, (1_000, 20_000)));
        assert_eq!(gone(&told), [], "{what}");
        assert_eq!(node.member(PEER).map(|member| member.state), Some(State::Alive), "{what}");
    }
}

#[test]
fn a_death_is_believed_once_its_suspicion_had_its_time_and_one_that_is_told_too_soon_once_a_probe_failed() {
    let (mut node, mut peer) = acquainted(Config::default);
    let alive = told_claim(&mut node, &mut peer);
    let dead = [in_state(&alive, DEAD, Some(86_400_000))];
    give(&mut node, &[in_state(&alive, SUSPECT, None)], now(100));
    run_alone(&mut node, (100, 1_250));
    assert_eq!(gone(&give(&mut node, &dead, now(1_250))), [PEER], "it was suspected for half of the least time");

    let (mut node, mut peer) = acquainted(Config::default);
    let alive = told_claim(&mut node, &mut peer);
    give(&mut node, &[in_state(&alive, SUSPECT, None)], now(100));
    let dead = [in_state(&alive, DEAD, Some(86_400_000))];
    assert_eq!(gone(&give(&mut node, &dead, now(200))), []);
    assert_eq!(gone(&run_alone(&mut node, (200, 8_000)).0), [PEER]);
}

#[test]
fn of_many_deaths_that_are_told_at_once_none_is_believed_before_a_probe_failed() {
    let (mut node, mut peer) = acquainted(Config::default);
    let alive = told_claim(&mut node, &mut peer);
    let made_up = |number: u8| {
        let mut claim = alive.clone();
        claim[1..9].copy_from_slice(&(1_000 + u64::from(number)).to_le_bytes());
        let place = claim.windows(4).position(|window| window == [10, 0, 0, 2]).expect("its address");
        claim[place + 3] = number;
        claim
    };
    for number in 100..200 {
        give(&mut node, &[made_up(number)], now(20));
    }
    let told =
        (100..200).flat_map(|number| give(&mut node, &[in_state(&made_up(number), DEAD, Some(3_600_000))], now(30)));
    assert_eq!(gone(&told.collect::<Vec<_>>()), []);
    let (mut probed, mut believed) = (BTreeSet::new(), BTreeSet::new());
    for step in 1..=2_000 {
        let (told, sent) = run_alone(&mut node, (30, 30 + step * 50));
        for id in gone(&told) {
            let number = u8::try_from(id.0.saturating_sub(1_000)).unwrap_or(2).max(2);
            assert!(probed.contains(&address(number)), "{id} was not probed");
            believed.insert(id);
        }
        probed.extend(sent);
    }
    assert_eq!(believed.len(), 101, "all have gone, and the peer with them");
}

#[test]
fn a_certificate_that_ends_before_the_one_that_it_supersedes_does_not_count() {
    let (mut node, mut peer) = acquainted(Config::default);
    let alive = told_claim(&mut node, &mut peer);
    let (told, _) = run_alone(&mut node, (10, 40_000));
    assert_eq!(gone(&told), [PEER]);
    let refused = node.counters().dropped.refused;
    let told = give(&mut node, &[in_state(&alive, REMOVED, Some(42_000))], now(40_000));
    assert_eq!((gone(&told), node.counters().dropped.refused), (vec![], refused + 1));
    let told = give(&mut node, &[in_state(&alive, REMOVED, Some(90_000_000))], now(40_000));
    assert_eq!(gone(&told), [PEER], "an operator strikes it");
}
