//! All agents: started, followed through their event streams, ended together.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::agent::{Agent, Ready, Report, ReportKind};
use crate::alarms::Alarms;
use crate::interrupt::Interrupt;
use crate::options::Options;
use crate::sighting::{Change, Line, Sighting};
use crate::{chance, note};

/// How long anything may take that is measured; past it the measurement fails.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// The agents of one cluster. Numbers of agents are never used again: the killed keep theirs.
#[derive(Debug)]
pub(crate) struct Cluster {
    agents: Vec<Agent>,
    /// Whom each agent knows to live, by id, itself included.
    known: Vec<BTreeSet<String>>,
    alarms: Alarms,
    rumor: PathBuf,
    key_file: Option<PathBuf>,
    interrupt: Interrupt,
    reports: Receiver<Report>,
    /// For agents yet to be started.
    sender: Sender<Report>,
}

/// How long a cluster took to form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Formation {
    /// Until all knew all, since the last process had been started.
    pub(crate) since_spawn: Duration,
    /// Likewise, since the last agent said that it is ready; zero if all knew all before.
    pub(crate) since_ready: Duration,
}

impl Cluster {
    /// Starts the first agent, then at once all others, which join through it, and waits until all know all.
    pub(crate) fn form(options: &Options, interrupt: &Interrupt) -> anyhow::Result<(Self, Formation)> {
        let (sender, reports) = channel();
        let (rumor, key_file, interrupt) = (options.rumor.clone(), options.key_file.clone(), interrupt.clone());
        let (agents, known, alarms) = (Vec::new(), Vec::new(), Alarms::default());
        let mut cluster = Self { agents, known, alarms, rumor, key_file, interrupt, reports, sender };
        cluster.spawn(None)?;
        cluster.wait("the first agent is ready", |cluster, _| cluster.agents[0].ready.is_some())?;
        let contact = cluster.ready(0).gossip.clone();
        for _ in 1..options.nodes {
            cluster.spawn(Some(&contact))?;
        }
        let done = cluster.wait("all know all", |cluster, _| cluster.do_all_know_all())?;
        let spawned = cluster.agents.iter().map(|agent| agent.spawned).max();
        let ready = cluster.agents.iter().filter_map(|agent| agent.ready.as_ref().map(|ready| ready.at)).max();
        let (Some(spawned), Some(ready)) = (spawned, ready) else { unreachable!("all are ready") };
        let formation = Formation { since_spawn: done - spawned, since_ready: done.saturating_duration_since(ready) };
        Ok((cluster, formation))
    }

    fn spawn(&mut self, contact: Option<&str>) -> anyhow::Result<usize> {
        let number = self.agents.len();
        self.agents.push(Agent::spawn(&self.rumor, self.key_file.as_deref(), number, contact, &self.sender)?);
        self.known.push(BTreeSet::new());
        Ok(number)
    }

    /// Starts an agent that joins through a random one, and waits until all know all.
    pub(crate) fn add(&mut self) -> anyhow::Result<()> {
        let contact = self.ready(self.pick()).gossip.clone();
        self.spawn(Some(&contact))?;
        self.wait("all know the new agent", |cluster, _| cluster.do_all_know_all())?;
        Ok(())
    }

    /// The living agents.
    pub(crate) fn living(&self) -> impl Iterator<Item = (usize, &Agent)> {
        self.agents.iter().enumerate().filter(|(_, agent)| agent.is_living())
    }

    /// A random living agent.
    pub(crate) fn pick(&self) -> usize {
        let living: Vec<usize> = self.living().map(|(number, _)| number).collect();
        living[chance::below(living.len())]
    }

    pub(crate) fn agent(&mut self, number: usize) -> &mut Agent {
        &mut self.agents[number]
    }

    /// Who an agent is; all are ready once the cluster has formed.
    pub(crate) fn ready(&self, number: usize) -> &Ready {
        self.agents[number].ready.as_ref().expect("the cluster has formed")
    }

    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    fn do_all_know_all(&self) -> bool {
        let mut living = BTreeSet::new();
        for (_, agent) in self.living() {
            let Some(ready) = &agent.ready else { return false };
            living.insert(ready.id.clone());
        }
        self.living().all(|(number, _)| living.is_subset(&self.known[number]))
    }

    /// Waits until something holds, which is asked after every line, and says when the line came that decided it.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&Self, &Sighting) -> bool,
    ) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + DEADLINE;
        while let Some(sighting) = self.next(deadline)? {
            if is_so(self, &sighting) {
                return Ok(sighting.at);
            }
        }
        let knowing = self.living().map(|(number, _)| self.known[number].len()).min();
        bail!("waited {} s until {what}; some agent knows {} members", DEADLINE.as_secs(), knowing.unwrap_or(0))
    }

    /// Follows the agents for a while.
    pub(crate) fn follow(&mut self, length: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + length;
        while self.next(deadline)?.is_some() {}
        Ok(())
    }

    /// Suspicions and deaths of living members since the last call.
    pub(crate) fn take_alarms(&mut self) -> Alarms {
        std::mem::take(&mut self.alarms)
    }

    /// The next line of any agent, or `None` when the deadline has passed.
    fn next(&mut self, deadline: Instant) -> anyhow::Result<Option<Sighting>> {
        loop {
            let patience = self.interrupt.patience(deadline)?;
            let Report { from, at, kind } = match self.reports.recv_timeout(patience) {
                Ok(report) => report,
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => return Ok(None),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => unreachable!("the cluster holds a sender"),
            };
            let agent = &self.agents[from];
            match kind {
                ReportKind::Line(text) => {
                    let line = Line::read(&text).with_context(|| format!("{} wrote {text:?}", agent.name))?;
                    let sighting = Sighting { from, at, line };
                    self.learn(&sighting)?;
                    return Ok(Some(sighting));
                }
                ReportKind::Said(text) => note(format!("{}: {}", agent.name, text.trim_end())),
                ReportKind::Ended => ensure!(!agent.is_living(), "{} ended by itself", agent.name),
            }
        }
    }

    fn learn(&mut self, sighting: &Sighting) -> anyhow::Result<()> {
        let Sighting { from, at, line } = sighting;
        let known = &mut self.known[*from];
        match line {
            Line::Ready { id, gossip, http } => {
                known.insert(id.clone());
                let http = http.parse().with_context(|| format!("{http} is no address"))?;
                self.agents[*from].ready = Some(Ready { id: id.clone(), gossip: gossip.clone(), http, at: *at });
            }
            Line::Snapshot { living } => {
                *known = living.iter().cloned().collect();
                self.alarms.gaps += 1;
            }
            Line::Change { change, member, name, incarnation, by } => {
                match change {
                    Change::Alive | Change::Suspected | Change::Refuted => drop(known.insert(member.clone())),
                    Change::Failed | Change::Gone => drop(known.remove(member)),
                }
                let is_of = |agent: &Agent| agent.ready.as_ref().is_some_and(|ready| ready.id == *member);
                if self.agents.iter().any(|agent| agent.is_living() && is_of(agent)) {
                    self.alarms.note(*change, &self.agents[*from].name, name, incarnation, by);
                }
            }
        }
        Ok(())
    }
}
