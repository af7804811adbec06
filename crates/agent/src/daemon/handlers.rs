//! `[[on]]`: commands that an agent runs when something happens, one after the other for each entry, and never for longer than
//! their time-out. Gossip does not wait for them: what comes while a command runs waits in the queues of events and messages,
//! whose bounds and overflow are theirs; what they drop is counted.

use std::io;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumormill::{Delivery, Event, EventKind, Received};
use rumormill_core::config::{TOPIC_RULE, is_topic};
use rumormill_core::{Member, MemberChange, Tags, duration};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Agent, document};
use crate::failure::Failure;

/// How long a command may take after it was told to end.
const GRACE: Duration = Duration::from_secs(2);
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);

/// One entry, as it is written.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Handler {
    /// What happens to members.
    pub(crate) events: Vec<String>,
    /// Only to members that have all of these.
    pub(crate) tags: Tags,
    /// Or a topic whose messages it is run with.
    pub(crate) topic: String,
    /// What to run, by `sh -c`.
    pub(crate) command: String,
    /// For how long, at most.
    #[serde(with = "duration::text")]
    pub(crate) timeout: Duration,
}

impl Default for Handler {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            tags: Tags::new(),
            topic: String::new(),
            command: String::new(),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Handler {
    /// Refuses what could never run.
    pub(crate) fn check(&self, place: usize) -> Result<(), Failure> {
        let refused = |field: &str, value: &str, rule: &str| {
            Err(Failure::value(format!("on[{place}].{field}"), value, rule.to_owned()))
        };
        let words = MemberChange::ALL.map(MemberChange::as_str);
        if let Some(unknown) = self.events.iter().find(|event| !words.contains(&event.as_str())) {
            return refused("events", unknown, &words.join(", "));
        }
        if self.events.is_empty() == self.topic.is_empty() {
            return refused("events", "none", "given, or else a topic, and not both");
        }
        if !self.topic.is_empty() && !is_topic(&self.topic) {
            return refused("topic", &format!("{:?}", self.topic), TOPIC_RULE);
        }
        if !self.topic.is_empty() && !self.tags.is_empty() {
            return refused("tags", "some", "absent where there is a topic: messages have none");
        }
        if self.command.trim().is_empty() {
            return refused("command", "none", "what `sh -c` runs");
        }
        if !TIMEOUT.contains(&self.timeout) {
            return refused("timeout", &duration::format(self.timeout), "from 100ms to 1h");
        }
        Ok(())
    }

    fn is_for(&self, change: MemberChange, member: &Member) -> bool {
        self.events.iter().any(|event| event == change.as_str())
            && self.tags.iter().all(|(key, value)| member.tags.get(key) == Some(value))
    }
}

/// How commands of handlers ended, and how much none was run for.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    done: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    dropped: AtomicU64,
}

impl Outcomes {
    /// By name, for metrics.
    pub(crate) fn by_name(&self) -> [(&'static str, u64); 4] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("done", read(&self.done)),
            ("failed", read(&self.failed)),
            ("timed_out", read(&self.timed_out)),
            ("dropped", read(&self.dropped)),
        ]
    }

    fn drop_some(&self, count: u64, command: &str) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
        tracing::warn!("{count} times `{command}` was not run: it takes too long for what happens");
    }
}

/// What a command is told: its environment, and its standard input.
struct Occasion {
    environment: Vec<(&'static str, String)>,
    input: Vec<u8>,
}

impl Occasion {
    fn of_event(event: &Event) -> Option<Self> {
        let EventKind::Member { change, by_name, member, .. } = &event.kind else { return None };
        let environment = vec![
            ("RUMOR_EVENT", change.as_str().to_owned()),
            ("RUMOR_BY", by_name.clone()),
            ("RUMOR_MEMBER", member.name.clone()),
            ("RUMOR_MEMBER_ID", member.id.to_string()),
            ("RUMOR_MEMBER_ADDRESS", member.addresses.first().map_or_else(String::new, ToString::to_string)),
        ];
        let mut input = serde_json::to_vec(&document(event)?).ok()?;
        input.push(b'\n');
        Some(Self { environment, input })
    }

    fn of_message(message: &Received) -> Self {
        let environment = vec![
            ("RUMOR_EVENT", "message".to_owned()),
            ("RUMOR_TOPIC", message.topic.clone()),
            ("RUMOR_ORIGIN", message.origin_name.to_string()),
            ("RUMOR_SEQUENCE", message.sequence.to_string()),
        ];
        Self { environment, input: message.payload.clone() }
    }
}

/// The entries that are attended to. Each ends when what is kept of it here is dropped.
#[derive(Debug, Default)]
pub(super) struct Attended(Vec<(Handler, oneshot::Sender<()>)>);

impl Attended {
    /// Attends to these from now on. Entries that stay go on with what waits for them; one that is there no more ends once its
    /// command has.
    pub(super) fn change(&mut self, agent: &Agent, handlers: Vec<Handler>) {
        let mut before = std::mem::take(&mut self.0);
        for handler in handlers {
            let present = before.iter().position(|(present, _)| *present == handler);
            let attended = present.map_or_else(|| Self::begin(agent, handler), |place| before.swap_remove(place));
            self.0.push(attended);
        }
    }

