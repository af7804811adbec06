//! The database: reading and writing single keys.
//!
//! A key stands in the path, percent-encoded; it may hold slashes, escaped or not. `GET`, `PUT` and `DELETE` take the whole
//! rest of the path as the key. `POST` takes its last piece as the action, so that `POST data/a/add/add` adds to `a/add`;
//! an escaped slash never separates.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rumormill::WriteError;
use rumormill::data::{Condition, Revision, Writing, Written};
use rumormill_core::duration;
use serde::Deserialize;

use super::AppState;
use super::members::duration_of;
use super::problem::Refused;
use crate::documents::{EntryDocument, Problem, WrittenDocument};
use crate::percent;

/// Where the keys are, below `/v1`.
const ROOT: &str = "/data/";

/// What a key holds; the version is the entity tag
#[utoipa::path(get, path = "/v1/data/{key}",
    params(("key" = String, Path), ("If-None-Match" = Option<String>, Header, description = "a version in quotes: answer 304 if it is still that")),
    responses((status = 200, body = EntryDocument), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn get(State(app): State<AppState>, uri: Uri, headers: HeaderMap) -> Result<Response, Refused> {
    let key = key_of(path_of(&uri))?;
    let entry = app.agent.cluster.data().get(&key).ok_or_else(|| Refused::absent("key", &format!("{key:?}")))?;
    let tag = tag_of(entry.revision);
    if headers.get(IF_NONE_MATCH).is_some_and(|known| *known == tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], Json(EntryDocument::from(&entry))).into_response())
}

/// How a write is to be made.
#[derive(Debug, Deserialize)]
pub(super) struct Manner {
    ttl: Option<String>,
    replicas: Option<String>,
    timeout: Option<String>,
}

impl Manner {
    fn apply(&self, mut writing: Writing, headers: &HeaderMap) -> Result<Writing, Refused> {
        if let Some(text) = &self.ttl {
            let ttl = duration::parse(text);
            writing = writing.ttl(ttl.map_err(|_| Refused::value("ttl", text, "a duration, as in 10s or 5m"))?);
        }
        if let Some(text) = &self.replicas {
            let count = text.parse::<u16>();
            let count = count.map_err(|_| Refused::value("replicas", text, "a number of nodes, from 0 to 65535"))?;
            writing = writing.replicas(count.into());
        }
        writing = match condition(headers)? {
            Condition::None => writing,
            Condition::Absent => writing.if_absent(),
            Condition::Revision(revision) => writing.if_revision(revision),
        };
        Ok(writing.timeout(self.timeout()?))
    }

    fn timeout(&self) -> Result<Duration, Refused> {
        duration_of(self.timeout.as_deref())
    }
}

/// What must hold on this node for a write to be made.
fn condition(headers: &HeaderMap) -> Result<Condition, Refused> {
    let text =
        |name: &HeaderName| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match (text(&IF_MATCH), text(&IF_NONE_MATCH)) {
        (None, None) => Ok(Condition::None),
        (None, Some(any)) if any.trim() == "*" => Ok(Condition::Absent),
        (None, Some(other)) => Err(Refused::value("If-None-Match", other, "*, for a key that holds nothing")),
        (Some(tag), None) => {
            let quoted = tag.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let revision = quoted.and_then(|version| version.parse().ok());
            let rule = "one version in quotes, as ETag gives it";
            revision.map(Condition::Revision).ok_or_else(|| Refused::value("If-Match", tag, rule))
        }
        (Some(_), Some(other)) => Err(Refused::value("If-None-Match", other, "left out where there is If-Match")),
    }
}

/// Give a register a value, the body
#[utoipa::path(put, path = "/v1/data/{key}", request_body = Vec<u8>,
    params(("key" = String, Path), ("ttl" = Option<String>, Query), ("replicas" = Option<u16>, Query),
        ("timeout" = Option<String>, Query), ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = WrittenDocument), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 504, body = Problem), (status = 507, body = Problem)))]
pub(super) async fn put(
    State(app): State<AppState>,
    uri: Uri,
    Query(manner): Query<Manner>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let key = key_of(path_of(&uri))?;
    let writing = app.agent.cluster.data().put(&key, body);
    Ok(answer(make(key, writing, &manner, &headers).await?.0))
}

