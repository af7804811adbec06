//! The agent's log, for whoever follows it.

use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::response::sse::Event;
use serde::Deserialize;

use super::AppState;
use super::stream::{Source, line, respond};
use crate::documents::LogLine;
use crate::logs::{Follower, Level};

/// What to follow.
#[derive(Debug, Deserialize)]
pub(super) struct Following {
    #[serde(default)]
    level: Level,
}

impl Source for Follower {
    async fn next(&mut self) -> Option<Event> {
        Self::next(self).await.map(|document| line(&document))
    }
}

/// The last lines of the agent's log, and those that come
#[utoipa::path(get, path = "/v1/logs", params(("level" = Option<Level>, Query)),
    responses((status = 200, body = LogLine, content_type = "text/event-stream")))]
pub(super) async fn follow(State(app): State<AppState>, Query(following): Query<Following>) -> impl IntoResponse {
    respond(None, app.agent.logs.follow(following.level), app.agent.ending)
}
