//! The log: one subscriber that writes lines to stderr, keeps the last few, and lets clients follow.
//!
//! The agent logs little and uses no spans, so that this small subscriber does what a stack of layers would, in a
//! fraction of the memory.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rumormill_core::limits::Limits;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, SetGlobalDefaultError};
use tracing::{Event, Metadata, Subscriber};

use crate::documents::LogLine;
use crate::print;

/// How many lines are kept for those who come later.
const KEPT_MAX: usize = 200;
/// How many lines wait for a slow reader.
const WAITING_MAX: usize = 64;
/// The least important lines that are kept and may be followed, whatever stderr shows.
const KEPT_LEVEL: Level = Level::Debug;

/// How important a line is, the most important first.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
    clap::ValueEnum,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

/// How lines look on stderr.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// A document a line.
    Json,
}

/// The log of this process. Clones are the same log.
#[derive(Clone, Debug)]
pub(crate) struct Logs(Arc<Log>);

#[derive(Debug)]
struct Log {
    /// How lines look on stderr, and the least important that go there. Clients may follow down to [`KEPT_LEVEL`] at any time.
    shown: RwLock<(Format, Level)>,
    kept: Mutex<VecDeque<Arc<Kept>>>,
    live: broadcast::Sender<Arc<Kept>>,
}

/// A line and its importance.
#[derive(Debug)]
struct Kept {
    level: Level,
    line: LogLine,
}

/// A client that follows the log: first what is kept, then what comes.
#[derive(Debug)]
pub(crate) struct Follower {
    level: Level,
    past: VecDeque<Arc<Kept>>,
    live: broadcast::Receiver<Arc<Kept>>,
}

impl Logs {
    pub(crate) fn new(format: Format, level: Level) -> Self {
        let live = broadcast::Sender::new(WAITING_MAX);
        Self(Arc::new(Log { shown: RwLock::new((format, level)), kept: Mutex::default(), live }))
    }

    /// From the next line on, shows lines so.
    pub(crate) fn show(&self, format: Format, level: Level) {
        *self.0.shown.write().unwrap_or_else(PoisonError::into_inner) = (format, level);
        // Which places in the program log anything at all was asked once.
        tracing::callsite::rebuild_interest_cache();
    }

    fn shown(&self) -> (Format, Level) {
        *self.0.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this the log of the process.
    pub(crate) fn install(&self) -> Result<(), SetGlobalDefaultError> {
        tracing::subscriber::set_global_default(self.clone())
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        to.entries("log_lines_kept", self.kept().len(), KEPT_MAX);
        to.entries("log_lines_followed", self.0.live.len(), WAITING_MAX);
    }

    /// Follows lines of at least this importance.
    pub(crate) fn follow(&self, level: Level) -> Follower {
        // Under one lock, so that no line is lost or told twice between past and live.
        let kept = self.kept();
        Follower { level, past: kept.clone(), live: self.0.live.subscribe() }
    }

    fn keep(&self, kept: Kept) {
        let kept = Arc::new(kept);
        let mut past = self.kept();
        if past.len() == KEPT_MAX {
            past.pop_front();
        }
        past.push_back(Arc::clone(&kept));
        // An error only says that nobody follows.
        self.0.live.send(kept).ok();
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Kept>>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(format: Format, line: &LogLine) {
        match format {
            Format::Text => print::note(text(line)),
            Format::Json => print::note(serde_json::to_string(line).unwrap_or_default()),
        }
    }
}

impl Follower {
    /// The next line; lines that were not read in time are left out.
    pub(crate) async fn next(&mut self) -> Option<LogLine> {
        loop {
            let kept = match self.past.pop_front() {
                Some(kept) => kept,
                None => match self.live.recv().await {
                    Ok(kept) => kept,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            };
            if kept.level <= self.level {
                return Some(kept.line.clone());
            }
        }
    }
}

/// A line for people: `12:00:31.02  warn   n3 is dead`.
pub(crate) fn text(line: &LogLine) -> String {
    let mut text = format!("{}  {:<5}  {}", print::time_of_day(line.at), line.level, line.message);
    for (name, value) in &line.fields {
        let _ = write!(text, "  {name}={value}");
    }
    text
}

impl Subscriber for Logs {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Level::of(*metadata.level()) <= self.shown().1.max(KEPT_LEVEL)
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn event(&self, event: &Event<'_>) {
        let level = Level::of(*event.metadata().level());
        let mut words = Words::default();
        event.record(&mut words);
        let Words { message, fields } = words;
        let line = LogLine { at: print::now(), level: level.as_str().to_owned(), message, fields };
        let (format, least) = self.shown();
        if level <= least {
            Self::write(format, &line);
        }
        self.keep(Kept { level, line });
    }

    // No spans are used; one number stands for all of them.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What an event says.
#[derive(Default)]
struct Words {
    message: String,
    fields: BTreeMap<String, String>,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.insert(field.name().to_owned(), value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_follower_gets_what_is_kept_and_then_what_comes_from_its_level_up() {
        let logs = Logs::new(Format::Text, Level::Error);
        let _guard = tracing::subscriber::set_default(logs.clone());
        tracing::info!(peer = "n2", "first");
        tracing::debug!("too fine");
        let mut follower = logs.follow(Level::Info);
        tracing::warn!("second");
        let first = follower.next().await.unwrap();
        assert_eq!((first.message.as_str(), first.fields["peer"].as_str()), ("first", "n2"));
        assert_eq!(follower.next().await.unwrap().message, "second");
    }

    #[test]
    fn only_so_many_lines_are_kept_and_wait_for_a_slow_follower() {
        let logs = Logs::new(Format::Text, Level::Error);
        let _slow = logs.follow(Level::Info);
        let _guard = tracing::subscriber::set_default(logs.clone());
        for number in 0..=KEPT_MAX {
            tracing::info!("{number}");
        }
        let mut limits = Limits::new();
        logs.limits(&mut limits);
        let levels: Vec<_> = limits.iter().map(|limit| (limit.what, limit.held, limit.most)).collect();
        let (kept, waiting) = (KEPT_MAX as u64, WAITING_MAX as u64);
        assert_eq!(levels, [("log_lines_kept", kept, kept), ("log_lines_followed", waiting, waiting)]);
        let kept = logs.kept();
        assert_eq!((kept.len(), kept[0].line.message.as_str()), (KEPT_MAX, "1"));
    }
}
