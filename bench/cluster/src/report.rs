//! What was measured: as a table for people and as a document.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::Alarms;
use crate::peers::{self, Peers};
use crate::samples::Samples;

/// A thing that is measured in numbers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Figure {
    /// Seconds from the last process start until all know all.
    Joined,
    /// The same from the moment when the last agent was ready.
    JoinedSinceReady,
    /// Seconds from the request to publish until the last subscriber has the message.
    Published,
    /// The same until half of them have it.
    PublishedHalf,
    /// Seconds from the request to write data until they are readable at the last agent.
    Written,
    /// The same until half of them have it.
    WrittenHalf,
    /// Seconds from a kill to the first suspicion.
    Suspected,
    /// Seconds from a kill until one agent says that it is dead.
    Detected,
    /// Seconds from a kill until all agents say so.
    Crashed,
    /// Bytes a second that an agent sends.
    Traffic,
    /// Datagrams a second that an agent sends.
    Datagrams,
    /// Bytes of resident memory of an agent.
    Resident,
    /// Bytes of it that are an agent's own.
    Anonymous,
    /// Seconds of CPU of an agent in a minute.
    Cpu,
    /// Seconds of CPU of an agent that a message comes to.
    MessageCpu,
}

/// Which number of many stands for all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Headline {
    Median,
    Mean,
}

/// How a figure is shown.
struct Row {
    label: &'static str,
    key: &'static str,
    /// What the numbers are divided by for people, the decimals that they keep, and the unit that this gives.
    unit: (f64, usize, &'static str),
    headline: Headline,
    /// At most this.
    goal: Option<f64>,
    peers: Peers,
}

const MEBIBYTE: f64 = 1024.0 * 1024.0;
const SECONDS: (f64, usize, &str) = (1.0, 2, " s");
const MILLISECONDS: (f64, usize, &str) = (0.001, 0, " ms");
const MEBIBYTES: (f64, usize, &str) = (MEBIBYTE, 1, " MiB");

impl Figure {
    fn row(self) -> Row {
        let row = |label, key, unit, headline, goal, peers| Row { label, key, unit, headline, goal, peers };
        let (median, mean) = (Headline::Median, Headline::Mean);
        match self {
            Self::Joined => {
                row("all know all, after the last start", "joined", SECONDS, median, Some(0.4), peers::JOINED)
            }
            Self::JoinedSinceReady => {
                row("… after the last was ready", "joined_since_ready", SECONDS, median, None, peers::NONE)
            }
            Self::Published => row("message at all", "published", MILLISECONDS, median, Some(0.1), peers::PUBLISHED),
            Self::PublishedHalf => row("… at half of them", "published_half", MILLISECONDS, median, None, peers::NONE),
            Self::Written => row("write readable at all", "written", MILLISECONDS, median, Some(0.25), peers::WRITTEN),
            Self::WrittenHalf => row("… at half of them", "written_half", MILLISECONDS, median, None, peers::NONE),
            Self::Suspected => row("`kill -9`: first suspicion", "suspected", SECONDS, median, None, peers::NONE),
            Self::Detected => row("… dead to the first", "detected", SECONDS, median, None, peers::DETECTED),
            Self::Crashed => row("… dead to all", "crashed", SECONDS, median, Some(3.5), peers::CRASHED),
            Self::Traffic => row(
                "idle: sent per agent, with headers",
                "traffic",
                (1.0, 0, " B/s"),
                mean,
                Some(160.0),
                peers::TRAFFIC,
            ),
            Self::Datagrams => row("… datagrams", "datagrams", (1.0, 2, " /s"), mean, None, peers::NONE),
            Self::Resident => {
                row("resident memory per agent", "resident", MEBIBYTES, mean, Some(7.0 * MEBIBYTE), peers::RESIDENT)
            }
            Self::Anonymous => row("… of it heap and stacks", "anonymous", MEBIBYTES, mean, None, peers::NONE),
            Self::MessageCpu => {
                row("load: CPU per message and agent", "message_cpu", (0.000_001, 1, " µs"), mean, None, peers::NONE)
            }
            Self::Cpu => row("idle: CPU per agent-minute", "cpu", (1.0, 3, " s"), mean, Some(0.05), peers::CPU),
        }
    }
}

impl Row {
    fn headline(&self, samples: &Samples) -> f64 {
        match self.headline {
            Headline::Median => samples.median(),
            Headline::Mean => samples.mean(),
        }
    }

    fn bare(&self, value: f64) -> String {
        let (divisor, decimals, _) = self.unit;
        format!("{:.decimals$}", value / divisor)
    }

    fn cells(&self, samples: &Samples) -> Vec<String> {
        let unit = self.unit.2;
        let ours = self.headline(samples);
        let (min, max) = (self.bare(samples.min()), self.bare(samples.max()));
        let of = match self.headline {
            Headline::Median => samples.count().to_string(),
            Headline::Mean => "mean".to_owned(),
        };
        let mut cells = vec![self.label.to_owned(), format!("**{}{unit}** ({min}–{max}; {of})", self.bare(ours))];
        cells.push(self.goal.map_or_else(String::new, |goal| {
            let verdict = if ours <= goal { "met" } else { "**missed**" };
            format!("{}{unit}, {verdict}", self.bare(goal))
        }));
        cells.extend(self.peers.iter().map(|peer| {
            let Some(peer) = peer else { return "–".to_owned() };
            let ratio = peer / ours;
            let decimals = usize::from(ratio < 10.0);
            format!("{}{unit}: {ratio:.decimals$} ×", self.bare(*peer))
        }));
        cells
    }

