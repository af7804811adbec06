//! `rumor members --watch`: what changes, as it happens.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::Method;

use super::Output;
use super::members::is_wanted;
use crate::cli;
use crate::client::Client;
use crate::documents::{AnswerLine, MemberDocument, MemberEvent};
use crate::failure::Failure;
use crate::{print, story};

/// How long a death may take to become known everywhere before the watch says by how many.
const SPREAD_MAX: Duration = Duration::from_secs(2);
/// The wait between two questions about it.
const ASK_AGAIN: Duration = Duration::from_millis(50);

pub(super) fn run(flags: &cli::Members, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let mut events = client.stream(Method::GET, "/v1/events", Vec::new())?;
    let mut watch = Watch { client, suspected: BTreeMap::new() };
    while let Some(event) = events.next()? {
        let document: MemberEvent = event.document()?;
        let Some(document) = wanted(document, flags) else { continue };
        if output.json {
            print::json(&document)?;
        } else {
            watch.show(&document)?;
        }
    }
    print::note("the agent has stopped");
    Ok(())
}

fn wanted(document: MemberEvent, flags: &cli::Members) -> Option<MemberEvent> {
    match document {
        MemberEvent::Snapshot { event, mut members } => {
            members.retain(|member| is_wanted(member, flags));
            Some(MemberEvent::Snapshot { event, members })
        }
        MemberEvent::Change { ref member, .. } => is_wanted(member, flags).then_some(document),
        MemberEvent::Missed { .. } => Some(document),
    }
}

struct Watch {
    client: Client,
    /// Since when members have been suspects, as this watch saw it.
    suspected: BTreeMap<String, f64>,
}

impl Watch {
    fn show(&mut self, document: &MemberEvent) -> Result<(), Failure> {
        match document {
            MemberEvent::Snapshot { members, .. } => {
                let alive = members.iter().filter(|member| member.state == "alive").count();
                print::note(format!("watching {}, {alive} alive", print::count(members.len() as u64, "member")));
            }
            MemberEvent::Change { event, at, by, member } => {
                let mut words = story::of_change(event, by, member);
                match event.as_str() {
                    "suspected" => drop(self.suspected.insert(member.id.clone(), *at)),
                    "failed" => words.detail = self.of_death(*at, member),
                    _ => drop(self.suspected.remove(&member.id)),
                }
                print::line(story::line(*at, &member.name, &words))?;
            }
            MemberEvent::Missed { missed } => print::note(format!("{missed} events were missed")),
        }
        Ok(())
    }

    /// `2.4 s after it was suspected; known to all 4`.
    fn of_death(&mut self, at: f64, member: &MemberDocument) -> String {
        let after = self.suspected.remove(&member.id).map(|suspected| at - suspected);
        let after = after.map(|seconds| format!("{seconds:.1} s after it was suspected"));
        let parts = [after, self.known_to(&member.id)];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Asks everybody what they know of a member until all agree, or for a moment. With a partial view only neighbours know.
    fn known_to(&self, id: &str) -> Option<String> {
        let deadline = Instant::now() + SPREAD_MAX;
        loop {
            let (know, asked) = self.count_who_know(id).ok()??;
            if know == asked {
                return Some(format!("known to all {know}"));
            }
            if Instant::now() > deadline {
                return Some(format!("known to {know} of {asked}"));
            }
            thread::sleep(ASK_AGAIN);
        }
    }

    fn count_who_know(&self, id: &str) -> Result<Option<(u64, u64)>, Failure> {
        let mut know = 0;
        let path = "/v1/queries/member?timeout=1s";
        let mut answers = self.client.stream(Method::POST, path, id.as_bytes().to_vec())?;
        while let Some(event) = answers.next()? {
            match event.document()? {
                AnswerLine::Answer(answer) => {
                    let member = serde_json::from_slice::<MemberDocument>(&answer.payload.bytes());
                    know += u64::from(member.is_ok_and(|member| member.state == "dead"));
                }
                AnswerLine::Done(done) => {
                    let asked = done.asked.filter(|_| !done.estimated);
                    return Ok(asked.map(|asked| (know, asked)));
                }
            }
        }
        Ok(Some((know, know)))
    }
}
