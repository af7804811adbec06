//! Why a member is held for what it is.

use std::collections::BTreeMap;

use rumormill::story::{Happening, Outlook, Step, Story};
use rumormill_core::{Member, MemberChange, NodeId, Wall};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::print;

/// Why an agent holds a member for what it is.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct WhyDocument {
    /// As it is shown, or was.
    pub(crate) name: String,
    /// 16 lowercase hex digits.
    pub(crate) id: String,
    /// `alive`, `suspect`, `dead` or `left`; absent if it is not listed any more.
    pub(crate) state: Option<String>,
    /// Since when, Unix seconds.
    pub(crate) since: Option<f64>,
    /// What happened to it lately, in order.
    pub(crate) steps: Vec<WhyStep>,
    /// What would change its state.
    pub(crate) next: WhyNext,
}

/// One thing that happened to a member.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct WhyStep {
    /// When, by the agent's clock, Unix seconds.
    pub(crate) at: f64,
    /// Who did it or said so.
    pub(crate) by: String,
    /// `probe_failed`, `suspected`, `accused`, `last_probe`, `answered`, `condemned`, `doubted`, `doubt_dismissed`, `contradicted`, or
    /// an event of members: `joined`, `updated`, `refuted`, `failed`, `left`, `removed`.
    pub(crate) what: String,
    /// The same as a sentence.
    pub(crate) detail: String,
}

/// What would change the state of a member.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct WhyNext {
    /// `suspected`, `dead`, `forgotten`, `myself` or `gone`.
    pub(crate) what: String,
    /// When, Unix seconds; absent if nobody knows.
    pub(crate) at: Option<f64>,
    /// The same as a sentence.
    pub(crate) detail: String,
}

impl WhyDocument {
    /// With ids put into words by the members that are listed.
    pub(crate) fn new(story: &Story, members: &[Member]) -> Self {
        let mut names: BTreeMap<NodeId, &str> = members.iter().map(|member| (member.id, &*member.name)).collect();
        names.insert(story.id, &story.name);
        let name = |id: NodeId| names.get(&id).map_or_else(|| id.to_string(), |&name| name.to_owned());
        let step = |step: &Step| WhyStep {
            at: step.at.as_secs_f64(),
            by: name(step.by),
            what: step.what.as_str().to_owned(),
            detail: detail(step.what, &name(step.by)),
        };
        Self {
            name: story.name.clone(),
            id: story.id.to_string(),
            state: story.state.map(|state| state.as_str().to_owned()),
            since: story.since.map(Wall::as_secs_f64),
            steps: story.steps.iter().map(step).collect(),
            next: story.outlook.into(),
        }
    }
}

fn detail(what: Happening, by: &str) -> String {
    match what {
        Happening::ProbeFailed { pings, helpers, nacks } => {
            let pings = print::count(pings.into(), "ping");
            let helped = match helpers {
                0 => "nobody else was there to ask".to_owned(),
                1.. => format!("of {helpers} others asked, {nacks} said that they had none either"),
            };
            format!("{by} had no ack to {pings}; {helped}")
        }
        Happening::Suspected => format!("suspect, by {by}"),
        Happening::Accused { confirmed: 0, .. } => format!("accused by {by}, whose own probe failed"),
        Happening::Accused { confirmed, wanted } => {
            format!("accused by {by} too, whose own probe failed: confirmation {confirmed} of {wanted} that are wanted")
        }
        Happening::LastProbe => format!("its time to contradict is nearly over: probed once more by {by}"),
        Happening::Answered => format!("it answered a probe of {by}"),
        Happening::Condemned => format!("it did not contradict, nor answer the last probe: declared dead by {by}"),
        Happening::Doubted => format!("gone, says {by}; that is not believed before it was probed"),
        Happening::DoubtDismissed => format!("it answered {by}, so it is not dead"),
        Happening::Contradicted(state) => format!("{by} had it for {}, which it contradicted", state.as_str()),
        Happening::Changed { change, incarnation } => changed(change, &incarnation.to_string(), by),
    }
}

fn changed(change: MemberChange, incarnation: &str, by: &str) -> String {
    match change {
        MemberChange::Joined => format!("alive again with incarnation {incarnation}, heard from {by}"),
        MemberChange::Updated => format!("started anew with incarnation {incarnation}, heard from {by}"),
        MemberChange::Refuted => format!("it contradicted with incarnation {incarnation}, heard from {by}"),
        MemberChange::Suspected => format!("suspect, by {by}"),
        MemberChange::Failed => format!("dead, by {by}"),
        MemberChange::Left => format!("it said goodbye, heard from {by}"),
        MemberChange::Removed => format!("removed by an operator, heard from {by}"),
        MemberChange::Revoked => format!("its certificate was revoked by the authority, heard by {by}"),
        MemberChange::Replaced => format!("its name is another's now, heard from {by}"),
    }
}

impl From<Outlook> for WhyNext {
    fn from(outlook: Outlook) -> Self {
        let (what, at, detail) = match outlook {
            Outlook::Probed => ("suspected", None, "a probe that it does not answer would make it suspect".to_owned()),
            Outlook::Dead { at } => {
                let moment = print::time_of_day(at.as_secs_f64());
                let detail = format!(
                    "unless it contradicts it is probed a last time or dead at {moment}, sooner if others confirm"
                );
                ("dead", Some(at), detail)
            }
            Outlook::Forgotten { at } => {
                let left = print::age(at.as_secs_f64() - print::now());
                let detail = format!(
                    "a claim of its own with a higher incarnation would bring it back; it is forgotten in {left}"
                );
                ("forgotten", Some(at), detail)
            }
            Outlook::Myself => ("myself", None, "this is the agent itself".to_owned()),
            Outlook::Revoked => (
                "revoked",
                None,
                "nothing: its certificate is revoked; it would have to be admitted with a new key".to_owned(),
            ),
            Outlook::Gone => ("gone", None, "it is not listed any more, and would have to join again".to_owned()),
        };
        Self { what: what.to_owned(), at: at.map(Wall::as_secs_f64), detail }
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::{Incarnation, State};

    use super::*;

    #[test]
    fn a_story_reads_as_sentences_with_the_names_of_members() {
        let at = |second: u64| Wall::from_micros(second * 1_000_000);
        let step = |second, by, what| Step { at: at(second), by: NodeId(by), what };
        let incarnation = Incarnation::of_boot(2);
        let story = Story {
            id: NodeId(7),
            name: "n7".to_owned(),
            state: Some(State::Alive),
            since: Some(at(9)),
            steps: vec![
                step(1, 5, Happening::ProbeFailed { pings: 4, helpers: 3, nacks: 2 }),
                step(2, 5, Happening::Accused { confirmed: 1, wanted: 3 }),
                step(3, 7, Happening::Changed { change: MemberChange::Refuted, incarnation }),
            ],
            outlook: Outlook::Probed,
        };
        let document = WhyDocument::new(&story, &[]);
        let said: Vec<&str> = document.steps.iter().map(|step| &*step.detail).collect();
        let five = NodeId(5).to_string();
        assert_eq!(
            said,
            [
                format!("{five} had no ack to 4 pings; of 3 others asked, 2 said that they had none either"),
                format!("accused by {five} too, whose own probe failed: confirmation 1 of 3 that are wanted"),
                "it contradicted with incarnation 2, heard from n7".to_owned(),
            ]
        );
        let words: Vec<&str> = document.steps.iter().map(|step| &*step.what).collect();
        assert_eq!(words, ["probe_failed", "accused", "refuted"]);
        assert_eq!((&*document.next.what, document.next.at), ("suspected", None));
    }
}
