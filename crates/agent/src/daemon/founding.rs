//! Whom people name as voters, and the voters that the settings name.

use std::collections::BTreeSet;
use std::time::Duration;

use rumormill::{Closed, Member, NodeId, RequestError, State, Tags};

use super::Agent;

/// How often it is looked whether all of them are there.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// How long those who are to vote have to say whether they have a data directory.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Names them as soon as all are members that live, unless voters have been named before: then the settings say nothing new.
/// Every agent with these settings does so, and all name the same. What stands against it is said once, and may pass.
pub(crate) async fn name_voters(agent: Agent, names: Vec<String>) -> Result<(), Closed> {
    let registers = agent.cluster.registers();
    let mut looks = tokio::time::interval(LOOKED_EVERY);
    let mut said = None;
    loop {
        looks.tick().await;
        if registers.status().await?.foundings.iter().any(|founding| !founding.is_dropped) {
            return Ok(());
        }
        let members = agent.cluster.members().await?;
        let complaint = match names.iter().map(|name| living(&members, name)).collect::<Result<Vec<_>, _>>() {
            Ok(voters) => match voters.into_iter().collect::<Option<Vec<NodeId>>>() {
                Some(voters) => name(&agent, voters).await?,
                None => None,
            },
            Err(complaint) => Some(complaint),
        };
        if complaint.is_some() && complaint != said {
            tracing::error!("agreement_voters cannot be named: {}", complaint.as_deref().unwrap_or_default());
        }
        said = complaint;
    }
}

/// Names voters; what stands against it.
async fn name(agent: &Agent, voters: Vec<NodeId>) -> Result<Option<String>, Closed> {
    let named = match without_disk(agent, &voters).await {
        Ok(None) => agent.cluster.registers().found(voters).await,
        Ok(Some(member)) => return Ok(Some(format!("{member} has no data directory"))),
        Err(error) => Err(error),
    };
    match named {
        Ok(()) => {
            tracing::info!("voters on registers are named");
            Ok(None)
        }
        Err(RequestError::Closed(closed)) => Err(closed),
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// A member that lives, if it is there.
fn living(members: &[Member], name: &str) -> Result<Option<NodeId>, String> {
    let mut found = meant(members, name);
    found.retain(|member| member.state == State::Alive);
    match &found[..] {
        [] => Ok(None),
        [member] => Ok(Some(member.id)),
        several => Err(format!("{name} may be {}", choices(several))),
    }
}

/// Whom a name or an id means: all who claim that name, one of whom has it while the others are shown with a suffix.
pub(crate) fn meant<'a>(members: &'a [Member], name_or_id: &str) -> Vec<&'a Member> {
    let by_id = members.iter().find(|member| member.id.to_string() == name_or_id);
    let claims_it = |member: &&Member| {
        let suffix = member.name.strip_prefix(name_or_id).and_then(|rest| rest.strip_prefix('~'));
        member.name == name_or_id || suffix.is_some_and(|suffix| member.id.to_string().starts_with(suffix))
    };
    by_id.map_or_else(|| members.iter().filter(claims_it).collect(), |member| vec![member])
}

/// Several members, to choose from.
pub(crate) fn choices(members: &[&Member]) -> String {
    let choices: Vec<String> =
        members.iter().map(|Member { id, name, state, .. }| format!("{id} ({name}, {})", state.as_str())).collect();
    choices.join(" or ")
}

/// The name of one of these that says that it has no data directory: it would never join, and the others wait for it, who can join
/// one founding in their life. Who does not answer in time may have one.
pub(crate) async fn without_disk(agent: &Agent, voters: &[NodeId]) -> Result<Option<String>, RequestError> {
    let mut open: BTreeSet<NodeId> = voters.iter().copied().collect();
    let mut answers = agent.cluster.query("info", Vec::new(), Tags::new(), ANSWERED_WITHIN).await?;
    while !open.is_empty()
        && let Some(answer) = answers.next().await
    {
        let is_named = open.remove(&answer.from);
        let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        if is_named && info["durable"] == false {
            return Ok(Some(answer.name));
        }
    }
    Ok(None)
}
