//! Revocations, as the authority makes them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;

use super::AppState;
use super::problem::Refused;
use crate::documents::{Problem, RevocationDocument};

/// Revoke a member's certificate everywhere: the body is what `rumor authority revoke` signs
#[utoipa::path(post, path = "/v1/revocations", request_body(content = [u8], content_type = "application/octet-stream"),
    responses((status = 200, body = RevocationDocument), (status = 422, body = Problem)))]
pub(super) async fn revoke(State(app): State<AppState>, body: Bytes) -> Result<Json<RevocationDocument>, Refused> {
    let id = app.agent.cluster.revoke(body.to_vec()).await?;
    Ok(Json(RevocationDocument { id: id.to_string() }))
}
