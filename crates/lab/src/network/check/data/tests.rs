//! Each rule is shown to catch a fault that is planted.

use std::time::Duration;

use rumormill_core::Seconds;
use rumormill_core::data::{ChangeKind, Edit, Holds, Kind, Position, Revision, Value, Written};

use super::history::ONCE;
use super::*;

/// A story of a few nodes, told step by step.
#[derive(Default)]
struct Story {
    data: Data,
    /// What each node shows.
    shown: BTreeMap<(usize, String), Entry>,
    tickets: u64,
    second: u64,
}

fn entry(key: &str, value: Value) -> Entry {
    Entry { key: key.to_owned(), value, revision: Revision(0), expires: None, conflict: Vec::new() }
}

fn register(value: &str) -> Value {
    Value::Register(value.into())
}

fn counter(additions: &[usize]) -> Value {
    Value::Counter(additions.iter().map(|&n| i128::from(amount(n))).sum())
}

fn set(elements: &[&str]) -> Value {
    Value::Set(elements.iter().map(|element| element.as_bytes().to_vec()).collect())
}

fn put(value: &str) -> Edit {
    Edit::Put { value: value.into(), ttl: None }
}

fn insert(element: &str) -> Edit {
    Edit::Insert { element: element.into() }
}

fn add(n: usize) -> Edit {
    Edit::Add { amount: amount(n) }
}

impl Story {
    fn of(nodes: usize) -> Self {
        let mut story = Self::default();
        for node in 0..nodes {
            story.data.started(node, NodeId(node as u64 + 1), story.now(), Vec::new()).unwrap();
        }
        story
    }

    fn now(&self) -> Wall {
        Wall::from_micros(self.second * 1_000_000)
    }

    fn ask(&mut self, node: usize, key: &str, edit: Edit) -> Ticket {
        self.tickets += 1;
        let shown = self.shown.get(&(node, key.to_owned())).cloned();
        let (ticket, wall) = (Ticket(self.tickets), self.now());
        self.data.asked(node, ticket, wall, &[Write::new(key, edit)], &[shown]).unwrap();
        ticket
    }

    fn answer(&mut self, ticket: Ticket, result: Result<(), Refusal>) {
        let written = Written { holds: None, durable: true, replicas: 0, in_memory: 0, wanted: 0 };
        let result = result.map(|()| Reply::Written(Box::new(written)));
        self.data.answered(ticket, &result, self.now());
    }

    /// A write that is acknowledged, of which the writer then shows `after`.
    fn write(&mut self, node: usize, key: &str, edit: Edit, after: Option<Value>) {
        let ticket = self.ask(node, key, edit);
        self.answer(ticket, Ok(()));
        self.show(node, key, after, Some(node)).unwrap();
    }

    fn show(&mut self, node: usize, key: &str, value: Option<Value>, author: Option<usize>) -> Verdict {
        let entry = value.map(|value| entry(key, value));
        match &entry {
            Some(entry) => self.shown.insert((node, key.to_owned()), entry.clone()),
            None => self.shown.remove(&(node, key.to_owned())),
        };
        self.data.changed(
            node,
            &Change {
                change: ChangeKind::Put,
                key: key.to_owned(),
                kind: Kind::Register,
                holds: entry.map_or(Holds::Nothing, Holds::Entry),
                position: "0000000000000001-1".parse::<Position>().unwrap(),
                author: author.map(|node| NodeId(node as u64 + 1)),
            },
        )
    }

    /// Whether all may hold this of a key in the end.
    fn ends_with(&self, key: &str, value: Option<Value>) -> Verdict {
        let entries = value.map(|value| (key.to_owned(), entry(key, value)));
        self.data.judge(&entries.into_iter().collect(), Writers::Everybody, self.now())
    }
}

fn rule(verdict: Verdict) -> &'static str {
    verdict.unwrap_err().rule
}

#[test]
fn a_value_that_was_lost_and_one_that_returned_are_caught() {
    let mut story = Story::of(2);
    story.write(0, "k", put("old"), Some(register("old")));
    story.show(1, "k", Some(register("old")), Some(0)).unwrap();
    story.write(1, "k", put("new"), Some(register("new")));
    story.ends_with("k", Some(register("new"))).unwrap();
    assert_eq!(rule(story.ends_with("k", Some(register("old")))), LOST);
    assert_eq!(rule(story.ends_with("k", None)), LOST);
    assert_eq!(rule(story.ends_with("k", Some(register("other")))), NOWHERE);
}

#[test]
fn of_two_values_written_at_once_either_may_win_but_not_one_that_is_older_by_every_clock() {
    let mut story = Story::of(2);
    story.write(0, "k", put("a"), Some(register("a")));
    story.write(1, "k", put("b"), Some(register("b")));
    story.ends_with("k", Some(register("a"))).unwrap();
    story.ends_with("k", Some(register("b"))).unwrap();
    story.second = 1;
    story.write(1, "k", put("c"), Some(register("c")));
    assert_eq!(rule(story.ends_with("k", Some(register("a")))), LOST);
    story.ends_with("k", Some(register("c"))).unwrap();
}

#[test]
fn a_value_may_run_out_only_when_its_time_has_come() {
    let mut story = Story::of(1);
    let ttl = Some(Duration::from_secs(5));
    story.write(0, "k", Edit::Put { value: b"a".to_vec(), ttl }, Some(register("a")));
    assert_eq!(rule(story.ends_with("k", None)), LOST);
    story.second = 5;
    story.ends_with("k", None).unwrap();
}

