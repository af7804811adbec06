//! Registers on which the cluster agrees.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use rumormill::registers::{Expected, Held, Register, RegisterError, RegisterWatch};
use rumormill_core::Refusal;
use serde::Deserialize;
use serde_json::json;

use super::AppState;
use super::agreement::explained;
use super::members::duration_of;
use super::problem::Refused;
use super::stream::{Source, line, respond};
use crate::documents::{Problem, RegisterDocument, SwapDocument};

/// How an operation is to be made.
#[derive(Debug, Deserialize)]
pub(super) struct Manner {
    timeout: Option<String>,
    #[serde(default)]
    stale: bool,
}

fn register(app: &AppState, name: &str, manner: &Manner) -> Result<Register, Refused> {
    Ok(app.agent.cluster.registers().register(name).timeout(duration_of(manner.timeout.as_deref())?))
}

/// The names of registers that this agent has heard to hold something
#[utoipa::path(get, path = "/v1/registers", responses((status = 200, body = Vec<String>)))]
pub(super) async fn list(State(app): State<AppState>) -> Result<Json<Vec<String>>, Refused> {
    Ok(Json(app.agent.cluster.registers().names().await?))
}

/// What a register holds; with `stale` what this agent has heard, at once
#[utoipa::path(get, path = "/v1/registers/{name}",
    params(("name" = String, Path), ("stale" = Option<bool>, Query), ("timeout" = Option<String>, Query)),
    responses((status = 200, body = RegisterDocument), (status = 404, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn get(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Query(manner): Query<Manner>,
) -> Result<Json<RegisterDocument>, Refused> {
    let register = register(&app, &name, &manner)?;
    let held = if manner.stale {
        register.get_stale().await?.unwrap_or_default()
    } else {
        ended(&app, &name, register.get().await).await?
    };
    if held.value.is_none() {
        return Err(Refused::absent("register", &format!("{name:?}")));
    }
    Ok(Json(RegisterDocument::new(&name, &held, manner.stale)))
}

/// Give a register a value, the body, whatever it holds
#[utoipa::path(put, path = "/v1/registers/{name}", request_body = Vec<u8>,
    params(("name" = String, Path), ("timeout" = Option<String>, Query)),
    responses((status = 200, body = RegisterDocument), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn put(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Query(manner): Query<Manner>,
    body: Bytes,
) -> Result<Json<RegisterDocument>, Refused> {
    let result = register(&app, &name, &manner)?.set(&body).await;
    Ok(Json(RegisterDocument::new(&name, &ended(&app, &name, result).await?, false)))
}

/// Give a register a value if it holds what is expected
#[utoipa::path(post, path = "/v1/registers/{name}/cas", request_body = SwapDocument,
    params(("name" = String, Path), ("timeout" = Option<String>, Query)),
    responses((status = 200, body = RegisterDocument), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn cas(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Query(manner): Query<Manner>,
    Json(swap): Json<SwapDocument>,
) -> Result<Json<RegisterDocument>, Refused> {
    let (expected, value) = swap.read().map_err(|(field, value, rule)| Refused::value(field, value, rule))?;
    let result = register(&app, &name, &manner)?.compare_and_set(expected, value).await;
    Ok(Json(RegisterDocument::new(&name, &ended(&app, &name, result).await?, false)))
}

/// Take the value of a register away
#[utoipa::path(delete, path = "/v1/registers/{name}", params(("name" = String, Path), ("timeout" = Option<String>, Query)),
    responses((status = 200, body = RegisterDocument), (status = 409, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn delete(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Query(manner): Query<Manner>,
) -> Result<Json<RegisterDocument>, Refused> {
    let result = register(&app, &name, &manner)?.delete(Expected::Anything).await;
    Ok(Json(RegisterDocument::new(&name, &ended(&app, &name, result).await?, false)))
}

struct Lines {
    name: String,
    watch: RegisterWatch,
}

impl Source for Lines {
    async fn next(&mut self) -> Option<Event> {
        let held = self.watch.next().await?;
        Some(line(&RegisterDocument::new(&self.name, &held, true)))
    }
}

/// What a register holds now and from now on, as far as this agent hears of it
#[utoipa::path(get, path = "/v1/registers/{name}/watch", params(("name" = String, Path)),
    description = "The event `watching` has what it holds at the beginning. Values in between may be left out, the last one never.",
    responses((status = 200, body = RegisterDocument, content_type = "text/event-stream")))]
pub(super) async fn watch(State(app): State<AppState>, Path(name): Path<String>) -> Result<impl IntoResponse, Refused> {
    let mut watch = app.agent.cluster.registers().register(&name).watch().await?;
    let first = line(&RegisterDocument::new(&name, &watch.held(), true)).event("watching");
    Ok(respond(Some(first), Lines { name, watch }, app.agent.ending))
}

/// What an operation came to, in words that name voters as members are named.
async fn ended(app: &AppState, name: &str, result: Result<Held, RegisterError>) -> Result<Held, Refused> {
    match result {
        Ok(held) => Ok(held),
        Err(RegisterError::Mismatch(held)) => Err(mismatch(name, &held)),
        Err(RegisterError::Unknown) => Err(unknown()),
        Err(RegisterError::Refused(Refusal::NoQuorum { unheard, unknown })) => {
            Err(explained(app, &unheard, unknown).await?)
        }
        Err(RegisterError::Refused(refusal)) => Err(refusal.into()),
        Err(RegisterError::Closed(closed)) => Err(closed.into()),
    }
}

fn mismatch(name: &str, held: &Held) -> Refused {
    let actual = RegisterDocument::new(name, held, false);
    let holds = match (&actual.value, &actual.value_base64) {
        (Some(text), _) => format!("holds {}", json!(text)),
        (None, Some(_)) => "holds bytes that are no text".to_owned(),
        (None, None) => "holds nothing".to_owned(),
    };
    let detail = format!("{name} {holds} (version {}), not what was expected", held.version);
    Refused::problem(StatusCode::CONFLICT, Problem { actual: Some(actual), ..Problem::new("mismatch", detail) })
}

/// The operation was overtaken by so many others that nobody can tell.
pub(super) fn unknown() -> Refused {
    let detail = "so many others changed it meanwhile that it is not known whether this was done";
    let problem = Problem { outcome: Some("unknown".to_owned()), ..Problem::new("unknown", detail) };
    Refused::problem(StatusCode::GATEWAY_TIMEOUT, problem)
}
