//! Who votes on registers.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use rumormill::registers::{AgreementStatus, Configuration, FoundingId, RegisterError};
use rumormill_core::{Member, NodeId, Refusal, State as MemberState};

use super::AppState;
use super::members::Deadline;
use super::problem::Refused;
use super::registers::unknown;
use crate::daemon::{choices, meant, without_disk};
use crate::documents::{AgreementDocument, Done, Problem, VoterDocument, VotersChange};

/// Who votes, and how that stands as this agent knows it
#[utoipa::path(get, path = "/v1/agreement", responses((status = 200, body = AgreementDocument)))]
pub(super) async fn status(State(app): State<AppState>) -> Result<Json<AgreementDocument>, Refused> {
    let status = app.agent.cluster.registers().status().await?;
    let members = app.agent.cluster.members().await?;
    Ok(Json(document(&status, &members)))
}

fn document(status: &AgreementStatus, members: &[Member]) -> AgreementDocument {
    let voters = status.configuration.iter().flat_map(|configuration| configuration.voters.keys());
    let voter = |id: &NodeId| VoterDocument {
        name: name_of(members, *id),
        id: id.to_string(),
        reachable: members.iter().any(|member| member.id == *id && member.state == MemberState::Alive),
        heard_ago: status.heard.get(id).map(std::time::Duration::as_secs_f64),
    };
    let mut voters: Vec<VoterDocument> = voters.map(voter).collect();
    voters.sort_by(|a, b| a.name.cmp(&b.name));
    let is_changing = |configuration: &Configuration| configuration.previous.is_some();
    AgreementDocument {
        epoch: status.configuration.as_ref().map_or(0, |configuration| configuration.number),
        registers: status.registers as u64,
        quorum: if voters.is_empty() { 0 } else { voters.len() as u64 / 2 + 1 },
        changing: status.configuration.as_ref().is_some_and(is_changing),
        refused: refused(status, members),
        stopped: status.is_stopped,
        foundings: status.foundings.iter().map(Into::into).collect(),
        voters,
    }
}

/// Why no register can be used.
fn refused(status: &AgreementStatus, members: &[Member]) -> Option<String> {
    if status.configuration.is_some() {
        return None;
    }
    let mut waiting = status.foundings.iter().filter(|founding| !founding.is_dropped);
    let Some(founding) = waiting.next() else { return Some("no voters were named yet".to_owned()) };
    let missing: Vec<String> =
        founding.voters.iter().filter(|id| !founding.joined.contains(id)).map(|id| name_of(members, *id)).collect();
    if missing.is_empty() {
        return Some("voters were named twice, apart from each other; drop one of the foundings".to_owned());
    }
    Some(format!("not all voters have joined yet (each needs a data directory); missing: {}", missing.join(", ")))
}

fn name_of(members: &[Member], id: NodeId) -> String {
    members.iter().find(|member| member.id == id).map_or_else(|| id.to_string(), |member| member.name.clone())
}

