//! The voters that the settings name.

use std::time::Duration;

use rumormill::{Closed, Member, NodeId, State};

use super::{Agent, find};

/// How often it is looked whether all of them are there.
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// Names them as soon as all are members that live, unless voters have been named before: then the settings say nothing new.
/// Every agent with these settings does so, and all name the same.
pub(crate) async fn name_voters(agent: Agent, names: Vec<String>) -> Result<(), Closed> {
    let registers = agent.cluster.registers();
    let mut looks = tokio::time::interval(LOOKED_EVERY);
    loop {
        looks.tick().await;
        if registers.status().await?.foundings.iter().any(|founding| !founding.is_dropped) {
            return Ok(());
        }
        let members = agent.cluster.members().await?;
        let Some(voters) = names.iter().map(|name| living(&members, name)).collect::<Option<Vec<NodeId>>>() else {
            continue;
        };
        match registers.found(voters).await {
            Ok(()) => tracing::info!("named as voters on registers: {}", names.join(", ")),
            Err(error) => tracing::error!("agreement_voters cannot be named: {error}"),
        }
        return Ok(());
    }
}

fn living(members: &[Member], name: &str) -> Option<NodeId> {
    find(members, name).filter(|member| member.state == State::Alive).map(|member| member.id)
}