/// Delete what this node sees of a key, of whatever kind
#[utoipa::path(delete, path = "/v1/data/{key}",
    params(("key" = String, Path), ("replicas" = Option<u16>, Query), ("timeout" = Option<String>, Query),
        ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = WrittenDocument), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn delete(
    State(app): State<AppState>,
    uri: Uri,
    Query(manner): Query<Manner>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let key = key_of(path_of(&uri))?;
    let writing = app.agent.cluster.data().delete(&key);
    Ok(answer(make(key, writing, &manner, &headers).await?.0))
}

/// Change a counter or a set
#[utoipa::path(post, path = "/v1/data/{key}/{action}", request_body = Vec<u8>,
    description = "`add` adds the number in the body to a counter; `insert` and `remove` put the element in the body into a \
        set, or take it out.",
    params(("key" = String, Path), ("action" = String, Path, description = "`add`, `insert` or `remove`"),
        ("replicas" = Option<u16>, Query), ("timeout" = Option<String>, Query), ("If-Match" = Option<String>, Header),
        ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = WrittenDocument), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 504, body = Problem), (status = 507, body = Problem)))]
pub(super) async fn change(
    State(app): State<AppState>,
    uri: Uri,
    Query(manner): Query<Manner>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let data = app.agent.cluster.data();
    let (key, action) = path_of(&uri).rsplit_once('/').unwrap_or_else(|| ("", path_of(&uri)));
    let key = key_of(key)?;
    let writing = match action {
        "add" => data.add(&key, amount(&body)?),
        "insert" => data.insert(&key, body),
        "remove" => data.remove_element(&key, body),
        other => return Err(Refused::value("action", other, "add, insert or remove, the last piece of the path")),
    };
    let (document, written) = make(key, writing, &manner, &headers).await?;
    Ok(answer(if action == "add" { document.with_sum(&written) } else { document }))
}

fn amount(body: &[u8]) -> Result<i64, Refused> {
    let text = String::from_utf8_lossy(body);
    let amount = text.trim().parse();
    amount.map_err(|_| Refused::value("amount", text.trim(), "a whole number from -2^63 to 2^63 - 1"))
}

async fn make(
    key: String,
    writing: Writing,
    manner: &Manner,
    headers: &HeaderMap,
) -> Result<(WrittenDocument, Written), Refused> {
    let begun = Instant::now();
    match manner.apply(writing, headers)?.await {
        Ok(written) => Ok((WrittenDocument::new(key, &written, begun.elapsed()), written)),
        Err(WriteError::Unconfirmed(written)) => {
            let document = WrittenDocument::new(key, &written, begun.elapsed());
            Err(unconfirmed(document, &written, manner.timeout()?))
        }
        Err(WriteError::Refused(refusal)) => Err(refusal.into()),
        Err(WriteError::Closed(closed)) => Err(closed.into()),
        Err(WriteError::Partly { .. }) => unreachable!("one write has no parts"),
    }
}

/// A write that was made here, but not held by as many others as were asked for.
fn unconfirmed(document: WrittenDocument, written: &Written, timeout: Duration) -> Refused {
    let Written { durable, replicas, in_memory, wanted, .. } = *written;
    let here = if durable { "durable here" } else { "held here, in memory" };
    let within = duration::format(timeout);
    let others =
        if durable && in_memory > 0 { format!(" ({in_memory} more hold it in memory only)") } else { String::new() };
    let detail = format!(
        "{}: {here}, but only {replicas} of {wanted} other nodes confirmed it within {within}{others}; it goes on spreading",
        document.key
    );
    Refused::problem(
        StatusCode::GATEWAY_TIMEOUT,
        Problem {
            field: Some("replicas".to_owned()),
            value: Some(replicas.to_string()),
            rule: Some(format!("at least {wanted}")),
            written: Some(document),
            ..Problem::new("unconfirmed", detail)
        },
    )
}

fn answer(document: WrittenDocument) -> Response {
    let tag = document.version.as_deref().and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok());
    let mut response = Json(document).into_response();
    if let Some(tag) = tag {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn tag_of(revision: Revision) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("hex digits are visible characters")
}

/// What follows where the keys are, still escaped.
fn path_of(uri: &Uri) -> &str {
    uri.path().strip_prefix(ROOT).unwrap_or_default()
}

fn key_of(escaped: &str) -> Result<String, Refused> {
    percent::decode(escaped).ok_or_else(|| Refused::value("key", escaped, "UTF-8, percent-encoded"))
}
