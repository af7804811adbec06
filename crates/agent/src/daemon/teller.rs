//! What happens to the node, told in the log, and with `--json` on stdout.

use rumormill::{Event, EventKind, Events, Warning};
use rumormill_core::{Member, MemberChange, duration};
use tokio::io::{AsyncWriteExt, Stdout};

use super::Agent;
use crate::documents::{MemberEvent, Ready};
use crate::story;

/// Tells until the node has stopped. Whoever reads stdout may be slow without slowing the node.
pub(super) async fn tell(agent: Agent, mut events: Events, json: bool) {
    let mut out = json.then(tokio::io::stdout);
    write(&mut out, &Ready::new(vec![agent.ready()])).await;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                log(&event);
                if let Some(line) = document(&event) {
                    write(&mut out, &line).await;
                }
            }
            Err(lagged) => {
                tracing::warn!("{lagged}; what follows begins with all members as they are now");
                let Ok(members) = agent.cluster.members().await else { return };
                write(&mut out, &MemberEvent::snapshot(&members)).await;
            }
        }
    }
}

/// The line of an event that is about members.
pub(crate) fn document(event: &Event) -> Option<MemberEvent> {
    let EventKind::Member { change, by_name, member, .. } = &event.kind else { return None };
    Some(MemberEvent::Change {
        event: change.as_str().to_owned(),
        at: event.at.as_secs_f64(),
        by: by_name.clone(),
        member: Box::new((&**member).into()),
    })
}

/// Writes a line to stdout; once nobody reads it any more, nothing is written.
async fn write(out: &mut Option<Stdout>, document: &impl serde::Serialize) {
    let (Some(stdout), Ok(mut line)) = (out.as_mut(), serde_json::to_vec(document)) else { return };
    line.push(b'\n');
    if stdout.write_all(&line).await.is_err() || stdout.flush().await.is_err() {
        *out = None;
    }
}

fn log(event: &Event) {
    match &event.kind {
        EventKind::Started { boot } => tracing::debug!("speaks from now on; start {boot} of this identity"),
        EventKind::Member { change, by_name, member, .. } => log_change(*change, by_name, member),
        EventKind::ContactFailed { contact, reason, retry_after } => {
            tracing::warn!("contact {contact}: {reason}; it is tried again in {}", duration::format(*retry_after));
        }
        EventKind::Warning(warning) => log_warning(warning),
        EventKind::Stopped { reason } => tracing::info!("the node has stopped: {reason}"),
    }
}

fn log_change(change: MemberChange, by: &str, member: &Member) {
    let words = story::of_change(change.as_str(), by, &member.into());
    match change {
        MemberChange::Suspected | MemberChange::Failed | MemberChange::Revoked => {
            tracing::warn!("{} is {words}", member.name);
        }
        MemberChange::Joined
        | MemberChange::Updated
        | MemberChange::Refuted
        | MemberChange::Left
        | MemberChange::Removed
        | MemberChange::Replaced => tracing::info!("{} is {words}", member.name),
    }
}

fn log_warning(warning: &Warning) {
    tracing::warn!("{warning}");
}