    fn json(&self, samples: &Samples) -> Value {
        let ours = self.headline(samples);
        let ratio = |peer: Option<f64>| peer.map(|peer| peer / ours);
        let mut value = samples.json();
        value["goal"] = json!(self.goal);
        value["is_met"] = json!(self.goal.map(|goal| ours <= goal));
        for (name, peer) in peers::NAMES.iter().zip(self.peers) {
            value["peers"][name] = json!({ "value": peer, "ratio": ratio(peer) });
        }
        value
    }
}

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    nodes: usize,
    figures: BTreeMap<Figure, Samples>,
    alarms: Vec<(&'static str, Duration, Alarms)>,
    /// Share of all cores that was busy during a stage, by whatever.
    machine: Vec<(&'static str, f64)>,
    notes: BTreeMap<&'static str, Value>,
}

impl Report {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, figures: BTreeMap::new(), alarms: Vec::new(), machine: Vec::new(), notes: BTreeMap::new() }
    }

    /// Notes a figure; nothing was measured where there are no samples.
    pub(crate) fn figure(&mut self, figure: Figure, samples: Option<Samples>) {
        self.figures.extend(samples.map(|samples| (figure, samples)));
    }

    pub(crate) fn alarms(&mut self, stage: &'static str, length: Duration, alarms: Alarms) {
        self.alarms.push((stage, length, alarms));
    }

    pub(crate) fn machine(&mut self, stage: &'static str, busy_share: f64) {
        self.machine.push((stage, busy_share));
    }

    pub(crate) fn note(&mut self, what: &'static str, value: Value) {
        self.notes.insert(what, value);
    }

    /// A table, and below it what is needed to judge it.
    pub(crate) fn markdown(&self) -> String {
        let mut head = vec![format!("{} agents on loopback", self.nodes), "Rumormill".to_owned(), "goal".to_owned()];
        head.extend(peers::NAMES.map(str::to_owned));
        let mut rows = vec![head.clone(), vec!["---".to_owned(); head.len()]];
        rows.extend(self.figures.iter().map(|(figure, samples)| figure.row().cells(samples)));
        rows.extend(self.alarms.iter().map(|(stage, length, alarms)| {
            let mut cells = vec![words_for(stage, *length), words_of(alarms), verdict(alarms).to_owned()];
            cells.resize(head.len(), "–".to_owned());
            cells
        }));
        let lines: Vec<String> = rows.iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
        let busy = self.machine.iter().map(|(stage, share)| format!("{stage} {:.0} %", share * 100.0));
        let busy = busy.collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "{}\n\nMedian or mean (least–greatest; number of measurements). Goals and peers' figures are of 50 agents; \
             N × is the peer's figure divided by ours. Cores busy, by everything on the machine: {busy}.\n",
            lines.join("\n")
        );
        for (stage, _, alarms) in &self.alarms {
            text.extend(alarms.deaths.iter().map(|death| format!("\nFalse death, {stage}: {death}\n")));
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let figures: BTreeMap<&str, Value> = self
            .figures
            .iter()
            .map(|(figure, samples)| {
                let row = figure.row();
                (row.key, row.json(samples))
            })
            .collect();
        let alarms: BTreeMap<&str, Value> = self
            .alarms
            .iter()
            .map(|(stage, length, alarms)| {
                let mut value = alarms.json();
                value["seconds"] = json!(length.as_secs_f64());
                (*stage, value)
            })
            .collect();
        let machine: BTreeMap<&str, f64> = self.machine.iter().copied().collect();
        json!({
            "nodes": self.nodes, "figures": figures, "alarms": alarms, "machine_busy_share": machine,
            "notes": self.notes,
        })
    }
}

fn words_for(stage: &str, length: Duration) -> String {
    let seconds = length.as_secs_f64();
    let length = if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) };
    match stage {
        "idle" => format!("living members shown dead, idle, {length}"),
        "busy" => format!("… cores kept busy, {length}"),
        "pause" => format!("… agents stopped for 2 s, {length}"),
        other => format!("… {other}, {length}"),
    }
}

fn words_of(alarms: &Alarms) -> String {
    let gaps = if alarms.gaps > 0 { format!("; {} gaps in the event streams", alarms.gaps) } else { String::new() };
    let Alarms { failed, suspected, refuted, .. } = alarms;
    format!(
        "**{failed}** ({} suspicions: {suspected} sightings, {refuted} refutations seen{gaps})",
        alarms.suspicions()
    )
}

fn verdict(alarms: &Alarms) -> &'static str {
    if alarms.failed == 0 { "0, met" } else { "0, **missed**" }
}
