//! `rumor lab replay`: the life of a real node again.

use std::path::PathBuf;

use clap::Args;
use rumormill_core::{Event, Member, Node, NodeId, Now};
use rumormill_lab::recording::{self, Outcome, Replayed};
use serde::Serialize;

use super::show;
use crate::commands::Output;
use crate::documents::WhyDocument;
use crate::failure::{Failure, Kind};
use crate::{commands, print};

/// `rumor lab replay`
#[derive(Args, Clone, Debug)]
pub(crate) struct Replay {
    /// What `rumor agent --record` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Tell why the node, at the end, held this member for what it was; by name or id
    #[arg(long, value_name = "NAME")]
    why: Option<String>,
    /// Tell every event of the node with its time
    #[arg(long)]
    events: bool,
}

/// What a replay prints.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(flatten)]
    outcome: Outcome,
    /// Every event, where they were asked for.
    all_events: Option<Vec<Told>>,
    /// The story of a member, where it was asked for.
    why: Option<WhyDocument>,
}

/// An event of the recorded node.
#[derive(Debug, Serialize)]
struct Told {
    /// Unix seconds, by the node's clock.
    at: f64,
    /// As the core shows it.
    event: String,
}

pub(super) fn run(flags: &Replay, output: Output) -> Result<(), Failure> {
    let mut all_events = flags.events.then(Vec::new);
    let witness = |at: Now, event: &Event| {
        if let Some(events) = &mut all_events {
            events.push(Told { at: at.wall.as_secs_f64(), event: format!("{event:?}") });
        }
    };
    let Replayed { node, outcome } = recording::replay(&flags.file, witness)?;
    let why = flags.why.as_deref().map(|name| why(&node, name)).transpose()?;
    let (is_identical, document) = (outcome.identical, Document { outcome, all_events, why });
    show(&document, output, tell)?;
    if is_identical { Ok(()) } else { Err(Failure::new(Kind::No, "differs", "the replay is not what was recorded")) }
}

/// The story of a member that was listed at the end, or not any more.
fn why(node: &Node, name: &str) -> Result<WhyDocument, Failure> {
    let members: Vec<Member> = node.members().collect();
    let listed = members.iter().find(|member| member.name == name).map(|member| member.id);
    let id = listed.or_else(|| node.story_named(name)).or_else(|| name.parse::<NodeId>().ok());
    let story = id.and_then(|id| node.story(id));
    let story = story.ok_or_else(|| Failure::new(Kind::No, "absent", format!("no member {name} in the recording")))?;
    Ok(WhyDocument::new(&story, &members))
}

fn tell(document: &Document) -> Result<(), Failure> {
    let Document { outcome, all_events, why } = document;
    for Told { at, event } in all_events.iter().flatten() {
        print::line(format!("{}  {event}", print::time_of_day(*at)))?;
    }
    let Outcome { version, node, name, from, until, inputs, outputs, events, identical, difference, harmed } = outcome;
    let moment = |at: &Option<f64>| at.map_or_else(|| "nothing".to_owned(), print::time_of_day);
    print::line(format!("{name} ({node}), release {version}, from {} to {}", moment(from), moment(until)))?;
    print::line(format!("{inputs} inputs, {outputs} outputs, {events} of them events"))?;
    if *harmed {
        print::line("a part of the recording is harmed: this begins after it")?;
    }
    if let Some(difference) = difference {
        let (input, at) = (difference.input, print::time_of_day(difference.at));
        print::line(format!("first difference after input {input}, at {at}: {}", difference.what))?;
    }
    if *identical {
        print::line("all outputs are those of the recorded node, to the last byte")?;
    }
    match why {
        Some(why) => commands::why::tell(why),
        None => Ok(()),
    }
}
