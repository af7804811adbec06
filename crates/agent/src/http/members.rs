//! Members: who is there, and who comes and goes.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use rumormill_core::{Member, Tags, duration};
use serde::Deserialize;

use super::AppState;
use super::problem::Refused;
use crate::daemon::find;
use crate::documents::{Contacts, Done, MemberDocument, Problem, TagsDocument, members};

/// How long an agent waits for others where the request does not say.
pub(super) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// How long a request may take.
#[derive(Debug, Deserialize)]
pub(super) struct Deadline {
    timeout: Option<String>,
}

impl Deadline {
    pub(super) fn duration(&self) -> Result<Duration, Refused> {
        duration_of(self.timeout.as_deref())
    }
}

/// Reads a deadline.
pub(super) fn duration_of(timeout: Option<&str>) -> Result<Duration, Refused> {
    let Some(text) = timeout else { return Ok(TIMEOUT_DEFAULT) };
    match duration::parse(text) {
        Ok(timeout) if timeout <= Duration::from_hours(1) => Ok(timeout),
        Ok(_) | Err(_) => Err(Refused::value("timeout", text, "a duration of at most an hour, as in 500ms or 10s")),
    }
}

/// Every member that is listed, by name
#[utoipa::path(get, path = "/v1/members", responses((status = 200, body = Vec<MemberDocument>)))]
pub(super) async fn list(State(app): State<AppState>) -> Result<Json<Vec<MemberDocument>>, Refused> {
    Ok(Json(members(&app.agent.cluster.members().await?)))
}

/// One member, by name or id
#[utoipa::path(get, path = "/v1/members/{name}", params(("name" = String, Path)),
    responses((status = 200, body = MemberDocument), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(app): State<AppState>,
    Path(name): Path<String>,
) -> Result<Json<MemberDocument>, Refused> {
    Ok(Json((&member(&app, &name).await?).into()))
}

/// Whether to remove also what is alive.
#[derive(Debug, Deserialize)]
pub(super) struct Removal {
    #[serde(default)]
    force: bool,
}

/// Strike a dead or left member from the list, everywhere
#[utoipa::path(delete, path = "/v1/members/{name}", params(("name" = String, Path), ("force" = Option<bool>, Query)),
    responses((status = 200, body = Done), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn remove(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Query(removal): Query<Removal>,
) -> Result<Json<Done>, Refused> {
    let member = member(&app, &name).await?;
    app.agent.cluster.remove(member.id, removal.force).await?;
    Ok(Json(Done {}))
}

/// Join a cluster through any of its nodes; answers once one has let this node in
#[utoipa::path(post, path = "/v1/join", request_body = Contacts, params(("timeout" = Option<String>, Query)),
    responses((status = 200, body = Done), (status = 422, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn join(
    State(app): State<AppState>,
    Query(deadline): Query<Deadline>,
    Json(Contacts { contacts }): Json<Contacts>,
) -> Result<Json<Done>, Refused> {
    let timeout = deadline.duration()?;
    let Ok(result) = tokio::time::timeout(timeout, app.agent.cluster.join(contacts)).await else {
        let waited = duration::format(timeout);
        return Err(Refused::deadline(format!("no contact answered within {waited}; this agent keeps trying")));
    };
    result?;
    Ok(Json(Done {}))
}

/// Leave the cluster and stop the agent; answers once the others know
#[utoipa::path(post, path = "/v1/leave", responses((status = 200, body = Done), (status = 503, body = Problem)))]
pub(super) async fn leave(State(app): State<AppState>) -> Result<Json<Done>, Refused> {
    app.agent.cluster.leave().await?;
    Ok(Json(Done {}))
}

/// The tags of this agent's node
#[utoipa::path(get, path = "/v1/tags", responses((status = 200, body = TagsDocument)))]
pub(super) async fn tags(State(app): State<AppState>) -> Result<Json<TagsDocument>, Refused> {
    Ok(Json(TagsDocument { tags: own(&app).await?.tags }))
}

/// Change tags of this agent's node: `null` takes one away
#[utoipa::path(patch, path = "/v1/tags", request_body = BTreeMap<String, Option<String>>,
    responses((status = 200, body = TagsDocument), (status = 422, body = Problem)))]
pub(super) async fn change_tags(
    State(app): State<AppState>,
    Json(changes): Json<BTreeMap<String, Option<String>>>,
) -> Result<Json<TagsDocument>, Refused> {
    let change = |tags: &mut Tags| {
        for (key, value) in changes {
            match value {
                Some(value) => drop(tags.insert(key, value)),
                None => drop(tags.remove(&key)),
            }
        }
    };
    Ok(Json(TagsDocument { tags: app.agent.change_tags(change).await? }))
}

/// The member of this name or id.
pub(super) async fn member(app: &AppState, name: &str) -> Result<Member, Refused> {
    let members = app.agent.cluster.members().await?;
    find(&members, name).cloned().ok_or_else(|| Refused::absent("member", name))
}

async fn own(app: &AppState) -> Result<Member, Refused> {
    let id = app.agent.cluster.id();
    let own = app.agent.cluster.inspect(move |node| node.member(id)).await?;
    own.ok_or_else(|| Refused::absent("member", app.agent.cluster.name()))
}
