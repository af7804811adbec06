//! What the agents tell, each for itself, as one story: what changed, when it was first seen, and how many know.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::child::{Report, ReportKind};
use super::fleet::Fleet;
use crate::documents::{MemberDocument, MemberEvent};
use crate::failure::Failure;
use crate::story::{self, Words};
use crate::{print, story::line};

/// How long news may take to reach all before it is told how many know.
const SPREAD_MAX: Duration = Duration::from_secs(1);

/// One thing that happened to one member: id, event, incarnation.
type Key = (String, String, String);

/// Something that happened, until all know.
#[derive(Debug)]
struct Pending {
    first: Instant,
    at: f64,
    member: Box<MemberDocument>,
    words: Words,
    /// Whoever told it.
    knowers: BTreeSet<usize>,
}

#[derive(Debug, Default)]
pub(super) struct News {
    pending: BTreeMap<Key, Pending>,
    told: BTreeSet<Key>,
}

impl News {
    /// Tells what happens until the last process has ended.
    pub(super) async fn tell(mut self, fleet: &mut Fleet, hear: &mut mpsc::Receiver<Report>) -> Result<(), Failure> {
        while fleet.running().next().is_some() {
            let due = self.pending.values().map(|pending| pending.first + SPREAD_MAX).min();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                report = hear.recv() => match report {
                    Some(Report { kind: ReportKind::Ordered(order, answer), .. }) => {
                        // Whoever asked may have gone.
                        answer.send(fleet.obey(order).await).ok();
                    }
                    Some(report) => self.on_report(fleet, report)?,
                    None => break,
                },
                () = wait => {}
            }
            self.tell_what_is_due(fleet)?;
        }
        print::note("the last agent has ended");
        Ok(())
    }

    fn on_report(&mut self, fleet: &mut Fleet, Report { from, at, kind }: Report) -> Result<(), Failure> {
        match kind {
            ReportKind::Event(MemberEvent::Change { event, at: seen, by, member }) => {
                self.on_change(from, at, Change { event, seen, by, member })?;
            }
            ReportKind::Event(MemberEvent::Snapshot { .. } | MemberEvent::Missed { .. }) => {}
            ReportKind::Ordered(..) => unreachable!("orders are done where reports are heard"),
            ReportKind::Said(line) => print::note(line),
            ReportKind::Ended(status) => {
                let node = &mut fleet.nodes[from];
                node.ended = Some(at);
                let words = Words { state: "ended", detail: how_ended(node.ready.pid, status) };
                print::line(line(print::now(), &node.ready.name, &words))?;
            }
        }
        Ok(())
    }

    fn on_change(&mut self, from: usize, at: Instant, change: Change) -> Result<(), Failure> {
        let Change { event, seen, by, member } = change;
        if event == "removed" && member.view == "active" {
            // A neighbour of a partial view gave way to another: that is no news.
            return Ok(());
        }
        let key = (member.id.clone(), event.clone(), member.incarnation.clone());
        if let Some(pending) = self.pending.get_mut(&key) {
            pending.knowers.insert(from);
            return Ok(());
        }
        // Who contradicts a suspicion is updated as well; that is one thing to tell.
        let contradicted = (key.0.clone(), "refuted".to_owned(), key.2.clone());
        if !self.told.insert(key.clone()) || (event == "updated" && self.told.contains(&contradicted)) {
            return Ok(());
        }
        let words = story::of_change(&event, &by, &member);
        if matches!(event.as_str(), "joined" | "failed" | "left") {
            let knowers = BTreeSet::from([from]);
            self.pending.insert(key, Pending { first: at, at: seen, member, words, knowers });
            return Ok(());
        }
        Ok(print::line(line(seen, &member.name, &words))?)
    }

    fn tell_what_is_due(&mut self, fleet: &Fleet) -> Result<(), Failure> {
        let mut told = Vec::new();
        for (key, pending) in &self.pending {
            let others = fleet.running().filter(|(_, node)| node.ready.id != pending.member.id);
            let others: BTreeSet<usize> = others.map(|(index, _)| index).collect();
            let know = others.intersection(&pending.knowers).count();
            if know == others.len() || pending.first.elapsed() >= SPREAD_MAX {
                told.push((key.clone(), know, others.len()));
            }
        }
        for (key, know, others) in told {
            if let Some(pending) = self.pending.remove(&key) {
                pending.tell(fleet, know, others)?;
            }
        }
        Ok(())
    }
}

/// A line of one agent.
struct Change {
    event: String,
    seen: f64,
    by: String,
    member: Box<MemberDocument>,
}

impl Pending {
    fn tell(self, fleet: &Fleet, know: usize, others: usize) -> Result<(), Failure> {
        let Self { first, at, member, mut words, .. } = self;
        let mut parts = Vec::new();
        if words.state == "dead" {
            let node = fleet.nodes.iter().find(|node| node.ready.id == member.id);
            parts.push(match node.and_then(|node| node.ended) {
                Some(ended) => format!("{:.1} s after its process ended", first.duration_since(ended).as_secs_f64()),
                None => "though its process runs".to_owned(),
            });
        } else {
            parts.push(words.detail);
        }
        let all =
            if know == others { format!("known to all {others}") } else { format!("known to {know} of {others}") };
        parts.push(all);
        words.detail = parts.join("; ");
        Ok(print::line(line(at, &member.name, &words))?)
    }
}

fn how_ended(pid: u32, status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return format!("process {pid}") };
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("process {pid}, by signal {signal}"),
        (None, Some(code)) => format!("process {pid}, exit code {code}"),
        (None, None) => format!("process {pid}"),
    }
}
