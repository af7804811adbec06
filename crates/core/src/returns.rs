//! Answers on their way back to who asked, where nodes do not know each other: from neighbour to neighbour, each to
//! whoever brought it the question first.
//!
//! Every step is confirmed. An answer that is not goes to the same neighbour once more, then to others. One that comes round
//! in a circle, or back because it could not go on, goes to a neighbour that has not taken it yet: a search in depth for
//! somebody from whom there is a way. It goes to neighbours only: no query makes nodes write to an address that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::identity::NodeId;
use crate::io::QueryId;
use crate::limits::Limits;
use crate::rng::Rng;
use crate::time::{Instant, Wall};

/// How many nodes an answer goes through at most.
pub(crate) const HOPS_MAX: u8 = 250;
/// An answer that was not confirmed is sent again after this long, later on after longer; a large one, on a stream, after
/// [`LARGE_RETRY`].
const RETRY: Duration = Duration::from_millis(500);
const LARGE_RETRY: Duration = Duration::from_secs(2);
/// How often in all, which takes 18 s, and how often to one neighbour before the next.
const TRIES_MAX: u32 = 12;
const TRIES_EACH: u32 = 2;
/// Questions whose way is remembered; the one that ends first gives way.
const WAYS_MAX: usize = 1_024;
/// Answers that wait to be confirmed, and the bytes of all of them; what comes beyond is not confirmed and comes again.
const WAITING_MAX: usize = 4_096;
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Answers that are remembered so that none goes on twice; further ones may.
const KNOWN_MAX: usize = 16_384;

/// An answer, and whose it is.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Return {
    pub(crate) query: QueryId,
    pub(crate) by: NodeId,
    /// What that one is called.
    pub(crate) name: String,
    /// How many nodes it went through.
    pub(crate) hops: u8,
    pub(crate) payload: Vec<u8>,
}

impl Return {
    fn bytes(&self) -> usize {
        self.name.len() + self.payload.len()
    }
}

/// The way that a question came.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
struct Way {
    from: Option<NodeId>,
    until: Wall,
}

/// An answer that came through here.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Carried {
    number: u32,
    /// How many nodes it had gone through when it came first, and who handed it over.
    hops: u8,
    from: Option<NodeId>,
    /// Who has taken it over.
    passed: Vec<NodeId>,
    /// To whom it was given since, the last one now.
    given: Vec<NodeId>,
    /// It came back while it was waiting.
    is_back: bool,
    tries: u32,
    /// When it is sent next.
    due: Option<Instant>,
    /// Until somebody has confirmed it.
    waiting: Option<Return>,
}

/// Ways of questions, and answers that go back on them.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Returns {
    ways: BTreeMap<QueryId, Way>,
    carried: BTreeMap<(QueryId, NodeId), Carried>,
    numbers: BTreeMap<u32, (QueryId, NodeId)>,
    /// When which is to be sent, the first time or again.
    due: BTreeSet<(Instant, u32)>,
    bytes: usize,
    last: u32,
}

/// What is to be sent now: to whom, under which number, and what.
pub(crate) type Sending = (NodeId, u32, Return);

impl Returns {
    pub(crate) const fn new() -> Self {
        Self {
            ways: BTreeMap::new(),
            carried: BTreeMap::new(),
            numbers: BTreeMap::new(),
            due: BTreeSet::new(),
            bytes: 0,
            last: 0,
        }
    }

    /// A question came from a neighbour; answers are wanted until then.
    pub(crate) fn note_question(&mut self, query: QueryId, from: Option<NodeId>, until: Wall) {
        if self.ways.len() >= WAYS_MAX
            && let Some(first) = self.ways.iter().min_by_key(|(_, way)| way.until).map(|(query, _)| *query)
        {
            self.drop_query(first);
        }
        self.ways.entry(query).or_insert(Way { from, until });
    }

    /// Whether answers to that question are wanted.
    pub(crate) fn knows(&self, query: QueryId) -> bool {
        self.ways.contains_key(&query)
    }

    /// Whether an answer has come through here, or from here.
    pub(crate) fn carries(&self, query: QueryId, by: NodeId) -> bool {
        self.carried.contains_key(&(query, by))
    }

