//! Locks and elections: leases under names that begin with `locks/` and `elections/`.
//!
//! An agent only passes on what is asked: whoever holds a lease counts it itself, from before it asked, and renews it through
//! this agent or another.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use rumormill::leases::{LeaseState, Watch};
use rumormill::{Node, RequestError};
use rumormill_core::Refusal;

use super::AppState;
use super::agreement::explained;
use super::members::Deadline;
use super::problem::Refused;
use super::stream::{Source, line, respond};
use crate::documents::{Done, ElectionDocument, LeaseDocument, LeaseRequest, LockDocument, Problem};
use crate::print;

/// A lock or an election, as a path names it.
pub(super) struct Named {
    kind: &'static str,
    name: String,
}

impl Named {
    /// What the lease is called.
    fn lease(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl FromRequestParts<AppState> for Named {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let kind = if parts.uri.path().starts_with("/elections/") { "elections" } else { "locks" };
        let Path(name) = Path::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        Ok(Self { kind, name })
    }
}

/// Take a lock, or lead, as soon as nobody else does
#[utoipa::path(post, path = "/v1/{kind}/{name}", request_body = LeaseRequest,
    params(("kind" = String, Path, description = "`locks` or `elections`"), ("name" = String, Path),
        ("timeout" = Option<String>, Query)),
    responses((status = 200, body = LeaseDocument), (status = 409, body = Problem), (status = 422, body = Problem),
        (status = 504, body = Problem)))]
pub(super) async fn acquire(
    State(app): State<AppState>,
    named: Named,
    Query(deadline): Query<Deadline>,
    Json(request): Json<LeaseRequest>,
) -> Result<Json<LeaseDocument>, Refused> {
    let lease = app.agent.cluster.lease(named.lease());
    let (holder, ttl) = (holder_of(&request)?, ttl_of(&request)?);
    let result = lease.acquire_as(holder, request.label.clone(), ttl, deadline.duration()?).await;
    let token = ended(&app, result).await?;
    Ok(Json(LeaseDocument { name: named.name, holder: Some(request.label), token, ttl: request.ttl }))
}

/// Keep a lock for longer, or lead for longer
#[utoipa::path(put, path = "/v1/{kind}/{name}", request_body = LeaseRequest,
    params(("kind" = String, Path, description = "`locks` or `elections`"), ("name" = String, Path),
        ("timeout" = Option<String>, Query)),
    responses((status = 200, body = LeaseDocument), (status = 409, body = Problem), (status = 422, body = Problem),
        (status = 504, body = Problem)))]
pub(super) async fn renew(
    State(app): State<AppState>,
    named: Named,
    Query(deadline): Query<Deadline>,
    Json(request): Json<LeaseRequest>,
) -> Result<Json<LeaseDocument>, Refused> {
    let lease = app.agent.cluster.lease(named.lease());
    let (holder, token, ttl) = (holder_of(&request)?, token_of(&request)?, ttl_of(&request)?);
    ended(&app, lease.renew_as(holder, token, ttl, deadline.duration()?).await).await?;
    Ok(Json(LeaseDocument { name: named.name, holder: Some(request.label), token, ttl: request.ttl }))
}

/// Give a lock back, or lead no longer
#[utoipa::path(delete, path = "/v1/{kind}/{name}", request_body = LeaseRequest,
    params(("kind" = String, Path, description = "`locks` or `elections`"), ("name" = String, Path),
        ("timeout" = Option<String>, Query)),
    responses((status = 200, body = Done), (status = 409, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn release(
    State(app): State<AppState>,
    named: Named,
    Query(deadline): Query<Deadline>,
    Json(request): Json<LeaseRequest>,
) -> Result<Json<Done>, Refused> {
    let lease = app.agent.cluster.lease(named.lease());
    let (holder, token) = (holder_of(&request)?, token_of(&request)?);
    ended(&app, lease.release_as(holder, token, deadline.duration()?).await).await?;
    Ok(Json(Done {}))
}

/// Who has a lock, as far as this agent has heard
#[utoipa::path(get, path = "/v1/locks/{name}", params(("name" = String, Path)),
    responses((status = 200, body = LeaseDocument)))]
pub(super) async fn lock(State(app): State<AppState>, named: Named) -> Result<Json<LeaseDocument>, Refused> {
    let state = app.agent.cluster.lease(named.lease()).state().await?;
    Ok(Json(LeaseDocument::new(&named.name, &state)))
}

/// The locks that somebody has, as far as this agent has heard, by name
#[utoipa::path(get, path = "/v1/locks", responses((status = 200, body = Vec<LockDocument>)))]
pub(super) async fn list(State(app): State<AppState>) -> Result<Json<Vec<LockDocument>>, Refused> {
    let locks = |node: &Node| {
        let held = node.leases().filter_map(|(lease, state)| {
            let name = lease.strip_prefix("locks/")?;
            Some(LockDocument::new(name, &state, node.lease_heard(lease)))
        });
        held.collect()
    };
    Ok(Json(app.agent.cluster.inspect(locks).await?))
}

fn holder_of(request: &LeaseRequest) -> Result<u64, Refused> {
    let holder = u64::from_str_radix(&request.holder, 16).ok().filter(|holder| *holder != 0);
    holder.ok_or_else(|| Refused::value("holder", &request.holder, "16 hex digits, not all 0"))
}

fn token_of(request: &LeaseRequest) -> Result<u64, Refused> {
    request.token.ok_or_else(|| Refused::value("token", "absent", "the one with which it was acquired"))
}

fn ttl_of(request: &LeaseRequest) -> Result<Duration, Refused> {
    let ttl = Duration::try_from_secs_f64(request.ttl);
    ttl.map_err(|_| Refused::value("ttl", request.ttl, "seconds, from 1 to 3600"))
}

/// What became of a request, in words that name voters as members are named.
async fn ended<T>(app: &AppState, result: Result<T, RequestError>) -> Result<T, Refused> {
    match result {
        Err(RequestError::Refused(Refusal::NoQuorum { unheard, unknown })) => {
            Err(explained(app, &unheard, unknown).await?)
        }
        result => Ok(result?),
    }
}

struct Lines {
    election: String,
    watch: Watch,
    /// What was said last.
    said: (bool, u64),
}

impl Source for Lines {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let state = self.watch.next().await?;
            if said_of(&state) != self.said {
                self.said = said_of(&state);
                return Some(line(&ElectionDocument::new(&self.election, &state, print::now())));
            }
        }
    }
}

fn said_of(state: &LeaseState) -> (bool, u64) {
    (state.is_held(), state.token)
}

/// Who leads, and from now on whenever that changes, as this agent hears of it
#[utoipa::path(get, path = "/v1/elections/{name}", params(("name" = String, Path)),
    responses((status = 200, body = ElectionDocument, content_type = "text/event-stream")))]
pub(super) async fn watch(State(app): State<AppState>, named: Named) -> Result<impl IntoResponse, Refused> {
    let lease = app.agent.cluster.lease(named.lease());
    let watch = lease.watch().await?;
    let (state, heard) = lease.heard().await?;
    let first = line(&ElectionDocument::heard(&named.name, &state, heard, print::now()));
    let lines = Lines { election: named.name, watch, said: said_of(&state) };
    Ok(respond(Some(first), lines, app.agent.ending))
}
