//! What the agent is and how it fares.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::AppState;
use super::problem::{OneWord, Refused};
use crate::documents::{Info, Problem};

/// What the agent is and how it fares
#[utoipa::path(get, path = "/v1/info", responses((status = 200, body = Info), (status = 503, body = Problem)))]
pub(super) async fn info(State(app): State<AppState>) -> Result<Json<Info>, Refused> {
    Ok(Json(app.agent.info().await?))
}

/// One word: ok, or degraded where updates had to be refused for lack of room
#[utoipa::path(get, path = "/health", responses((status = 200, body = String), (status = 503, body = Problem)))]
pub(super) async fn health(State(app): State<AppState>) -> Result<&'static str, Refused> {
    let is_degraded = app.agent.cluster.inspect(rumormill::Node::is_degraded).await?;
    Ok(if is_degraded { "degraded" } else { "ok" })
}

/// One word: ready, or (503) joining while no contact has answered yet
#[utoipa::path(get, path = "/ready", responses((status = 200, body = String), (status = 503, body = String)))]
pub(super) async fn ready(State(app): State<AppState>) -> Result<Response, Refused> {
    let counts = app.agent.cluster.inspect(rumormill::Node::member_counts).await?;
    if app.agent.has_contacts() && counts.alive + counts.suspect <= 1 {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, Extension(OneWord), "joining").into_response());
    }
    Ok("ready".into_response())
}