    /// Takes an answer of this node, or one that a neighbour hands over, to be sent at `due`. Returns whether it is in good
    /// hands: `false` if nobody wants it or too many wait.
    ///
    /// One that comes with more hops than the first time, or from somebody to whom it was given, went round in a circle: it goes on
    /// to somebody else.
    pub(crate) fn take(&mut self, answer: Return, from: Option<NodeId>, due: Instant) -> bool {
        let (key, hops) = ((answer.query, answer.by), answer.hops);
        if !self.knows(answer.query) {
            return false;
        }
        if let Some(carried) = self.carried.get_mut(&key) {
            let is_back = hops > carried.hops || from.is_some_and(|from| carried.had_it(from));
            if carried.waiting.is_some() || !is_back {
                carried.is_back |= is_back;
                return true;
            }
        }
        let known = self.carried.get(&key);
        if self.due.len() >= WAITING_MAX || self.bytes + answer.bytes() > WAITING_BYTES_MAX {
            return false;
        }
        let number = known.map_or_else(|| self.last.wrapping_add(1), |carried| carried.number);
        if known.is_none() {
            self.last = number;
            self.numbers.insert(number, key);
        }
        self.bytes += answer.bytes();
        let fresh = Carried {
            number,
            hops,
            from,
            passed: Vec::new(),
            given: Vec::new(),
            is_back: false,
            tries: 0,
            due: None,
            waiting: None,
        };
        let carried = self.carried.entry(key).or_insert(fresh);
        (carried.tries, carried.due, carried.waiting) = (0, Some(due), Some(answer));
        self.due.insert((due, number));
        true
    }

    /// What is due by now, each with the one of `neighbours` that gets it.
    pub(crate) fn take_due(&mut self, now: Instant, neighbours: &[NodeId], rng: &mut Rng) -> Vec<Sending> {
        let mut sendings = Vec::new();
        while let Some((due, number)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, number));
            let Some(key) = self.numbers.get(&number).copied() else { continue };
            // Who asked may have become a neighbour since.
            let asker = Some(key.0.origin).filter(|origin| neighbours.contains(origin));
            let way = asker.or_else(|| self.ways.get(&key.0).and_then(|way| way.from));
            let carried = self.carried.get_mut(&key).expect("every number is one of an answer");
            let to = carried.next(way, neighbours, rng).filter(|_| carried.tries < TRIES_MAX);
            let (Some(to), Some(answer)) = (to, carried.waiting.clone()) else {
                carried.due = None;
                self.finish(number);
                continue;
            };
            carried.tries += 1;
            let is_large = answer.bytes() > crate::queries::ANSWER_DATAGRAM_BYTES;
            let again = now + if is_large { LARGE_RETRY } else { RETRY } * (carried.tries / 2).max(1);
            carried.due = Some(again);
            self.due.insert((again, number));
            sendings.push((to, number, answer));
        }
        sendings
    }

    /// A neighbour has taken an answer over.
    pub(crate) fn confirmed(&mut self, number: u32, by: NodeId) -> bool {
        let carried = self.numbers.get(&number).and_then(|key| self.carried.get_mut(key));
        let Some(carried) = carried.filter(|carried| carried.had_it(by)) else { return false };
        if carried.given.contains(&by) {
            carried.given.clear();
            if !carried.passed.contains(&by) {
                carried.passed.push(by);
            }
            // If it came back meanwhile it goes to the next one when it is due.
            if std::mem::take(&mut carried.is_back) {
                carried.tries = carried.tries.next_multiple_of(TRIES_EACH);
            } else {
                self.finish(number);
            }
        }
        true
    }

    /// An answer is not sent any more.
    fn finish(&mut self, number: u32) {
        let Some(key) = self.numbers.get(&number).copied() else { return };
        let carried = self.carried.get_mut(&key).expect("every number is one of an answer");
        if let Some(answer) = carried.waiting.take() {
            self.bytes -= answer.bytes();
        }
        if let Some(due) = carried.due.take() {
            self.due.remove(&(due, number));
        }
        if self.carried.len() > KNOWN_MAX {
            self.numbers.remove(&number);
            self.carried.remove(&key);
        }
    }

    /// Forgets the questions whose time is over.
    pub(crate) fn fade(&mut self, now: Wall) {
        let over: Vec<QueryId> = self.ways.iter().filter(|(_, way)| way.until < now).map(|(query, _)| *query).collect();
        for query in over {
            self.drop_query(query);
        }
    }

    fn drop_query(&mut self, query: QueryId) {
        self.ways.remove(&query);
        let of_it = (query, NodeId(0))..=(query, NodeId(u64::MAX));
        let numbers: Vec<u32> = self.carried.range(of_it).map(|(_, carried)| carried.number).collect();
        for number in numbers {
            self.finish(number);
            if let Some(key) = self.numbers.remove(&number) {
                self.carried.remove(&key);
            }
        }
    }

    /// When the next question ends.
    pub(crate) fn next_end(&self) -> Option<Wall> {
        self.ways.values().map(|way| way.until).min()
    }

    /// When the next answer is to be sent.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        // Numbers are of answers that are carried.
        let Self { ways, carried, numbers: _, due, bytes, last: _ } = self;
        to.entries("ways_of_questions", ways.len(), WAYS_MAX);
        to.entries("answers_carried", due.len(), WAITING_MAX);
        to.bytes("answers_carried", *bytes, WAITING_BYTES_MAX);
        // Those that wait are remembered, however many others are.
        to.entries("answers_remembered", carried.len(), KNOWN_MAX + WAITING_MAX);
    }
}

