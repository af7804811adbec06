//! `rumor fault`: the same fault at every agent that can be reached, or a cut at one end.
//!
//! Each agent keeps its own table; the agent that is asked finds the others' HTTP addresses by the query `info`.

use std::collections::BTreeMap;

use ureq::http::Method;

use super::Output;
use crate::cli::{Fault, Target};
use crate::client::Client;
use crate::documents::{AnswerLine, FaultsChange, FaultsDocument, Info, MemberDocument};
use crate::failure::Failure;
use crate::{percent, print};

const PATH: &str = "/v1/faults";

pub(super) fn run(command: Fault, output: Output) -> Result<(), Failure> {
    match command {
        Fault::Loss { target, share } => {
            everywhere(&target, &FaultsChange { loss: Some(share), ..FaultsChange::default() }, output)
        }
        Fault::Delay { target, delay } => {
            everywhere(&target, &FaultsChange { delay: Some(delay.as_secs_f64()), ..FaultsChange::default() }, output)
        }
        Fault::Cut { target, a, b } => cut(&target, &a, &b, output),
        Fault::Heal { target } => heal(&target, output),
    }
}

fn everywhere(target: &Target, change: &FaultsChange, output: Output) -> Result<(), Failure> {
    let cluster = Reachable::through(target)?;
    for agent in cluster.agents.values() {
        drop(agent.call::<FaultsDocument>(Method::PATCH, PATH, Some(change))?);
    }
    cluster.report("changed", output)
}

/// A cut needs one end only: an agent that cuts a peer off neither sends to it nor listens to it.
fn cut(target: &Target, a: &str, b: &str, output: Output) -> Result<(), Failure> {
    let this = Client::new(target)?;
    let [a, b] = [member(&this, a)?, member(&this, b)?];
    if a.id == b.id {
        return Err(Failure::value("b", &b.name, "another member than a"));
    }
    // Where this agent is one of the two, it also undoes the cut without having to reach anybody.
    let (end, other) = if b.is_self { (b, a) } else { (a, b) };
    let change = FaultsChange { cut: vec![other.id], ..FaultsChange::default() };
    if end.is_self {
        drop(this.call::<FaultsDocument>(Method::PATCH, PATH, Some(&change))?);
    } else {
        let cluster = Reachable::through(target)?;
        let agent = cluster.agents.get(&end.name).ok_or_else(|| {
            Failure::deadline(format!("{} did not say where it serves HTTP; name its agent with --agent", end.name))
        })?;
        drop(agent.call::<FaultsDocument>(Method::PATCH, PATH, Some(&change))?);
    }
    if !output.json {
        print::note(format!("nothing passes between {} and {}", end.name, other.name));
    }
    Ok(output.done()?)
}

/// This agent first: what it cut itself may be what keeps it from reaching the others.
fn heal(target: &Target, output: Output) -> Result<(), Failure> {
    drop(Client::new(target)?.call::<FaultsDocument>(Method::DELETE, PATH, None::<&FaultsChange>)?);
    let cluster = Reachable::through(target)?;
    for agent in cluster.agents.values() {
        drop(agent.call::<FaultsDocument>(Method::DELETE, PATH, None::<&FaultsChange>)?);
    }
    cluster.report("healed", output)
}

fn member(client: &Client, name: &str) -> Result<MemberDocument, Failure> {
    client.get(&format!("/v1/members/{}", percent::encode(name)))
}

/// The agents that answer, by name, and how many members were asked, as far as that is known for certain.
struct Reachable {
    agents: BTreeMap<String, Client>,
    asked: u64,
}

impl Reachable {
    fn through(target: &Target) -> Result<Self, Failure> {
        let this = Client::new(target)?;
        let mut cluster = Self { agents: BTreeMap::new(), asked: 0 };
        let path = format!("/v1/queries/info?{}", this.timeout_parameter());
        let mut answers = this.stream(Method::POST, &path, Vec::new())?;
        while let Some(event) = answers.next()? {
            match event.document()? {
                AnswerLine::Answer(answer) => {
                    let Ok(info) = serde_json::from_slice::<Info>(&answer.payload.bytes()) else { continue };
                    if let Some(agent) = info.http {
                        let client = Client::new(&Target { agent, ..target.clone() })?;
                        cluster.agents.insert(info.name, client);
                    }
                }
                AnswerLine::Done(done) => cluster.asked = done.asked.filter(|_| !done.estimated).unwrap_or(0),
            }
        }
        Ok(cluster)
    }

    fn report(&self, what: &str, output: Output) -> Result<(), Failure> {
        let agents = self.agents.len() as u64;
        if !output.json {
            print::note(format!("{what} at {}", print::count(agents, "agent")));
        }
        if agents < self.asked {
            let missing = print::count(self.asked - agents, "member");
            return Err(Failure::deadline(format!("{missing} did not answer; name them with --agent")));
        }
        Ok(output.done()?)
    }
}
