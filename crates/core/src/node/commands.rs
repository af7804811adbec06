//! What the application asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Node, Phase};
use crate::agreement::Wish;
use crate::config::{Config, ConfigError, TOPIC_RULE, is_topic};
use crate::effects::Timer;
use crate::frame::Space;
use crate::identity::{NodeId, Sequence, Tags, check_tags, tags_bytes, tags_rule};
use crate::io::{Command, Event, Refusal, Reply, State, StopReason, Ticket, TraceStep};
use crate::update::{self, MessageBody, Update, UpdateId, UpdateRef};

/// Rounds that a leaving node goes on for, so that others learn it.
const LEAVING_ROUNDS: u32 = 5;

impl Node {
    pub(super) fn on_command(&mut self, ticket: Ticket, command: Command) {
        if matches!(self.phase, Phase::Leaving(_)) {
            return self.done(ticket, Err(Refusal::Leaving));
        }
        let speaks = matches!(
            command,
            Command::Publish { .. }
                | Command::Query { .. }
                | Command::RoundTrip { .. }
                | Command::Aggregate { .. }
                | Command::SetTags { .. }
        );
        if speaks && matches!(self.phase, Phase::Raising(..)) {
            // Its sequences may have been used in the life that it has just heard of.
            return self.done(ticket, Err(Refusal::NotDurable));
        }
        let result = match command {
            Command::Join { contacts } => return self.try_contacts(ticket, contacts),
            Command::DropContacts { contacts } => Ok(self.drop_contacts(contacts)),
            Command::Remember => Ok(self.remember_now()),
            Command::Configure { config } => self.configure(*config),
            Command::Leave => return self.leave(ticket),
            Command::Remove { member, force } => self.strike(member, force),
            Command::Revoke { revocation } => return self.revoke(ticket, &revocation),
            Command::SetTags { tags } => self.check_own_tags(&tags).map_err(Refusal::from).map(|()| {
                self.change_tags(tags);
                Reply::Accepted
            }),
            Command::Publish { topic, payload } => {
                self.publish(&topic, &payload).map(|sequence| Reply::Published { sequence })
            }
            Command::Query { name, payload, filter, nearest, timeout } => {
                let asked = self.query(ticket, (name, payload), filter, nearest, timeout);
                return self.refuse(ticket, asked);
            }
            Command::Trace { topic, origin, sequence, timeout } => {
                let asked = self.query_trace(ticket, &topic, origin, sequence, timeout);
                return self.refuse(ticket, asked);
            }
            Command::RoundTrip { from, to, timeout } => return self.round_trip(ticket, from, to, timeout),
            Command::SetGauge { name, value } => self.set_gauge(name, value),
            Command::Aggregate { gauge, quantile } => {
                let asked = self.aggregate(ticket, &gauge, quantile);
                return self.refuse(ticket, asked);
            }
            Command::Check { writes, growth } => {
                self.check_writes(&writes, growth).map(|growth| Reply::Checked { growth })
            }
            Command::Write { writes, replicas, timeout } => return self.write(ticket, writes, replicas, timeout),
            Command::Found { voters } => self.found(voters).map(|()| Reply::Accepted),
            Command::DropFounding { founding } => self.drop_founding(founding).map(|()| Reply::Accepted),
            Command::ChangeVoters { voters, timeout } => {
                let asked = self.change_voters(ticket, &voters, timeout);
                return self.refuse(ticket, asked);
            }
            Command::Operate { register, change, timeout } => return self.operate(ticket, &register, change, timeout),
            Command::Acquire { lease, holder, label, ttl, timeout } => {
                return self.contend(ticket, &lease, (holder, Wish::Acquire { label, ttl }), timeout);
            }
            Command::Renew { lease, holder, token, ttl, timeout } => {
                return self.contend(ticket, &lease, (holder, Wish::Renew { token, ttl }), timeout);
            }
            Command::Release { lease, holder, token, timeout } => {
                return self.contend(ticket, &lease, (holder, Wish::Release { token }), timeout);
            }
            Command::Forgo { lease, holder, token, timeout } => {
                return self.contend(ticket, &lease, (holder, Wish::Forgo { token }), timeout);
            }
            Command::Answer { query, payload } => self.answer(query, payload).map(|()| Reply::Accepted),
        };
        self.done(ticket, result);
    }

