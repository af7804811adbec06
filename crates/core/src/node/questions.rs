//! Queries, traces and their answers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Node;
use super::commands::invalid;
use super::letters::Letter;
use crate::effects::Timer;
use crate::identity::{NodeId, Sequence, Tags, check_tags};
use crate::io::{Event, KEYS_QUERY, QueryId, Refusal, Reply, Ticket};
use crate::queries::{self, Answer, Asked, Collects, Question};
use crate::streams::Purpose;

/// How long a question is kept after nobody listens any more.
const AFTERLIFE: Duration = Duration::from_secs(20);
/// The longest time that answers are waited for.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_mins(10);

impl Node {
    /// Asks; the command is done once the question is on its way.
    pub(super) fn query(
        &mut self,
        ticket: Ticket,
        (name, payload): (String, Vec<u8>),
        filter: Tags,
        nearest: Option<usize>,
        timeout: Duration,
    ) -> Result<(), Refusal> {
        if !(1..=255).contains(&name.len()) || name.starts_with('>') && name != KEYS_QUERY {
            return Err(invalid("name", format!("{name:?}"), "1 to 255 bytes, the first not >"));
        }
        if payload.len() > queries::QUESTION_BYTES_MAX {
            let rule = format!("at most {} bytes", queries::QUESTION_BYTES_MAX);
            return Err(invalid("payload", format!("{} bytes", payload.len()), &rule));
        }
        if let Some(count) = nearest.filter(|count| !(1..=queries::NAMED_MAX).contains(count)) {
            return Err(invalid("nearest", count.to_string(), &format!("from 1 to {}", queries::NAMED_MAX)));
        }
        check_tags(&filter)?;
        let mut question = Question { filter, ..self.question(&name, payload, timeout)? };
        self.done(ticket, Ok(Reply::Accepted));
        if let Some(count) = nearest {
            question.named = self.nearest(count, &question);
            if question.named.is_empty() {
                let (asked, elapsed) = (Some(0), Duration::ZERO);
                self.fx.event(Event::Answered { ticket, asked, estimated: false, answered: 0, elapsed });
                return Ok(());
            }
        }
        self.ask(ticket, &question, Collects::Answers, timeout);
        Ok(())
    }

    pub(super) fn query_trace(
        &mut self,
        ticket: Ticket,
        topic: &str,
        origin: NodeId,
        sequence: Sequence,
        timeout: Duration,
    ) -> Result<(), Refusal> {
        let payload = queries::write_trace_question(topic, origin, sequence);
        let question = self.question(queries::TRACE, payload, timeout)?;
        self.done(ticket, Ok(Reply::Accepted));
        self.ask(ticket, &question, Collects::Steps, timeout);
        Ok(())
    }