/// Name the first voters, once in the life of a cluster, by name or id
#[utoipa::path(post, path = "/v1/agreement/init", request_body = VotersChange,
    responses((status = 200, body = AgreementDocument), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub(super) async fn init(
    State(app): State<AppState>,
    Json(change): Json<VotersChange>,
) -> Result<Json<AgreementDocument>, Refused> {
    let members = app.agent.cluster.members().await?;
    let voters = ids(&members, "voters", &change.voters)?;
    have_disks(&app, "voters", &voters).await?;
    app.agent.cluster.registers().found(voters).await?;
    status(State(app)).await
}

/// Let others vote, by name or id
#[utoipa::path(post, path = "/v1/agreement/voters", request_body = VotersChange, params(("timeout" = Option<String>, Query)),
    responses((status = 200, body = AgreementDocument), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn change(
    State(app): State<AppState>,
    Query(deadline): Query<Deadline>,
    Json(change): Json<VotersChange>,
) -> Result<Json<AgreementDocument>, Refused> {
    let registers = app.agent.cluster.registers();
    let present = registers.status().await?.configuration.ok_or(Refusal::NoVoters)?;
    let members = app.agent.cluster.members().await?;
    let add = ids(&members, "add", &change.add)?;
    let remove = change.remove.iter().map(|name| voter(&members, &present, name)).collect::<Result<Vec<_>, _>>()?;
    have_disks(&app, "add", &add).await?;
    let mut voters: Vec<NodeId> = present.voters.keys().copied().collect();
    voters.retain(|voter| !remove.contains(voter));
    voters.extend(add.iter().filter(|id| !present.voters.contains_key(id)));
    match registers.change_voters(voters, deadline.duration()?).await {
        Ok(()) => status(State(app)).await,
        Err(RegisterError::Unknown) => Err(unknown()),
        Err(RegisterError::Refused(Refusal::NoQuorum { unheard, unknown })) => {
            Err(explained(&app, &unheard, unknown).await?)
        }
        Err(RegisterError::Refused(refusal)) => Err(refusal.into()),
        Err(RegisterError::Closed(closed)) => Err(closed.into()),
        Err(RegisterError::Mismatch(_)) => unreachable!("nothing is compared where voters change"),
    }
}

/// Drop first voters for good, with what was agreed on among them, where two clusters that each had some have met
#[utoipa::path(delete, path = "/v1/agreement/foundings/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Done), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn drop_founding(State(app): State<AppState>, Path(id): Path<String>) -> Result<Json<Done>, Refused> {
    let founding: FoundingId = id.parse().map_err(|_| Refused::value("founding", &id, "16 hex digits"))?;
    app.agent.cluster.registers().drop_founding(founding).await?;
    Ok(Json(Done {}))
}

/// Members by name or id.
fn ids(members: &[Member], field: &str, names: &[String]) -> Result<Vec<NodeId>, Refused> {
    let id = |name: &String| member(members, field, name)?.ok_or_else(|| Refused::absent("member", name));
    names.iter().map(id).collect()
}

/// The member that a name or an id means, if there is one.
fn member(members: &[Member], field: &str, name: &str) -> Result<Option<NodeId>, Refused> {
    match &meant(members, name)[..] {
        [] => Ok(None),
        [member] => Ok(Some(member.id)),
        several => Err(Refused::value(field, name, &format!("one of them, by its id: {}", choices(several)))),
    }
}

/// One who votes. One that is not listed any more may be named by its id.
fn voter(members: &[Member], present: &Configuration, name: &str) -> Result<NodeId, Refused> {
    let by_id = present.voters.keys().find(|voter| voter.to_string() == name);
    let voter = by_id.map_or_else(|| member(members, "remove", name), |voter| Ok(Some(*voter)))?;
    let voter = voter.ok_or_else(|| Refused::absent("member", name))?;
    if present.voters.contains_key(&voter) {
        return Ok(voter);
    }
    Err(Refused::value("remove", format!("{name} ({voter})"), "one who votes"))
}

/// Whether nobody among these says that it could not vote.
async fn have_disks(app: &AppState, field: &str, voters: &[NodeId]) -> Result<(), Refused> {
    if voters.is_empty() {
        return Ok(());
    }
    match without_disk(&app.agent, voters).await? {
        Some(name) => Err(Refused::value(field, name, "an agent with a data directory, so that it keeps its votes")),
        None => Ok(()),
    }
}

/// That no quorum answered, with the names of those who did not.
pub(super) async fn explained(app: &AppState, unheard: &[NodeId], unknown: bool) -> Result<Refused, Refused> {
    let members = app.agent.cluster.members().await?;
    let names: Vec<String> = unheard.iter().map(|id| name_of(&members, *id)).collect();
    let outcome = if unknown { "whether it was done is not known" } else { "nothing was done" };
    let who = if names.is_empty() {
        "all who were asked answered".to_owned()
    } else {
        format!("not heard: {}", names.join(", "))
    };
    let detail = format!("no quorum agreed in time; {who}; {outcome}");
    let outcome = if unknown { "unknown" } else { "none" };
    let problem = Problem { outcome: Some(outcome.to_owned()), ..Problem::new("no_quorum", detail) };
    Ok(Refused::problem(StatusCode::GATEWAY_TIMEOUT, problem))
}