    fn begin(agent: &Agent, handler: Handler) -> (Handler, oneshot::Sender<()>) {
        let (stay, gone) = oneshot::channel();
        tokio::spawn(attend(agent.clone(), handler.clone(), gone));
        (handler, stay)
    }
}

/// Runs the command of one entry whenever its time has come, until the node has stopped or the entry is gone.
async fn attend(agent: Agent, handler: Handler, gone: oneshot::Receiver<()>) {
    let outcomes = Arc::clone(&agent.handled);
    if handler.topic.is_empty() {
        attend_members(&agent, &handler, &outcomes, gone).await;
    } else {
        attend_topic(&agent, &handler, &outcomes, gone).await;
    }
}

async fn attend_members(agent: &Agent, handler: &Handler, outcomes: &Outcomes, mut gone: oneshot::Receiver<()>) {
    let mut events = agent.cluster.events();
    while let Some(event) = unless(&mut gone, events.next()).await {
        match event {
            Ok(event) => {
                let EventKind::Member { change, member, .. } = &event.kind else { continue };
                if handler.is_for(*change, member)
                    && let Some(occasion) = Occasion::of_event(&event)
                {
                    run(handler, occasion, outcomes).await;
                }
            }
            Err(lagged) => outcomes.drop_some(lagged.0, &handler.command),
        }
    }
}

async fn attend_topic(agent: &Agent, handler: &Handler, outcomes: &Outcomes, mut gone: oneshot::Receiver<()>) {
    let mut messages = match agent.cluster.subscribe(handler.topic.clone()).await {
        Ok(messages) => messages,
        Err(error) => {
            tracing::warn!("`{}` is not run with messages of {:?}: {error}", handler.command, handler.topic);
            return;
        }
    };
    while let Some(delivery) = unless(&mut gone, messages.next()).await {
        match delivery {
            Delivery::Message(message) => run(handler, Occasion::of_message(&message), outcomes).await,
            Delivery::Missed { count, .. } => outcomes.drop_some(count, &handler.command),
        }
    }
}

/// What comes next, or nothing once the entry is gone.
async fn unless<T>(gone: &mut oneshot::Receiver<()>, next: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::select! {
        biased;
        _ = gone => None,
        next = next => next,
    }
}

async fn run(handler: &Handler, occasion: Occasion, outcomes: &Outcomes) {
    let command = &handler.command;
    let (outcome, how) = match carry_out(handler, occasion).await {
        Ok(Some(status)) if status.success() => {
            outcomes.done.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Ok(Some(status)) => (&outcomes.failed, format!("ended with {status}")),
        Ok(None) => {
            (&outcomes.timed_out, format!("took longer than {} and was ended", duration::format(handler.timeout)))
        }
        Err(error) => (&outcomes.failed, format!("was not run: {error}")),
    };
    outcome.fetch_add(1, Ordering::Relaxed);
    tracing::warn!("`{command}` {how}");
}

/// Runs a command to its end, or to its time-out. What it prints goes where the agent's log goes.
async fn carry_out(handler: &Handler, occasion: Occasion) -> io::Result<Option<ExitStatus>> {
    let log = || io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let mut child = Command::new("sh")
        .args(["-c", &handler.command])
        .envs(occasion.environment)
        .stdin(Stdio::piped())
        .stdout(log()?)
        .stderr(log()?)
        .process_group(0)
        .spawn()?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let stdin = child.stdin.take();
    let fed = async {
        if let Some(mut stdin) = stdin {
            // A command that does not care for its input closes it early.
            stdin.write_all(&occasion.input).await.ok();
        }
    };
    let ended = timeout(handler.timeout, async { tokio::join!(fed, child.wait()).1 }).await;
    if let Ok(status) = ended {
        return status.map(Some);
    }
    group.tell(Signal::TERM);
    timeout(GRACE, child.wait()).await.ok();
    group.tell(Signal::KILL);
    child.wait().await.map(|_| None)
}

/// A command with all that it started; what is left of it when this is dropped is killed.
struct Group(Option<Pid>);

impl Group {
    fn tell(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // An error says that all of them have ended.
            kill_process_group(group, signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.tell(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let handler: Handler = toml::from_str(text).unwrap();
        handler.check(2).unwrap_err().message().to_owned()
    }

    #[test]
    fn what_could_never_run_is_refused_by_its_place_and_field() {
        for (text, sentence) in [
            ("command = \"true\"", "on[2].events is none, must be given, or else a topic, and not both"),
            ("command = \"true\"\nevents = [\"failed\"]\ntopic = \"t\"", "on[2].events is none"),
            ("command = \"true\"\nevents = [\"failed\", \"dead\"]", "on[2].events is dead, must be joined, updated"),
            ("events = [\"failed\"]", "on[2].command is none"),
            ("command = \"true\"\ntopic = \"t\"\ntags = { a = \"b\" }", "on[2].tags is some"),
            ("command = \"true\"\ntopic = \"t\"\ntimeout = \"2h\"", "on[2].timeout is 2h, must be from 100ms to 1h"),
        ] {
            assert!(refused(text).starts_with(sentence), "{}", refused(text));
        }
    }
}