    /// Contacts may be named before the boot is durable; everything else has to wait.
    pub(super) fn on_command_before_start(&mut self, ticket: Ticket, command: Command) {
        match command {
            Command::Join { contacts } => {
                for contact in contacts {
                    self.contacts.add(contact, Some(ticket));
                }
            }
            Command::DropContacts { contacts } => {
                let reply = self.drop_contacts(contacts);
                self.done(ticket, Ok(reply));
            }
            Command::Leave
            | Command::Remember
            | Command::Configure { .. }
            | Command::Remove { .. }
            | Command::SetTags { .. }
            | Command::Revoke { .. }
            | Command::Publish { .. }
            | Command::Query { .. }
            | Command::Answer { .. }
            | Command::Write { .. }
            | Command::Check { .. }
            | Command::Found { .. }
            | Command::DropFounding { .. }
            | Command::ChangeVoters { .. }
            | Command::Operate { .. }
            | Command::Acquire { .. }
            | Command::Renew { .. }
            | Command::Release { .. }
            | Command::RoundTrip { .. }
            | Command::Forgo { .. }
            | Command::SetGauge { .. }
            | Command::Aggregate { .. }
            | Command::Trace { .. } => self.done(ticket, Err(Refusal::NotDurable)),
        }
    }

    /// A command ends here if it was refused, and later otherwise.
    fn refuse(&mut self, ticket: Ticket, asked: Result<(), Refusal>) {
        if let Err(refusal) = asked {
            self.done(ticket, Err(refusal));
        }
    }

    pub(super) fn done(&mut self, ticket: Ticket, result: Result<Reply, Refusal>) {
        self.fx.event(Event::Done { ticket, result });
    }

    fn check_own_tags(&self, tags: &Tags) -> Result<(), ConfigError> {
        check_tags(tags)?;
        let (bytes, most) = (tags_bytes(tags), self.identity.tags_bytes_max);
        if bytes <= most {
            return Ok(());
        }
        Err(ConfigError { field: "tags", value: format!("{bytes} bytes"), rule: tags_rule(most) })
    }

    fn try_contacts(&mut self, ticket: Ticket, contacts: Vec<SocketAddr>) {
        if contacts.is_empty() {
            return self.done(ticket, Err(invalid("contacts", "none".to_owned(), "at least one address")));
        }
        for contact in contacts {
            self.contacts.add(contact, Some(ticket));
            self.try_contact(contact);
        }
    }

    fn drop_contacts(&mut self, contacts: Vec<SocketAddr>) -> Reply {
        for contact in contacts {
            self.forget_contact(contact, "a contact that was not taken away since");
        }
        Reply::Accepted
    }

    fn remember_now(&mut self) -> Reply {
        self.remember();
        self.hand_on();
        Reply::Accepted
    }

    /// What was announced and fetched by nobody goes to somebody: soon there may be nobody to fetch it from.
    fn hand_on(&mut self) {
        let held = |id: &UpdateId| Space::ALL.into_iter().find_map(|space| self.replica(space).get(*id).cloned());
        let updates: Vec<Arc<Update>> = self.rumors.untaken().iter().filter_map(held).collect();
        if updates.is_empty() {
            return;
        }
        let Some(peer) = self.members.pick(&mut self.fx.rng, 1, None).first().copied() else { return };
        if let Some(address) = self.members.address(peer) {
            let mut letter = self.letter(peer, address);
            self.send_updates(&updates, &mut letter);
            self.post(letter);
        }
    }

