//! Each part is filled beyond its cap by its own means: the cap is reached, and at no step passed. What a whole node has to be asked
//! for is in `tests/caps.rs`.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Limit, Limits};
use crate::apart::Apart;
use crate::clock::Clock;
use crate::config::Config;
use crate::contacts::Contacts;
use crate::detector::{Detector, Purpose};
use crate::effects::Effects;
use crate::exchange::{Answering, Exchanges};
use crate::frame::{SketchHead, Space};
use crate::identity::{NodeId, Sequence};
use crate::io::{QueryId, TraceStep};
use crate::messages::Messages;
use crate::queries::{Answer, Queries};
use crate::replica::Replica;
use crate::seldom::Vacant;
use crate::sketch::Symbol;
use crate::time::{Instant, Now, Seconds, Wall};
use crate::tree::Trees;
use crate::update::{MessageBody, Update, UpdateId, UpdateRef, message_bytes};

const WALL: Wall = Wall::from_micros(1_800_000_000_000_000);
const NOW: Now = Now { instant: Instant::from_micros(1), wall: WALL };

fn address(number: u64) -> SocketAddr {
    let [.., a, b] = number.to_be_bytes();
    SocketAddr::from(([10, 0, a, b], 4747))
}

fn level<T>(part: &T, what: &str, write: &dyn Fn(&T, &mut Limits)) -> Limit {
    let mut limits = Limits::new();
    write(part, &mut limits);
    *limits.iter().find(|limit| limit.what == what).unwrap_or_else(|| panic!("{what} is no limit"))
}

/// Takes steps until half as many again were taken as there is room for.
pub(crate) fn fill<T>(
    mut part: T,
    what: &str,
    write: &dyn Fn(&T, &mut Limits),
    mut step: impl FnMut(&mut T, u64),
) -> T {
    let most = level(&part, what, write).most;
    let mut highest = 0;
    for number in 1..=most + most / 2 + 2 {
        step(&mut part, number);
        let held = level(&part, what, write).held;
        assert!(held <= most, "{what}: {held} of {most} after {number} steps");
        highest = highest.max(held);
    }
    assert_eq!(highest, most, "{what} is never full");
    part
}

#[test]
fn contacts_and_former_members() {
    let contacts = Contacts::new(Vec::new(), Vec::new());
    let contacts = fill(contacts, "contacts", &Contacts::limits, |it, n| it.add(address(n), None));
    fill(contacts, "former_members", &Contacts::limits, |it, n| it.note_former(address(n)));
}

#[test]
fn members_that_are_gone_and_reunions() {
    let apart = || Apart::new([], None, Seconds(1), Duration::from_secs(100));
    let write = |it: &Apart, to: &mut Limits| it.limits(10, to);
    let left = fill(apart(), "members_gone", &write, |it, n| {
        it.note_gone(NodeId(n), Seconds(u32::try_from(n).unwrap()), 10);
    });
    assert_eq!(left.since(NodeId(1)), None, "the one gone longest is forgotten");
    fill(apart(), "reunions", &write, |it, n| it.note_reunited(NodeId(n), Seconds(1)));
}

#[test]
fn probes_pings_for_others_and_who_acked_last() {
    let (config, mut fx) = (Config::default(), Effects::new(NOW, 1));
    let mut numbers = Vec::new();
    let full = fill(Detector::new(0), "probes", &Detector::limits, |it, n| {
        let number = it.start(NodeId(n), address(n), Purpose::Turn, config.probe_timeout, &mut fx);
        numbers.extend(number.map(|number| (number, NodeId(n))));
    });
    let mut numbers = numbers.into_iter();
    fill(full, "members_acked_last", &Detector::limits, |it, _| {
        let (number, target) = numbers.next().expect("more probes than are remembered");
        assert!(it.on_ack(number, target, &mut fx).is_some());
    });
    fill(Detector::new(0), "pings_for_others", &Detector::limits, |it, n| {
        it.relay((NodeId(1), address(1), 1), (NodeId(n), address(n)), &config, &mut fx);
    });
}

