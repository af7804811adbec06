//! All agents of a `rumor dev`: started one after the other, watched until they know each other, stopped together.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::child::{self, Node, NotReady, Plan, Report, ReportKind};
use super::orders::Wanted;
use crate::documents::{MemberDocument, MemberEvent};
use crate::failure::{Failure, Kind};
use crate::print;

/// A block of ports is this wide; an agent uses the first two.
const BLOCK: u16 = 10;
/// How many contacts a new agent gets: the first agent may be the one that is killed.
const CONTACTS_MAX: usize = 3;
/// How long children may take to end before they are left alone.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) nodes: Vec<Node>,
    last_started: Instant,
    /// Whom each agent knows as alive, by id; itself included.
    known: Vec<BTreeSet<String>>,
    pub(super) plan: Plan,
    /// The faults that it keeps up.
    pub(super) wanted: Wanted,
}

impl Fleet {
    /// Starts the agents. Each joins through those that are there.
    pub(super) async fn start(plan: Plan) -> Result<Self, Failure> {
        let (count, http_port) = (plan.flags.nodes, plan.flags.http_port);
        let (nodes, known, wanted) = (Vec::new(), Vec::new(), Wanted::default());
        let mut fleet = Self { nodes, last_started: Instant::now(), known, plan, wanted };
        let mut blocks = Blocks { http_port, next: 0 };
        while fleet.nodes.len() < usize::from(count) {
            let index = fleet.nodes.len();
            let name = format!("n{}", index + 1);
            let ports = blocks.take()?;
            let contacts: Vec<String> =
                fleet.nodes.iter().take(CONTACTS_MAX).map(|node| node.ready.gossip.clone()).collect();
            let command = fleet.plan.command(&name, ports, &contacts)?;
            match child::start(command, index, &fleet.plan.reports).await {
                Ok(node) => {
                    fleet.known.push(BTreeSet::from([node.ready.id.clone()]));
                    fleet.nodes.push(node);
                    fleet.last_started = Instant::now();
                }
                Err(NotReady::PortTaken(address)) if http_port != 0 => {
                    print::note(format!("{address} is taken; {name} goes to the next block of ports"));
                }
                Err(NotReady::PortTaken(address)) => {
                    return Err(Failure::value("http_port", address, "a port that is free"));
                }
                Err(NotReady::Failed(failure)) => return Err(failure),
            }
        }
        Ok(fleet)
    }

    /// Who is where.
    pub(super) fn table(&self) -> Vec<String> {
        let rows: Vec<Vec<String>> = self
            .nodes
            .iter()
            .map(|Node { ready, .. }| {
                let http = ready.http.clone().unwrap_or_default();
                vec![ready.name.clone(), ready.pid.to_string(), ready.gossip.clone(), http]
            })
            .collect();
        print::table(&["NAME", "PID", "GOSSIP (UDP+TCP)", "HTTP"], &rows)
    }

    /// Waits until every agent knows every other, and says how long that took from the last start.
    pub(super) async fn until_all_know_all(&mut self, hear: &mut mpsc::Receiver<Report>) -> Result<Duration, Failure> {
        self.until_all_know(self.nodes.len(), hear).await
    }

    /// Waits until every agent has a neighbour, which is all that partial views promise.
    pub(super) async fn until_all_have_neighbours(
        &mut self,
        hear: &mut mpsc::Receiver<Report>,
    ) -> Result<Duration, Failure> {
        self.until_all_know(self.nodes.len().min(2), hear).await
    }

    async fn until_all_know(&mut self, count: usize, hear: &mut mpsc::Receiver<Report>) -> Result<Duration, Failure> {
        let mut last = self.last_started;
        while self.known.iter().any(|known| known.len() < count) {
            let Some(report) = hear.recv().await else { break };
            match report.kind {
                ReportKind::Event(event) => {
                    self.learn(report.from, &event);
                    last = last.max(report.at);
                }
                ReportKind::Said(line) => print::note(line),
                // Who orders something so early hears nothing, and may ask again.
                ReportKind::Ordered(..) => {}
                ReportKind::Ended(_) => {
                    let name = &self.nodes[report.from].ready.name;
                    return Err(Failure::new(Kind::No, "child", format!("{name} ended before all knew each other")));
                }
            }
        }
        Ok(last.duration_since(self.last_started))
    }

    fn learn(&mut self, from: usize, event: &MemberEvent) {
        let known = &mut self.known[from];
        let mut note = |member: &MemberDocument| match member.state.as_str() {
            "alive" | "suspect" => drop(known.insert(member.id.clone())),
            _ => drop(known.remove(&member.id)),
        };
        match event {
            MemberEvent::Snapshot { members, .. } => members.iter().for_each(note),
            MemberEvent::Change { member, .. } => note(member),
            MemberEvent::Missed { .. } => {}
        }
    }

    /// The agents whose processes run.
    pub(super) fn running(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.ended.is_none())
    }

    /// Closes the pipe that each child holds, which ends it, and waits for their ends.
    pub(super) async fn stop(&mut self, hear: &mut mpsc::Receiver<Report>) {
        for node in &mut self.nodes {
            node.lifeline = None;
        }
        self.wake_all();
        let all_ended = async {
            while self.running().next().is_some() {
                let Some(report) = hear.recv().await else { return };
                if matches!(report.kind, ReportKind::Ended(_)) {
                    self.nodes[report.from].ended = Some(report.at);
                }
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, all_ended).await.is_err() {
            print::note("some agents take their time to end; nobody waits for them");
        }
    }
}

/// Which ports are tried next.
struct Blocks {
    http_port: u16,
    next: u16,
}

impl Blocks {
    /// The gossip and the HTTP port of the next block; zeros where the system chooses.
    fn take(&mut self) -> Result<(u16, u16), Failure> {
        if self.http_port == 0 {
            return Ok((0, 0));
        }
        let http = BLOCK.checked_mul(self.next).and_then(|offset| self.http_port.checked_add(offset));
        self.next += 1;
        let http = http.ok_or_else(|| Failure::value("http_port", self.http_port, "lower: no free block was left"))?;
        Ok((http - 1, http))
    }
}
