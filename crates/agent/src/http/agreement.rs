//! Who votes on registers.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use rumormill::registers::{AgreementStatus, FoundingId, RegisterError};
use rumormill_core::{Member, NodeId, Refusal, State as MemberState};

use super::AppState;
use super::members::Deadline;
use super::problem::Refused;
use super::registers::unknown;
use crate::daemon::find;
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
    let is_changing = |configuration: &rumormill::registers::Configuration| configuration.previous.is_some();
    AgreementDocument {
        epoch: status.configuration.as_ref().map_or(0, |configuration| configuration.number),
        registers: status.registers as u64,
        quorum: if voters.is_empty() { 0 } else { voters.len() as u64 / 2 + 1 },
        changing: status.configuration.as_ref().is_some_and(is_changing),
        refused: refused(status, members),
        foundings: status.foundings.iter().map(Into::into).collect(),
        voters,
    }
}

/// Why no register can be used.
fn refused(status: &AgreementStatus, members: &[Member]) -> Option<String> {
    if status.is_stopped {
        return Some("this agent is a voter that has said more than it remembers, and votes no more".to_owned());
    }
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
    app.agent.cluster.registers().found(ids(&members, &change.voters)?).await?;
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
    let (add, remove) = (ids(&members, &change.add)?, ids(&members, &change.remove)?);
    let mut voters: Vec<NodeId> = present.voters.keys().copied().collect();
    if let Some((id, name)) = remove.iter().zip(&change.remove).find(|(id, _)| !voters.contains(id)) {
        return Err(Refused::value("remove", format!("{name} ({id})"), "one who votes"));
    }
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

/// Members by name or id. One that is not listed may be named by its id.
fn ids(members: &[Member], names: &[String]) -> Result<Vec<NodeId>, Refused> {
    let id = |name: &String| find(members, name).map(|member| member.id).ok_or_else(|| Refused::absent("member", name));
    names.iter().map(id).collect()
}

/// That no quorum answered, with the names of those who did not.
pub(super) async fn explained(app: &AppState, unheard: &[NodeId], unknown: bool) -> Result<Refused, Refused> {
    let members = app.agent.cluster.members().await?;
    let names: Vec<String> = unheard.iter().map(|id| name_of(&members, *id)).collect();
    let outcome = if unknown { "whether it was done is not known" } else { "nothing was done" };
    let who =
        if names.is_empty() { "all voters were heard".to_owned() } else { format!("not heard: {}", names.join(", ")) };
    let detail = format!("no quorum agreed in time; {who}; {outcome}");
    let outcome = if unknown { "unknown" } else { "none" };
    let problem = Problem { outcome: Some(outcome.to_owned()), ..Problem::new("no_quorum", detail) };
    Ok(Refused::problem(StatusCode::GATEWAY_TIMEOUT, problem))
}
