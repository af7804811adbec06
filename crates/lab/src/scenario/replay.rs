//! The command line that runs a scenario: what differs from the defaults, as flags.

use std::fmt::{self, Write as _};

use rumormill_core::duration;

use super::{Fault, Publishers, Scenario, Start, What, Whom, Work};
use crate::settings;

/// So many names are in one argument at most: Linux takes arguments of up to 128 KiB.
const NAMES_MAX: usize = 1_000;
/// Longer lines fit into no command: Linux takes 2 MiB of arguments and environment.
const LINE_MAX: usize = 1_000_000;
/// The longest argument that Linux takes, `MAX_ARG_STRLEN`.
const ARGUMENT_MAX: usize = 128 * 1_024 - 1;

/// The line that repeats a run: of the nodes that were drawn, or where no shell would take that, of the scenario that they
/// were drawn from, which draws the same.
pub(super) fn line(asked: &Scenario, drawn: &Scenario) -> String {
    let line = drawn.to_string();
    let fits = line.len() <= LINE_MAX && line.split(' ').all(|word| word.len() <= ARGUMENT_MAX);
    if fits { line } else { asked.to_string() }
}

/// A fault in parts that name at most [`NAMES_MAX`] nodes each, and together are the same.
fn parts(fault: &Fault) -> Vec<Fault> {
    let Fault { at, what } = fault;
    let each = |whom: &Whom, what: &dyn Fn(Whom) -> What| -> Vec<What> { chunks(whom).into_iter().map(what).collect() };
    let whats = match what {
        What::Crash(whom) => each(whom, &What::Crash),
        What::Kill(whom) => each(whom, &What::Kill),
        What::Restart(whom, disk) => each(whom, &|whom| What::Restart(whom, *disk)),
        What::Pause(whom, length) => each(whom, &|whom| What::Pause(whom, *length)),
        What::Slow(whom, length) => each(whom, &|whom| What::Slow(whom, *length)),
        What::Stall(whom, length) => each(whom, &|whom| What::Stall(whom, *length)),
        What::DiskFails(whom) => each(whom, &What::DiskFails),
        What::DiskWorks(whom) => each(whom, &What::DiskWorks),
        What::Clock(whom, ahead) => each(whom, &|whom| What::Clock(whom, *ahead)),
        What::Leave(whom) => each(whom, &What::Leave),
        What::Set(whom, key, value) => each(whom, &|whom| What::Set(whom, key.clone(), value.clone())),
        What::Publish(whom, bytes) => each(whom, &|whom| What::Publish(whom, *bytes)),
        What::Write(whom) => each(whom, &What::Write),
        // Groups of a partition are whole, and the product of a one-way cut is at most a million pairs.
        What::Partition(_) | What::OneWay(..) | What::Heal | What::Churn { .. } | What::Add(..) => vec![what.clone()],
    };
    whats.into_iter().map(|what| Fault { at: *at, what }).collect()
}

fn chunks(whom: &Whom) -> Vec<Whom> {
    match whom {
        Whom::Nodes(nodes) if nodes.len() > NAMES_MAX => {
            nodes.chunks(NAMES_MAX).map(|nodes| Whom::Nodes(nodes.to_vec())).collect()
        }
        Whom::Nodes(_) | Whom::Share(_) => vec![whom.clone()],
    }
}

fn works(work: &Work) -> Vec<Work> {
    match &work.by {
        Publishers::Nodes(nodes) if nodes.len() > NAMES_MAX => {
            let parts = nodes.chunks(NAMES_MAX).map(|nodes| Publishers::Nodes(nodes.to_vec()));
            parts.map(|by| Work { by, ..work.clone() }).collect()
        }
        Publishers::Nodes(_) | Publishers::Count(_) => vec![work.clone()],
    }
}

/// `rumor lab run …`, which a shell takes as it stands.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line("rumor lab run".to_owned());
        let Self {
            nodes,
            start,
            start_within,
            contacts,
            duration,
            seed,
            latency,
            jitter,
            span,
            height,
            loss,
            duplication,
            reordering,
            stream_speed,
            clock_skew,
            clock_drift,
            disk_delay,
            diskless,
            preset,
            fault,
            publish,
            settle,
            check,
            config: _,
        } = self;
        let plain = Self::default();
        let time = |time: &std::time::Duration| duration::format(*time);
        line.always("nodes", nodes);
        line.unless(*start == Start::default(), "start", "joined");
        line.unless(*start_within == plain.start_within, "start-within", time(start_within));
        line.unless(*contacts == plain.contacts, "contacts", contacts);
        line.always("duration", time(duration));
        line.always("seed", seed);
        line.unless(*latency == plain.latency, "latency", time(latency));
        line.unless(*jitter == plain.jitter, "jitter", time(jitter));
        line.unless(*span == plain.span, "span", time(span));
        line.unless(*height == plain.height, "height", time(height));
        line.unless(same(*loss, plain.loss), "loss", loss);
        line.unless(same(*duplication, plain.duplication), "duplication", duplication);
        line.unless(same(*reordering, plain.reordering), "reordering", reordering);
        line.unless(*stream_speed == plain.stream_speed, "stream-speed", stream_speed);
        line.unless(*clock_skew == plain.clock_skew, "clock-skew", time(clock_skew));
        line.unless(*clock_drift == plain.clock_drift, "clock-drift", clock_drift);
        line.unless(*disk_delay == plain.disk_delay, "disk-delay", time(disk_delay));
        line.switch(*diskless, "diskless");
        line.unless(*preset == plain.preset, "preset", preset.as_str());
        line.settings(self);
        for fault in fault.iter().flat_map(parts) {
            line.always("fault", fault);
        }
        for work in publish.iter().flat_map(works) {
            line.always("publish", work);
        }
        line.unless(settle.is_zero(), "settle", time(settle));
        line.switch(*check, "check");
        f.write_str(&line.0)
    }
}

/// Whether a value was left as it was.
fn same(value: f64, plain: f64) -> bool {
    value.to_bits() == plain.to_bits()
}

/// A command line that grows.
struct Line(String);

impl Line {
    fn always(&mut self, flag: &str, value: impl fmt::Display) {
        let _ = write!(self.0, " --{flag} {}", quoted(&value.to_string()));
    }

    fn unless(&mut self, is_default: bool, flag: &str, value: impl fmt::Display) {
        if !is_default {
            self.always(flag, value);
        }
    }

    fn switch(&mut self, is_on: bool, flag: &str) {
        if is_on {
            let _ = write!(self.0, " --{flag}");
        }
    }

    /// The settings of the nodes that differ from the preset's.
    fn settings(&mut self, scenario: &Scenario) {
        let preset = settings::table_of(&scenario.preset.settings());
        for (key, value) in settings::table_of(&scenario.config) {
            if preset.get(&key) == Some(&value) {
                continue;
            }
            let value = settings::shown(&value);
            if matches!(&*key, "mode" | "fanout" | "view") {
                self.always(&key, value);
            } else {
                self.always("set", format!("{key}={value}"));
            }
        }
    }
}

/// A word as shells take it for one.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@=+%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