#[test]
fn trees_with_what_they_announce_and_what_was_announced_to_them() {
    let planted = fill(Trees::default(), "trees", &Trees::limits, |it, n| {
        it.plant((UpdateId(n), NodeId(n), 1), None, &[], Instant::from_micros(n));
    });
    fill(planted, "messages_to_announce", &Trees::limits, |it, n| {
        it.plant((UpdateId(n), NodeId(1), 1), None, &[], NOW.instant);
    });
    fill(Trees::default(), "messages_announced", &Trees::limits, |it, n| {
        it.hear(UpdateId(n), 1, NodeId(1), None, NOW.instant);
    });
}

#[test]
fn updates_that_are_refused_show_as_degraded_beyond_the_cap() {
    let write = |it: &Replica, to: &mut Limits| it.limits("refused", to);
    let replica = fill(Replica::new(WALL), "refused", &write, |it, n| {
        it.refuse(UpdateId(n), WALL.seconds().plus(Duration::from_mins(1)));
    });
    assert!(replica.is_degraded());
}

#[test]
fn comparisons_either_way() {
    fill(Exchanges::default(), "exchanges_asked", &Exchanges::limits, |it, n| {
        it.ask(NodeId(n), Space::Data, n, (0, Seconds(1), 1), false, Instant::from_micros(n));
    });
    fill(Exchanges::default(), "exchanges_answered", &Exchanges::limits, |it, n| {
        let (space, as_of) = (Space::Data, Seconds(1));
        let head = SketchHead { space, exchange: n, as_of, count: 1, offset: 0, one_way: false };
        let symbols = [Symbol { ids: 1, checks: 1 }].into_iter();
        let answering: Answering = it.take_in(NodeId(n), &head, symbols, Instant::from_micros(n)).unwrap();
        it.keep(NodeId(n), space, answering);
    });
}

#[test]
fn clocks_of_peers() {
    fill(Clock::default(), "clocks_of_peers", &Clock::limits, |it, n| it.note_peer(NodeId(n), 0, WALL));
}

#[test]
fn questions_that_are_open_and_answers_that_wait() {
    let query = |n: u64| QueryId { origin: NodeId(1), sequence: Sequence(n) };
    let open = fill(Queries::VACANT, "questions_open", &Queries::limits, |it, n| {
        it.open(query(n), WALL + Duration::from_secs(n));
    });
    fill(open, "answers", &Queries::limits, |it, n| {
        it.send(query(n), Answer { to: address(1), payload: Vec::new(), tries: 0 });
    });
}

#[test]
fn messages_that_are_traced_and_topics_that_have_none_any_more() {
    let config = Config::default();
    let write = |it: &Messages, to: &mut Limits| it.limits(&config, to);
    let step = TraceStep { node: NodeId(1), hop: 0, from: None, at: WALL, payloads: 1 };
    let message = |origin: u64, count: u32, at: Wall| {
        let forget = at.seconds().plus(config.history_age);
        let sequence = Sequence::new(1, count);
        let bytes = message_bytes(NodeId(origin), sequence, "t", forget, &MessageBody::test(b""));
        std::sync::Arc::new(Update::new(&UpdateRef::read(&bytes).unwrap(), &[0; 16]))
    };
    fill(Messages::new(WALL), "traces", &write, |it, n| {
        it.insert(message(n, 1, WALL), step, &config);
    });
    let mut now = WALL;
    let mut messages = Messages::new(now);
    let cap = level(&messages, "silent_origins", &write).most;
    // A thousand at a time come, and run out together.
    for origins in (1..=cap + 4_000).collect::<Vec<u64>>().chunks(1_000) {
        for origin in origins {
            messages.insert(message(*origin, 1, now), step, &config);
        }
        now = now + config.history_age + Duration::from_mins(1);
        let slots = messages.replica_mut().advance(now);
        messages.forget(&slots, now);
        let silent = level(&messages, "silent_origins", &write).held;
        assert!(silent <= cap, "{silent} of {cap}");
    }
    assert_eq!(level(&messages, "silent_origins", &write).held, cap);
}