    /// Takes over settings of which nothing was built.
    fn configure(&mut self, config: Config) -> Result<Reply, Refusal> {
        if let Some((field, value)) = config.difference(&self.config.reloaded(&config)) {
            return Err(invalid(field, value, "as it was when the node started: a change takes a restart"));
        }
        if config.bandwidth_max != self.config.bandwidth_max {
            self.budget.change(config.bandwidth_max, self.fx.now.instant);
        }
        self.rumors.set_fanout(config.fanout);
        self.config = Arc::new(config);
        // In another mode there may be something to ask.
        self.hurry();
        Ok(Reply::Accepted)
    }

    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<Sequence, Refusal> {
        if !is_topic(topic) {
            return Err(invalid("topic", format!("{topic:?}"), TOPIC_RULE));
        }
        let limit = self.config.payload_bytes_max;
        if payload.len() > limit {
            return Err(invalid("payload", format!("{} bytes", payload.len()), &format!("at most {limit} bytes")));
        }
        let (bytes, limit) = (self.messages.bytes() + payload.len(), self.config.messages_bytes_max);
        let full = self.rumors.len() >= self.config.hot_max && self.rumors.is_largest(Space::Messages);
        let backlog = full && self.members.live() > 0;
        if bytes > limit || backlog {
            return Err(Refusal::Full { bytes, limit });
        }
        Ok(self.put_message(topic, payload, self.config.history_age))
    }

    /// Makes a message of this node and sends it on its way.
    pub(super) fn put_message(&mut self, topic: &str, payload: &[u8], age: Duration) -> Sequence {
        let now = self.fx.now.wall;
        let sequence = self.messages.next_sequence(topic, self.incarnation.boot());
        let forget = now.seconds().plus(age);
        let kept = self.messages.kept_before(topic, self.identity.id, sequence);
        let body = MessageBody { published_at: now, kept, payload };
        let bytes = update::message_bytes(self.identity.id, sequence, topic, forget, &body);
        let message = UpdateRef::read(&bytes).expect("own messages make sense");
        let message: Arc<Update> = self.interner.intern(&message, &self.secret);
        let step = TraceStep { node: self.identity.id, hop: 0, from: None, at: now, payloads: 0 };
        self.keep_message(message, step, true);
        sequence
    }

    /// Strikes a member from the list, for everybody.
    fn strike(&mut self, member: NodeId, force: bool) -> Result<Reply, Refusal> {
        let unknown = || Refusal::Unknown { what: "member", name: member.to_string() };
        let known = self.members.member(member).ok_or_else(unknown)?;
        if known.is_self {
            return Err(invalid("member", known.name, "another member; to go yourself, leave"));
        }
        if known.state.is_live() && !force {
            return Err(Refusal::StillAlive { name: known.name, state: known.state.as_str() });
        }
        let claim = self.members.claim(member).cloned().ok_or_else(unknown)?;
        let bytes = claim.parts().with_state(State::Removed, self.certificate_forget());
        let removed = UpdateRef::read(&bytes).expect("made from a claim that made sense");
        if !self.is_partial() {
            let removed = self.interner.intern(&removed, &self.secret);
            self.merge_claim(removed, self.identity.id, true);
        }
        Ok(Reply::Accepted)
    }

    fn leave(&mut self, ticket: Ticket) {
        self.claim_left();
        self.phase = Phase::Leaving(ticket);
        let alone = self.members.live() == 0;
        let wait = (self.config.gossip_interval * LEAVING_ROUNDS).min(self.config.leave_timeout);
        self.fx.arm(if alone { Duration::ZERO } else { wait }, Timer::Leave);
    }

    pub(super) fn on_leave_due(&mut self) {
        if let Phase::Leaving(ticket) = self.phase {
            self.done(ticket, Ok(Reply::Left));
            self.stop(StopReason::Left);
        }
    }
}

pub(super) fn invalid(field: &'static str, value: String, rule: &str) -> Refusal {
    Refusal::Invalid { field, value, rule: rule.to_owned() }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self::Invalid { field: error.field, value: error.value, rule: error.rule }
    }
}
