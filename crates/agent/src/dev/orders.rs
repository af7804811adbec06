//! What a `rumor dev` does when it is ordered to: faults on purpose, to watch what comes of them.

use std::collections::BTreeSet;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ureq::http::Method;

use super::CHILD_TIMEOUT;
use super::child::{self, NotReady};
use super::control::Answer;
use super::fleet::Fleet;
use crate::cli::Target;
use crate::client::Client;
use crate::documents::{DevDocument, DevNode, DevOrder, DevState, FaultsChange, FaultsDocument, Problem};
use crate::failure::Failure;

/// The faults that all agents are to have, also those that start again.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) loss: f64,
    groups: Vec<Vec<String>>,
}

impl Fleet {
    /// Does what is ordered, and says what runs then.
    pub(super) async fn obey(&mut self, order: DevOrder) -> Answer {
        match order {
            DevOrder::Show {} => {}
            DevOrder::Pause { node } => self.pause(&node, DevState::Running)?,
            DevOrder::Resume { node } => self.pause(&node, DevState::Paused)?,
            DevOrder::Kill { node } => {
                let index = self.named(&node)?;
                self.signal(index, Signal::SIGKILL)?;
            }
            DevOrder::Restart { node } => self.restart(&node).await?,
            DevOrder::Loss { share } => {
                if !(0.0..=1.0).contains(&share) {
                    return Err(Box::new(Problem::value("share", share, "from 0 to 1")));
                }
                self.want(Wanted { loss: share, ..self.wanted.clone() }).await?;
            }
            DevOrder::Cut { groups } => {
                self.check_groups(&groups)?;
                self.want(Wanted { groups, ..self.wanted.clone() }).await?;
            }
            DevOrder::Heal {} => self.want(Wanted::default()).await?,
        }
        Ok(self.document())
    }

    /// Lets what stands still go on, which could not end otherwise.
    pub(super) fn wake_all(&mut self) {
        for index in 0..self.nodes.len() {
            if self.state(index) == DevState::Paused {
                // One that has ended meanwhile needs no waking.
                self.signal(index, Signal::SIGCONT).ok();
            }
        }
    }

    fn document(&self) -> DevDocument {
        let node = |index: usize| {
            let ready = &self.nodes[index].ready;
            DevNode {
                name: ready.name.clone(),
                id: ready.id.clone(),
                pid: ready.pid,
                http: ready.http.clone(),
                state: self.state(index),
            }
        };
        let nodes = (0..self.nodes.len()).map(node).collect();
        DevDocument { nodes, loss: self.wanted.loss, groups: self.wanted.groups.clone() }
    }

    fn state(&self, index: usize) -> DevState {
        let node = &self.nodes[index];
        match (node.ended, node.is_paused) {
            (Some(_), _) => DevState::Ended,
            (None, true) => DevState::Paused,
            (None, false) => DevState::Running,
        }
    }

    fn named(&self, name: &str) -> Result<usize, Box<Problem>> {
        let found = self.nodes.iter().position(|node| node.ready.name == name);
        found.ok_or_else(|| refusal("absent", format!("rumor dev runs no agent {name}")))
    }

    fn signal(&self, index: usize, signal: Signal) -> Result<(), Box<Problem>> {
        let ready = &self.nodes[index].ready;
        let pid = i32::try_from(ready.pid).ok().filter(|_| self.state(index) != DevState::Ended);
        let Some(pid) = pid else { return Err(refusal("ended", format!("{} has ended", ready.name))) };
        kill(Pid::from_raw(pid), signal).map_err(|error| refusal("system", format!("{}: {error}", ready.name)))
    }

    /// Lets one that runs stand still, or one that stands still go on.
    fn pause(&mut self, name: &str, from: DevState) -> Result<(), Box<Problem>> {
        let index = self.named(name)?;
        if self.state(index) != from {
            let is = if from == DevState::Running { "does not run" } else { "is not paused" };
            return Err(refusal("state", format!("{name} {is}")));
        }
        let is_pause = from == DevState::Running;
        self.signal(index, if is_pause { Signal::SIGSTOP } else { Signal::SIGCONT })?;
        self.nodes[index].is_paused = is_pause;
        Ok(())
    }

    /// The same member at the same addresses, from what its directory holds.
    async fn restart(&mut self, name: &str) -> Result<(), Box<Problem>> {
        let index = self.named(name)?;
        if self.state(index) != DevState::Ended {
            return Err(refusal("state", format!("{name} has not ended; kill it first")));
        }
        let ready = &self.nodes[index].ready;
        let ports = (port_of(&ready.gossip), ready.http.as_deref().map_or(0, port_of));
        let contacts: Vec<String> = self.running().map(|(_, node)| node.ready.gossip.clone()).collect();
        let command = self.plan.command(name, ports, &contacts);
        let failed = |detail: String| refusal("child", detail);
        let command = command.map_err(|error| failed(error.to_string()))?;
        self.nodes[index] = child::start(command, index, &self.plan.reports).await.map_err(|error| match error {
            NotReady::PortTaken(address) => failed(format!("{address} is taken meanwhile")),
            NotReady::Failed(failure) => failed(failure.message().to_owned()),
        })?;
        self.apply(&[index]).await
    }

    fn check_groups(&self, groups: &[Vec<String>]) -> Result<(), Box<Problem>> {
        let mut seen = BTreeSet::new();
        for name in groups.iter().flatten() {
            self.named(name)?;
            if !seen.insert(name) {
                return Err(Box::new(Problem::value("groups", name, "each agent in one group at most")));
            }
        }
        Ok(())
    }

    async fn want(&mut self, wanted: Wanted) -> Result<(), Box<Problem>> {
        self.wanted = wanted;
        let running: Vec<usize> = (0..self.nodes.len()).filter(|&i| self.state(i) == DevState::Running).collect();
        self.apply(&running).await
    }

    /// Gives agents the faults that are wanted, and no others. One that stands still is left as it is.
    async fn apply(&self, indexes: &[usize]) -> Result<(), Box<Problem>> {
        let changes = indexes.iter().filter_map(|&index| {
            let ready = &self.nodes[index].ready;
            Some((ready.http.clone()?, self.wanted.of(&ready.name)))
        });
        let changes: Vec<_> = changes.collect();
        let told = move || changes.into_iter().try_for_each(|(agent, change)| give(agent, &change));
        // It waits for answers, and meanwhile these agents may report.
        let done = tokio::task::spawn_blocking(told).await;
        let done = done.map_err(|error| refusal("system", error.to_string()))?;
        done.map_err(|failure| refusal(failure.code(), failure.message()))
    }
}

impl Wanted {
    /// What one agent is told: from whom it is cut off is whoever is in another group.
    fn of(&self, name: &str) -> FaultsChange {
        let is_other = |group: &&Vec<String>| !group.iter().any(|other| other == name);
        let is_grouped = self.groups.iter().flatten().any(|other| other == name);
        let others = self.groups.iter().filter(is_other).flatten();
        let cut = if is_grouped { others.cloned().collect() } else { Vec::new() };
        FaultsChange { loss: Some(self.loss), cut, ..FaultsChange::default() }
    }
}

fn give(agent: String, change: &FaultsChange) -> Result<(), Failure> {
    let client = Client::new(&Target { agent, timeout: CHILD_TIMEOUT, token_file: None, ca_file: None })?;
    drop(client.call::<FaultsDocument>(Method::DELETE, "/v1/faults", None::<&()>)?);
    drop(client.call::<FaultsDocument>(Method::PATCH, "/v1/faults", Some(change))?);
    Ok(())
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
}

fn refusal(code: &str, detail: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(code, detail))
}
