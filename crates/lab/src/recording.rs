//! Recordings of real nodes, run again: the same core code, the same inputs at the same times, and so the same outputs, which is
//! checked. A node that signs is answered what its signatures answered then: no key is here. [`rumormill_core::recording`] says how they lie in a file.

use std::path::Path;
use std::sync::Arc;

use rumormill_core::io::Event;
use rumormill_core::recording::{Fingerprint, Heading, Kind, Memory, NoHalf, Parts, Step};
use rumormill_core::{Node, Now, Output, Restored};
use serde::Serialize;

use crate::Error;

/// What became of a recording that was run again.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Which release recorded it.
    pub version: String,
    /// The node's id.
    pub node: String,
    /// What it is called.
    pub name: String,
    /// The time of the first input, by the node's clock, in Unix seconds.
    pub from: Option<f64>,
    /// The time of the last.
    pub until: Option<f64>,
    /// How many inputs there were.
    pub inputs: u64,
    /// What the node did: how much of all there is.
    pub outputs: u64,
    /// How many of these were events for the application.
    pub events: u64,
    /// Whether all outputs were those of the recorded node, to the last byte.
    pub identical: bool,
    /// The first input after which they were not.
    pub difference: Option<Difference>,
    /// Whether something between the first snapshot and the end could not be read: then it was begun at the second snapshot.
    pub harmed: bool,
}

/// Where a replay left the recording.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Which input, counted from 1.
    pub input: u64,
    /// When it came, in Unix seconds.
    pub at: f64,
    /// The input, as the core shows it.
    pub what: String,
}

/// A node whose life was run again, as it is at the end.
#[derive(Debug)]
pub struct Replayed {
    /// The node.
    pub node: Node,
    /// How it went.
    pub outcome: Outcome,
}

/// Runs a recording; `witness` sees every event with the time of the input that brought it about.
///
/// # Errors
/// [`Error::File`] if the file cannot be read; [`Error::Value`] if it is no recording, if another release wrote it, or if not even
/// one snapshot in it is whole.
pub fn replay(path: &Path, witness: impl FnMut(Now, &Event)) -> Result<Replayed, Error> {
    let file = std::fs::read(path).map_err(|error| Error::File { path: path.to_owned(), error })?;
    let refuse = |rule: String| Error::value("recording", path.display(), rule);
    let halves = halves(&file).map_err(|why| refuse(format!("a recording of a node: {why}")))?;
    let version = env!("CARGO_PKG_VERSION");
    if let Some(other) = halves.iter().find(|half| half.heading.version != version) {
        return Err(refuse(format!("of release {version}, which this is: release {} wrote it", other.heading.version)));
    }
    run(halves, witness).ok_or_else(|| refuse("whole as far as the first snapshot".to_owned()))
}

/// One half of a file.
#[derive(Clone, Debug)]
struct Half<'a> {
    heading: Heading,
    parts: Parts<'a>,
}

/// The halves that can be read, the older first.
fn halves(file: &[u8]) -> Result<Vec<Half<'_>>, NoHalf> {
    let first = half(file);
    let middle = match &first {
        Ok(first) => usize::try_from(first.heading.half_bytes).ok(),
        // It is there that the other half says to be.
        Err(_) => (1..file.len()).find(|at| half(&file[*at..]).is_ok_and(|half| half.heading.half_bytes == *at as u64)),
    };
    let second = middle.and_then(|middle| half(file.get(middle..)?).ok());
    let mut halves: Vec<Half<'_>> = match (first, second) {
        (Ok(first), second) => [first].into_iter().chain(second).collect(),
        (Err(_), Some(second)) => vec![second],
        (Err(why), None) => return Err(why),
    };
    halves.sort_by_key(|half| half.heading.number);
    Ok(halves)
}

fn half(bytes: &[u8]) -> Result<Half<'_>, NoHalf> {
    Heading::read(bytes).map(|(heading, parts)| Half { heading, parts })
}

