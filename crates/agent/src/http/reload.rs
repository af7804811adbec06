//! Settings read again while the agent runs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::AppState;
use super::problem::Refused;
use crate::documents::{Problem, ReloadDocument};

/// Read the settings again, and take over what can be; answers what was, and what takes a restart
#[utoipa::path(post, path = "/v1/reload", responses((status = 200, body = ReloadDocument),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn reload(State(app): State<AppState>) -> Result<Json<ReloadDocument>, Refused> {
    match app.agent.reload().await {
        Ok(document) => Ok(Json(document)),
        Err(failure) => {
            let status =
                if failure.is_refused() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::SERVICE_UNAVAILABLE };
            Err(Refused::problem(status, failure.into_problem()))
        }
    }
}