    /// A question to all.
    pub(super) fn question(&self, name: &str, payload: Vec<u8>, timeout: Duration) -> Result<Question, Refusal> {
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            return Err(invalid("timeout", format!("{timeout:?}"), "above 0 and at most 10m"));
        }
        let waiting = self.queries.asked_count();
        if waiting >= queries::ASKED_MAX {
            return Err(Refusal::QuestionsWaiting { waiting });
        }
        let until = self.fx.now.wall + timeout;
        Ok(Question { name: name.to_owned(), payload, filter: Tags::new(), named: Vec::new(), until })
    }

    pub(super) fn ask(&mut self, ticket: Ticket, question: &Question, collects: Collects, timeout: Duration) {
        let is_known = !self.is_partial() || !question.named.is_empty();
        let missing = if is_known { self.members_asked(question) } else { BTreeSet::new() };
        let total = is_known.then_some(missing.len());
        let bytes = question.write();
        let sequence = self.messages.peek_sequence(queries::TOPIC, self.incarnation.boot());
        let is_for_all = question.filter.is_empty() && question.named.is_empty();
        let (started, answered) = (self.fx.now.instant, BTreeSet::new());
        let ends = started + timeout;
        self.queries.ask(sequence, Asked { ticket, collects, started, ends, is_for_all, missing, total, answered });
        self.fx.arm(timeout, Timer::Query(sequence.0));
        let sent = self.put_message(queries::TOPIC, &bytes, timeout + AFTERLIFE);
        assert_eq!(sent, sequence, "the question is known before its own message comes back");
        if total == Some(0) {
            self.on_query_due(sequence);
        }
    }

    fn members_asked(&self, question: &Question) -> BTreeSet<NodeId> {
        if !question.named.is_empty() {
            return question.named.iter().copied().collect();
        }
        let asked = self.members.iter().filter(|member| member.state.is_live() && question.has_tags(&member.tags));
        asked.map(|member| member.id).collect()
    }

    /// A question came in, this node's own included.
    pub(super) fn on_question(&mut self, origin: NodeId, sequence: Sequence, payload: &[u8], from: Option<NodeId>) {
        let Some(question) = Question::read(payload) else {
            self.fx.counters.dropped.malformed += 1;
            return;
        };
        let query = QueryId { origin, sequence };
        if self.fx.now.wall > question.until {
            return;
        }
        if self.is_partial() {
            self.note_way(query, &question, from);
        }
        if !question.is_for(self.identity.id, &self.identity.tags) {
            return;
        }
        match question.name.as_str() {
            queries::TRACE => {
                let step = queries::read_trace_question(&question.payload)
                    .and_then(|(topic, origin, sequence)| self.messages.trace_step(topic, origin, sequence));
                if let Some(step) = step {
                    self.send_answer(query, queries::write_trace_step(&step));
                }
            }
            queries::PING => self.send_answer(query, Vec::new()),
            queries::LOCATE => self.say_place(query),
            queries::AGGREGATE => self.begin_epoch_of_gauge(query, &question.payload),
            _ => {
                self.queries.open(query, question.until);
                self.fx.event(Event::Query { query, name: question.name, payload: question.payload });
            }
        }
    }

    /// The application answers a question.
    pub(super) fn answer(&mut self, query: QueryId, payload: Vec<u8>) -> Result<(), Refusal> {
        if payload.len() > queries::ANSWER_BYTES_MAX {
            let rule = format!("at most {} bytes", queries::ANSWER_BYTES_MAX);
            return Err(invalid("payload", format!("{} bytes", payload.len()), &rule));
        }
        if !self.queries.close(query, self.fx.now.wall) {
            return Err(Refusal::Unknown { what: "open query", name: query.sequence.to_string() });
        }
        self.send_answer(query, payload);
        Ok(())
    }

    pub(super) fn send_answer(&mut self, query: QueryId, payload: Vec<u8>) {
        if query.origin == self.identity.id {
            let name = self.identity.name.clone();
            return self.hear_answer(self.identity.id, name, query.sequence, &payload);
        }
        if self.is_partial() {
            return self.return_own(query, payload);
        }
        let Some(to) = self.members.address(query.origin) else { return };
        if payload.len() > queries::ANSWER_DATAGRAM_BYTES {
            return self.send_answer_by_stream(query, &payload);
        }
        if self.queries.send(query, Answer { to, payload, tries: 0 }) {
            self.on_answer_due(query.origin, query.sequence);
        }
    }

    fn send_answer_by_stream(&mut self, query: QueryId, payload: &[u8]) {
        let Some(to) = self.members.address(query.origin) else { return };
        if let Some(stream) = self.open_stream(query.origin, to, Purpose::Exchange) {
            let mut letter = Letter::on_stream(stream, query.origin, to);
            letter.packet.answer(query.sequence.0, payload);
            self.post(letter);
            self.streams.close_after(stream, &mut self.fx);
        }
    }

    /// Sends an answer, again while it is not confirmed.
    pub(super) fn on_answer_due(&mut self, origin: NodeId, sequence: Sequence) {
        let query = QueryId { origin, sequence };
        let Some(answer) = self.queries.answer_mut(query) else { return };
        if answer.tries == queries::ANSWER_TRIES {
            self.queries.confirmed(query);
            return;
        }
        answer.tries += 1;
        let (to, payload) = (answer.to, answer.payload.clone());
        let mut letter = self.letter(origin, to);
        letter.packet.answer(sequence.0, &payload);
        self.post(letter);
        self.fx.arm(queries::ANSWER_RETRY, Timer::Answer(origin, sequence.0));
    }

    pub(super) fn on_answer(&mut self, sequence: Sequence, payload: &[u8], letter: &mut Letter) {
        if letter.packet.room() >= 10 {
            letter.packet.answered(sequence.0);
        }
        let Some(member) = self.members.member(letter.peer).filter(|member| member.state.is_live()) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        self.hear_answer(letter.peer, member.name, sequence, payload);
    }

    pub(super) fn on_answered(&mut self, sequence: Sequence, from: NodeId) {
        let query = QueryId { origin: from, sequence };
        if self.queries.confirmed(query).is_some() {
            self.fx.cancel(Timer::Answer(from, sequence.0));
        }
    }

    pub(super) fn hear_answer(&mut self, from: NodeId, name: String, sequence: Sequence, payload: &[u8]) {
        let now = self.fx.now.instant;
        let Some(asked) = self.queries.asked_mut(sequence) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        if asked.answered.len() >= queries::ANSWERS_MAX || !asked.answered.insert(from) {
            return;
        }
        asked.missing.remove(&from);
        let (ticket, after) = (asked.ticket, now.since(asked.started));
        let complete = asked.total.is_some() && asked.missing.is_empty();
        match &mut asked.collects {
            Collects::Steps => {
                if let Some(step) = queries::read_trace_step(from, payload) {
                    self.fx.event(Event::Trace { ticket, name, step });
                }
            }
            Collects::Answers => {
                self.fx.event(Event::Answer { ticket, from, name, payload: payload.to_vec(), after });
            }
            Collects::Coordinates(sought) => sought.note(from, payload),
        }
        if complete {
            self.on_query_due(sequence);
        } else if self.is_partial() {
            self.wait_for_more(sequence);
        }
    }

    /// With a partial view nobody knows who has not answered: if as many did as there are by the estimate, what comes within
    /// a while is all. A trace is answered at once by all who got the message, however many that are.
    fn wait_for_more(&mut self, sequence: Sequence) {
        let size = self.estimated_size();
        let now = self.fx.now.instant;
        let Some(asked) = self.queries.asked_mut(sequence) else { return };
        let may_be_all = asked.is_for_all && size.is_some_and(|size| asked.answered.len() >= size);
        if matches!(asked.collects, Collects::Steps) || may_be_all {
            let wait = asked.ends.since(now).min(queries::QUIET);
            self.fx.arm(wait, Timer::Query(sequence.0));
        }
    }

    /// Everybody has answered, or time is over.
    pub(super) fn on_query_due(&mut self, sequence: Sequence) {
        self.fx.cancel(Timer::Query(sequence.0));
        let Some(asked) = self.queries.end(sequence) else { return };
        if let Collects::Coordinates(sought) = &asked.collects {
            let result = sought.round_trip();
            return self.done(asked.ticket, result);
        }
        let elapsed = self.fx.now.instant.since(asked.started);
        let (ticket, answered) = (asked.ticket, asked.answered.len());
        let estimate = self.estimated_size().filter(|_| self.is_partial() && asked.is_for_all);
        let total = asked.total.or_else(|| estimate.map(|estimate| estimate.max(answered)));
        let estimated = asked.total.is_none();
        self.fx.event(Event::Answered { ticket, asked: total, estimated, answered, elapsed });
    }
}