/// Runs as much as can be run without a gap.
fn run(halves: Vec<Half<'_>>, mut witness: impl FnMut(Now, &Event)) -> Option<Replayed> {
    let mut run: Option<Run> = None;
    for Half { heading, parts } in halves {
        let is_begun = run.is_some();
        // What lies before is left where it does not lead here.
        run = run.filter(|run| run.steps == heading.steps);
        let is_gap = is_begun && run.is_none();
        let mut steps = heading.steps;
        for (kind, content) in parts {
            match (kind, &mut run) {
                (Kind::Birth, _) => run = Run::begin(content, &heading, steps),
                (Kind::Snapshot, None) => {
                    run = Run::begin(content, &heading, steps);
                    if let Some(run) = &mut run {
                        run.outcome.harmed = is_gap;
                    }
                }
                (Kind::Snapshot, Some(run)) => run.outputs = Fingerprint::default(),
                (Kind::Steps | Kind::StepBefore, Some(run)) => run.take(content, &mut witness)?,
                (Kind::StepBefore, None) => steps += 1,
                (Kind::Steps, None) => {}
            }
        }
    }
    run.map(Run::end)
}

/// A node on its way.
struct Run {
    node: Node,
    /// What its signatures answer.
    memory: Arc<Memory>,
    outputs: Fingerprint,
    /// Steps that the recorder had written by now.
    steps: u64,
    outcome: Outcome,
}

impl Run {
    fn begin(snapshot: &[u8], heading: &Heading, steps: u64) -> Option<Self> {
        let Restored(mut node) = postcard::from_bytes(snapshot).ok()?;
        let memory = Arc::new(Memory::default());
        node.sign_with(memory.clone());
        let (version, id) = (heading.version.clone(), node.id().to_string());
        let outcome = Outcome { version, node: id, identical: true, ..Outcome::default() };
        Some(Self { node, memory, outputs: Fingerprint::default(), steps, outcome })
    }

    /// Gives the node some steps; `None` if they are none, although their checksum is right.
    fn take(&mut self, mut steps: &[u8], witness: &mut impl FnMut(Now, &Event)) -> Option<()> {
        while !steps.is_empty() {
            let (step, rest) = postcard::take_from_bytes::<Step<'_>>(steps).ok()?;
            if !self.live(step, witness) && self.outcome.identical {
                let (Step { at, input, .. }, _) = postcard::take_from_bytes(steps).ok()?;
                self.outcome.identical = false;
                let what = format!("{input:?}");
                self.outcome.difference =
                    Some(Difference { input: self.outcome.inputs, at: at.wall.as_secs_f64(), what });
            }
            steps = rest;
        }
        Some(())
    }

    /// One step; whether the outputs so far are those of the recorded node.
    fn live(&mut self, step: Step<'_>, witness: &mut impl FnMut(Now, &Event)) -> bool {
        let Step { at, input, answers, outputs: expected } = step;
        self.steps += 1;
        self.outcome.inputs += 1;
        let second = at.wall.as_secs_f64();
        self.outcome.from.get_or_insert(second);
        self.outcome.until = Some(second);
        self.memory.begin(answers);
        self.node.handle_input(at, input);
        while let Some(output) = self.node.poll_output() {
            self.note(at, &output, witness);
        }
        self.memory.end().note(&mut self.outputs);
        self.outputs.get() == expected
    }

    fn note(&mut self, at: Now, output: &Output, witness: &mut impl FnMut(Now, &Event)) {
        self.outcome.outputs += 1;
        self.outputs.note(&postcard::to_stdvec(output).expect("what the core has can be encoded"));
        if let Output::Event(event) = output {
            self.outcome.events += 1;
            witness(at, event);
        }
    }

    fn end(mut self) -> Replayed {
        // A node that has not stored its boot yet is no member: a recording may begin there.
        self.outcome.name = name_of(&self.node);
        Replayed { node: self.node, outcome: self.outcome }
    }
}

fn name_of(node: &Node) -> String {
    node.member(node.id()).map_or_else(String::new, |own| own.name)
}
