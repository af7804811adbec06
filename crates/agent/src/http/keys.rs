//! The cluster's keys.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use rumormill::{KeyId, Keyring, Keys, KeysError};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::AppState;
use super::listener::Confidential;
use super::members::duration_of;
use super::problem::Refused;
use crate::documents::{KeyChangeDocument, KeyDocument, Problem};

/// How to ask.
#[derive(Debug, Deserialize)]
pub(super) struct Asking {
    timeout: Option<String>,
    force: Option<bool>,
}

/// Who has which keys
#[utoipa::path(get, path = "/v1/keys", params(("timeout" = Option<String>, Query)),
    responses((status = 200, body = Vec<KeyDocument>), (status = 409, body = Problem)))]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(asking): Query<Asking>,
) -> Result<Json<Vec<KeyDocument>>, Refused> {
    let keys = keys(&app)?;
    let report = keys.list(duration_of(asking.timeout.as_deref())?).await?;
    Ok(Json(KeyDocument::all(&report, keys.own().first().copied())))
}

/// Have all members accept the key in the body, a key file of this cluster
#[utoipa::path(post, path = "/v1/keys", request_body = String, params(("timeout" = Option<String>, Query)),
    responses((status = 200, body = KeyChangeDocument), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn add(
    State(app): State<AppState>,
    Query(asking): Query<Asking>,
    Extension(confidential): Extension<Confidential>,
    body: String,
) -> Result<Json<KeyChangeDocument>, Refused> {
    let text = Zeroizing::new(body);
    not_in_clear(confidential)?;
    let keys = keys(&app)?;
    let bad = |rule: &str| Refused::value("file", "what was sent", rule);
    let keyring: Keyring = text.parse().map_err(|_| bad("a key file as `rumor keygen` writes it"))?;
    if !keys.is_of_same_cluster(&keyring) {
        return Err(bad(
            "a key of this cluster: `rumor keygen --from`, with the cluster's key file, makes the next one",
        ));
    }
    let [key] = keyring.keys() else { return Err(bad("a file with one key")) };
    let report = keys.add(key, duration_of(asking.timeout.as_deref())?).await?;
    Ok(Json(KeyChangeDocument::new(report, key.id())))
}

/// Have all members seal with a key that they accept
#[utoipa::path(post, path = "/v1/keys/{id}/use",
    params(("id" = String, Path), ("timeout" = Option<String>, Query), ("force" = Option<bool>, Query)),
    responses((status = 200, body = KeyChangeDocument), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn switch(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Query(asking): Query<Asking>,
) -> Result<Json<KeyChangeDocument>, Refused> {
    let (keys, id, timeout) = ordered(&app, &id, &asking)?;
    let report = keys.switch_to(id, asking.force.unwrap_or(false), timeout).await?;
    Ok(Json(KeyChangeDocument::new(report, id)))
}

/// Have all members accept a key no more
#[utoipa::path(delete, path = "/v1/keys/{id}",
    params(("id" = String, Path), ("timeout" = Option<String>, Query), ("force" = Option<bool>, Query)),
    responses((status = 200, body = KeyChangeDocument), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn remove(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Query(asking): Query<Asking>,
) -> Result<Json<KeyChangeDocument>, Refused> {
    let (keys, id, timeout) = ordered(&app, &id, &asking)?;
    let report = keys.remove(id, asking.force.unwrap_or(false), timeout).await?;
    Ok(Json(KeyChangeDocument::new(report, id)))
}

/// Refuses a key that others may have read on its way.
fn not_in_clear(Confidential(is_confidential): Confidential) -> Result<(), Refused> {
    let sentence = "the key came over the network for all in between to read: give it from this machine, or have HTTP speak TLS (http_cert_file); do not use that key";
    is_confidential.then_some(()).ok_or_else(|| Refused::new(StatusCode::FORBIDDEN, "in_clear", sentence))
}

fn keys(app: &AppState) -> Result<Keys, Refused> {
    let unsealed = "nothing is sealed: this agent runs without --key-file";
    app.agent.cluster.keys().ok_or_else(|| Refused::new(StatusCode::CONFLICT, "not_sealed", unsealed))
}

/// Which key of which keyring an order is about, and how long each of its two steps may take: half of the time to ask who
/// has it, half to have it done.
fn ordered(app: &AppState, id: &str, asking: &Asking) -> Result<(Keys, KeyId, Duration), Refused> {
    let keys = keys(app)?;
    let timeout = duration_of(asking.timeout.as_deref())? / 2;
    let id = meant(&keys, id)?;
    Ok((keys, id, timeout))
}

/// The key of this id, or the one of this agent's whose id begins so.
fn meant(keys: &Keys, text: &str) -> Result<KeyId, Refused> {
    let own = keys.own();
    let mut beginning = own.iter().filter(|id| id.to_string().starts_with(&text.to_lowercase()));
    match (beginning.next(), beginning.next()) {
        (Some(id), None) if !text.is_empty() => Ok(*id),
        _ if text.len() == 16 => text.parse().map_err(|_| Refused::absent("key", text)),
        _ => Err(Refused::absent("key", text)),
    }
}

impl From<KeysError> for Refused {
    fn from(error: KeysError) -> Self {
        let code = match &error {
            KeysError::Request(error) => return error.clone().into(),
            KeysError::Unknown(id) => return Self::absent("key", &id.to_string()),
            KeysError::NotEverywhere { .. } => "not_everywhere",
            KeysError::InUse { .. } => "in_use",
        };
        Self::new(StatusCode::CONFLICT, code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::Router;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::listener::tests::served_from;
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_key_is_taken_from_this_machine_or_by_tls_and_from_nowhere_else() {
        let take =
            post(|Extension(confidential), _: String| async move { not_in_clear(confidential).map(|()| "taken") });
        let [here, elsewhere]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [198, 51, 100, 7].into()];
        for (from, is_tls, status) in
            [(here, false, 200), (here, true, 200), (elsewhere, true, 200), (elsewhere, false, 403)]
        {
            let mut client = served_from(from, is_tls, Router::new().route("/", take.clone()));
            let request = "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 3\r\n\r\nkey";
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{from}, TLS: {is_tls}: {answer}");
            assert_eq!(answer.contains("in_clear"), status == 403);
        }
    }
}
