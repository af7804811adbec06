//! What the agent has told so far, all of it bounded.

use std::collections::{BTreeMap, VecDeque};

use crate::documents::{Info, MemberDocument, MemberEvent, TopicDocument, Traffic};
use crate::print;
use crate::story::{self, Words};

/// How many of the last events are kept.
const HAPPENINGS_MAX: usize = 500;
/// How many of the last seconds' traffic is kept: more than any terminal is wide.
const RATES_MAX: usize = 600;

/// The agent, and the cluster as it knows it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) info: Info,
    /// By id.
    pub(super) members: BTreeMap<String, MemberDocument>,
    /// The newest first.
    pub(super) happenings: VecDeque<Happening>,
    /// The newest last.
    pub(super) rates: VecDeque<Rates>,
    /// By name.
    pub(super) topics: Vec<TopicDocument>,
    /// Since when it does not answer, and why.
    pub(super) gone: Option<(f64, String)>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) struct Happening {
    pub(super) at: f64,
    /// Of a member, or of the agent itself.
    id: String,
    pub(super) name: String,
    pub(super) words: Words,
}

/// What went through the sockets in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    sent: Rate,
    received: Rate,
}

impl Rates {
    pub(super) const fn sent(&self) -> Rate {
        self.sent
    }

    pub(super) const fn received(&self) -> Rate {
        self.received
    }
}

/// One way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) bytes: f64,
    pub(super) datagrams: f64,
}

impl Rate {
    /// `None` where the counters began anew.
    fn between(before: Traffic, after: Traffic, seconds: f64) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "what a second carries is small")]
        let per_second = |before: u64, after: u64| after.checked_sub(before).map(|count| count as f64 / seconds);
        let bytes = per_second(before.bytes, after.bytes)?;
        Some(Self { bytes, datagrams: per_second(before.datagrams, after.datagrams)? })
    }
}

impl Known {
    pub(super) fn new(info: Info) -> Self {
        Self {
            info,
            members: BTreeMap::new(),
            happenings: VecDeque::new(),
            rates: VecDeque::new(),
            topics: Vec::new(),
            gone: None,
        }
    }

    pub(super) fn hear_info(&mut self, info: Info, now: f64) {
        if self.gone.take().is_some() {
            self.note(now, "back", "the agent answers again".to_owned());
        }
        // By the agent's own clock, so that nothing on the way counts; a start anew has counters of its own.
        let seconds = info.uptime - self.info.uptime;
        if seconds > 0.0 && info.pid == self.info.pid {
            let sent = Rate::between(self.info.sent, info.sent, seconds);
            let received = Rate::between(self.info.received, info.received, seconds);
            if let (Some(sent), Some(received)) = (sent, received) {
                self.rates.push_back(Rates { sent, received });
            }
        }
        if self.rates.len() > RATES_MAX {
            self.rates.pop_front();
        }
        self.info = info;
    }

    pub(super) fn hear_members(&mut self, members: Vec<MemberDocument>) {
        self.members = members.into_iter().map(|member| (member.id.clone(), member)).collect();
    }

    pub(super) fn hear_event(&mut self, event: MemberEvent, now: f64) {
        match event {
            MemberEvent::Snapshot { members, .. } => self.hear_members(members),
            MemberEvent::Change { event, at, by, member } => self.hear_change(&event, at, &by, *member),
            MemberEvent::Missed { missed } => {
                self.note(now, "missed", format!("{} came too fast to be told", print::count(missed, "event")));
            }
        }
    }

    fn hear_change(&mut self, event: &str, at: f64, by: &str, mut member: MemberDocument) {
        let mut words = story::of_change(event, by, &member);
        if event == "failed" {
            words.detail = self.suspected_before(&member.id, at);
        }
        self.push(Happening { at, id: member.id.clone(), name: member.name.clone(), words });
        if event == "removed" {
            self.members.remove(&member.id);
            return;
        }
        // An event knows of no round trip yet.
        member.rtt = member.rtt.or_else(|| self.members.get(&member.id)?.rtt);
        self.members.insert(member.id.clone(), member);
    }

    fn suspected_before(&self, id: &str, at: f64) -> String {
        let suspected =
            self.happenings.iter().find(|happening| happening.id == id && happening.words.state == "suspect");
        suspected.map_or_else(String::new, |suspected| format!("{:.1} s after it was suspected", at - suspected.at))
    }

    pub(super) fn hear_gone(&mut self, reason: String, now: f64) {
        if self.gone.is_none() {
            self.note(now, "silent", reason.clone());
        }
        let since = self.gone.take().map_or(now, |(since, _)| since);
        self.gone = Some((since, reason));
    }

    /// Something about the agent itself.
    fn note(&mut self, at: f64, state: &'static str, detail: String) {
        let Info { id, name, .. } = &self.info;
        self.push(Happening { at, id: id.clone(), name: name.clone(), words: Words { state, detail } });
    }

    fn push(&mut self, happening: Happening) {
        self.happenings.push_front(happening);
        self.happenings.truncate(HAPPENINGS_MAX);
    }
}