#[test]
fn a_write_that_was_refused_must_leave_nothing_and_one_without_an_answer_may_leave_either() {
    let mut story = Story::of(1);
    let ticket = story.ask(0, "k", put("a"));
    story.ends_with("k", Some(register("a"))).unwrap();
    story.ends_with("k", None).unwrap();
    story.answer(ticket, Err(Refusal::Late));
    story.ends_with("k", None).unwrap();
    assert_eq!(rule(story.show(0, "k", Some(register("a")), Some(0))), NOWHERE);
}

#[test]
fn a_deletion_takes_away_what_it_had_seen_and_nothing_else() {
    let mut story = Story::of(2);
    story.write(0, "c", add(0), Some(counter(&[0])));
    story.show(1, "c", Some(counter(&[0])), Some(0)).unwrap();
    story.write(0, "c", add(1), Some(counter(&[0, 1])));
    story.write(1, "c", Edit::Delete, None);
    story.ends_with("c", Some(counter(&[1]))).unwrap();
    assert_eq!(rule(story.ends_with("c", Some(counter(&[0, 1])))), RETURNED);
    assert_eq!(rule(story.ends_with("c", None)), LOST);
}

#[test]
fn what_came_in_while_a_deletion_was_under_way_may_be_gone_or_not() {
    let mut story = Story::of(2);
    story.write(0, "c", add(0), Some(counter(&[0])));
    story.write(1, "c", add(1), Some(counter(&[1])));
    let deletion = story.ask(1, "c", Edit::Delete);
    story.show(1, "c", Some(counter(&[0, 1])), Some(0)).unwrap();
    story.answer(deletion, Ok(()));
    story.ends_with("c", Some(counter(&[0]))).unwrap();
    story.ends_with("c", None).unwrap();
    assert_eq!(rule(story.ends_with("c", Some(counter(&[1])))), RETURNED);
}

#[test]
fn an_addition_that_was_lost_and_one_that_counts_twice_are_caught() {
    let mut story = Story::of(2);
    story.write(0, "c", add(0), Some(counter(&[0])));
    story.write(1, "c", add(1), Some(counter(&[1])));
    story.ends_with("c", Some(counter(&[0, 1]))).unwrap();
    assert_eq!(rule(story.ends_with("c", Some(counter(&[0])))), LOST);
    assert_eq!(rule(story.ends_with("c", Some(counter(&[0, 1, 1])))), ONCE);
}

#[test]
fn a_sum_of_amounts_that_name_nothing_is_that_of_what_was_acknowledged_with_or_without_what_is_open() {
    let mut story = Story::of(2);
    story.write(0, "c", Edit::Add { amount: 5 }, Some(Value::Counter(5)));
    story.write(0, "c", Edit::Add { amount: 5 }, Some(Value::Counter(10)));
    story.ask(1, "c", Edit::Add { amount: 7 });
    story.ends_with("c", Some(Value::Counter(10))).unwrap();
    story.ends_with("c", Some(Value::Counter(17))).unwrap();
    assert_eq!(rule(story.ends_with("c", Some(Value::Counter(12)))), ONCE);
}

#[test]
fn an_element_that_was_lost_and_one_that_returned_are_caught() {
    let mut story = Story::of(2);
    story.write(0, "s", insert("a"), Some(set(&["a"])));
    story.write(0, "s", insert("b"), Some(set(&["a", "b"])));
    story.show(1, "s", Some(set(&["a", "b"])), Some(0)).unwrap();
    story.write(1, "s", Edit::RemoveElement { element: b"a".to_vec() }, Some(set(&["b"])));
    story.ends_with("s", Some(set(&["b"]))).unwrap();
    assert_eq!(rule(story.ends_with("s", Some(set(&["a", "b"])))), RETURNED);
    assert_eq!(rule(story.ends_with("s", Some(set(&[])))), LOST);
}

#[test]
fn what_a_node_acknowledged_must_be_on_its_disk_when_it_starts_again() {
    let mut story = Story::of(2);
    story.write(0, "k", put("a"), Some(register("a")));
    story.write(1, "k2", put("b"), Some(register("b")));
    story.data.ended(0);
    let kept = vec![entry("k", register("a"))];
    story.data.started(0, NodeId(1), story.now(), kept).unwrap();
    story.data.ended(0);
    assert_eq!(rule(story.data.started(0, NodeId(1), story.now(), Vec::new())), LOST);
}

#[test]
fn nothing_is_asked_of_a_disk_that_was_lost_nor_of_writes_on_it() {
    let mut story = Story::of(2);
    story.write(0, "k", put("a"), Some(register("a")));
    story.data.ended(0);
    story.data.started(0, NodeId(9), story.now(), Vec::new()).unwrap();
    story.ends_with("k", None).unwrap();
}

#[test]
fn a_value_that_nobody_wrote_is_caught_where_it_is_shown() {
    let mut story = Story::of(1);
    assert_eq!(rule(story.show(0, "k", Some(register("a")), None)), NOWHERE);
}

#[test]
fn a_watcher_that_was_not_told_is_caught() {
    let mut story = Story::of(1);
    story.write(0, "k", put("a"), Some(register("a")));
    let mut listed = entry("k", register("a"));
    story.data.watched(0, std::slice::from_ref(&listed), story.now()).unwrap();
    assert_eq!(rule(story.data.watched(0, &[], story.now())), WATCH);
    listed.expires = Some(Seconds(7));
    assert_eq!(rule(story.data.watched(0, &[listed], story.now())), WATCH);
}

#[test]
fn replicas_that_differ_and_disks_that_lag_are_caught() {
    let update = vec![1_u8];
    same(&[(0, vec![update.clone()]), (1, vec![update.clone()])]).unwrap();
    assert_eq!(rule(same(&[(0, vec![update]), (1, Vec::new())])), SAME);
    saved(0, 0).unwrap();
    assert_eq!(rule(saved(0, 1)), SAVED);
}