impl Carried {
    /// Who gets it now: whoever brought the question, then others, at random, then back to whom it came from.
    fn next(&mut self, way: Option<NodeId>, neighbours: &[NodeId], rng: &mut Rng) -> Option<NodeId> {
        if let Some(last) = self.given.last().copied()
            && !self.tries.is_multiple_of(TRIES_EACH)
            && neighbours.contains(&last)
        {
            return Some(last);
        }
        let mut others = neighbours.to_vec();
        rng.shuffle(&mut others);
        let untried = |id: &NodeId| neighbours.contains(id) && !self.had_it(*id);
        let onward = |id: &NodeId| untried(id) && Some(*id) != self.from;
        let first =
            way.filter(onward).or_else(|| others.iter().copied().find(onward)).or_else(|| self.from.filter(untried));
        // All had it: one of them may have got over what held it up.
        let to = first.or_else(|| others.first().copied())?;
        self.given.retain(|id| *id != to);
        self.given.push(to);
        Some(to)
    }

    /// Whether it was given to that one already.
    fn had_it(&self, id: NodeId) -> bool {
        self.given.contains(&id) || self.passed.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Sequence;

    const QUERY: QueryId = QueryId { origin: NodeId(1), sequence: Sequence(1) };
    const UNTIL: Wall = Wall::from_micros(10_000_000);
    const NEIGHBOURS: [NodeId; 3] = [NodeId(2), NodeId(3), NodeId(4)];

    fn answer(by: u64, hops: u8) -> Return {
        Return { query: QUERY, by: NodeId(by), name: "n".to_owned(), hops, payload: vec![7] }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    fn returns() -> Returns {
        let mut returns = Returns::new();
        returns.note_question(QUERY, Some(NodeId(2)), UNTIL);
        returns
    }

    /// To whom an answer goes at each retry, until it is given up.
    fn tries(returns: &mut Returns, from: u64, neighbours: &[NodeId]) -> Vec<u64> {
        let mut rng = Rng::new(1);
        let due = (0..40).map(|retry| at(from + retry * 500));
        due.flat_map(|now| returns.take_due(now, neighbours, &mut rng)).map(|(to, ..)| to.0).collect()
    }

    #[test]
    fn an_answer_goes_to_whoever_brought_the_question_then_to_others_and_is_given_up() {
        let mut returns = returns();
        assert!(returns.take(answer(9, 3), Some(NodeId(4)), at(0)));
        let tries = tries(&mut returns, 0, &NEIGHBOURS);
        assert_eq!((&tries[..6], tries.len()), (&[2, 2, 3, 3, 4, 4][..], 12), "at last to whom it came from");
        assert_eq!((returns.due.len(), returns.bytes), (0, 0), "it is given up");
    }

    #[test]
    fn who_is_gone_is_not_tried_and_with_one_neighbour_that_one_is_tried_again() {
        let mut returns = returns();
        returns.take(answer(9, 0), None, at(0));
        assert_eq!(tries(&mut returns, 0, &NEIGHBOURS[1..2]), [3; 12]);
    }

    #[test]
    fn what_is_confirmed_is_not_sent_again_and_what_comes_twice_goes_on_once() {
        let mut returns = returns();
        let mut rng = Rng::new(1);
        returns.take(answer(9, 3), Some(NodeId(4)), at(0));
        let (to, number, _) = returns.take_due(at(0), &NEIGHBOURS, &mut rng).pop().unwrap();
        assert!(!returns.confirmed(number, NodeId(3)), "somebody else cannot confirm it");
        assert!(returns.confirmed(number, to));
        assert!(returns.take(answer(9, 3), Some(NodeId(4)), at(600)), "it is in good hands");
        assert_eq!((returns.next_due(), returns.bytes), (None, 0));
    }

    #[test]
    fn what_comes_round_in_a_circle_goes_on_to_somebody_else() {
        let mut returns = returns();
        let mut rng = Rng::new(1);
        returns.take(answer(9, 3), Some(NodeId(4)), at(0));
        let (_, number, _) = returns.take_due(at(0), &NEIGHBOURS, &mut rng).pop().unwrap();
        returns.confirmed(number, NodeId(2));
        assert!(returns.take(answer(9, 6), Some(NodeId(7)), at(600)));
        assert_eq!(tries(&mut returns, 600, &NEIGHBOURS)[0], 3);
    }

    #[test]
    fn what_comes_back_while_it_waits_goes_on_to_somebody_else_once_it_is_confirmed() {
        let mut returns = returns();
        let mut rng = Rng::new(1);
        returns.take(answer(9, 3), Some(NodeId(4)), at(0));
        let (to, number, _) = returns.take_due(at(0), &NEIGHBOURS, &mut rng).pop().unwrap();
        assert!(returns.take(answer(9, 2), Some(to), at(100)), "with fewer hops than here, by a way of its own");
        assert!(returns.confirmed(number, to));
        assert_eq!(tries(&mut returns, 500, &NEIGHBOURS)[0], 3);
    }

    #[test]
    fn what_waits_is_bounded_and_ends_with_the_question() {
        let mut returns = returns();
        let other = QueryId { sequence: Sequence(2), ..QUERY };
        assert!(!returns.take(Return { query: other, ..answer(9, 0) }, None, at(0)), "nobody asked that");
        let taken = (0..10_000).filter(|by| returns.take(answer(*by, 0), None, at(0))).count();
        assert_eq!(taken, WAITING_MAX);
        let large = Return { payload: vec![0; 64 << 10], ..answer(1, 0) };
        let mut returns = self::returns();
        let taken = (0..1_000).filter(|by| returns.take(Return { by: NodeId(*by), ..large.clone() }, None, at(0)));
        assert_eq!(taken.count(), WAITING_BYTES_MAX / large.bytes());
        returns.fade(Wall::from_micros(10_000_001));
        assert_eq!(returns.next_end(), None);
        assert!(returns.carried.is_empty() && returns.numbers.is_empty() && returns.due.is_empty());
        assert_eq!(returns.bytes, 0);
    }

    #[test]
    fn answers_that_went_on_are_remembered_up_to_a_bound_beside_those_that_wait() {
        let (mut returns, mut rng) = (returns(), Rng::new(1));
        let held = |returns: &Returns| {
            let mut limits = Limits::new();
            returns.limits(&mut limits);
            *limits.iter().find(|limit| limit.what == "answers_remembered").unwrap()
        };
        for by in 0..2 * KNOWN_MAX as u64 {
            assert!(returns.take(answer(by, 0), None, at(0)));
            for (to, number, _) in returns.take_due(at(0), &NEIGHBOURS, &mut rng) {
                returns.confirmed(number, to);
            }
        }
        assert_eq!(held(&returns).held, KNOWN_MAX as u64);
        let waiting = (0..10_000).filter(|by| returns.take(answer(1_000_000 + by, 0), None, at(0))).count();
        let limit = held(&returns);
        assert_eq!((waiting, limit.held), (WAITING_MAX, limit.most));
    }

    #[test]
    fn a_flood_of_questions_is_remembered_up_to_a_bound() {
        let mut returns = Returns::new();
        for sequence in 0..10_000 {
            let query = QueryId { sequence: Sequence(sequence), ..QUERY };
            returns.note_question(query, None, Wall::from_micros(sequence));
        }
        assert_eq!(returns.ways.len(), WAYS_MAX);
    }
}
