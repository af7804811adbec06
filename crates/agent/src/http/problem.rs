//! Errors as `application/problem+json`, whoever made them.

use axum::body::to_bytes;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rumormill::{Closed, RequestError};
use rumormill_core::{ConfigError, Refusal};

use super::BODY_BYTES_MAX;
use crate::documents::Problem;

/// A handler's refusal.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    status: StatusCode,
    problem: Box<Problem>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self { status, problem: Box::new(Problem::new(code, detail)) }
    }

    pub(super) fn value(field: &str, value: impl ToString, rule: &str) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, problem: Box::new(Problem::value(field, value, rule)) }
    }

    pub(super) fn problem(status: StatusCode, problem: Problem) -> Self {
        Self { status, problem: Box::new(problem) }
    }

    /// The same with more said about it.
    pub(super) fn map(self, change: impl FnOnce(Problem) -> Problem) -> Self {
        Self { problem: Box::new(change(*self.problem)), ..self }
    }

    pub(super) fn absent(what: &str, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "absent", format!("no {what} {name}"))
    }

    pub(super) fn deadline(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline", detail)
    }
}

impl From<Closed> for Refused {
    fn from(closed: Closed) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", closed.to_string())
    }
}

/// The status that says what was refused.
fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Invalid { field: "payload" | "value", .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Full { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Unknown { .. } => StatusCode::NOT_FOUND,
        Refusal::StillAlive { .. }
        | Refusal::WrongKind { .. }
        | Refusal::Mismatch { .. }
        | Refusal::NoVoters
        | Refusal::TwoFoundings { .. }
        | Refusal::VotersChange
        | Refusal::Held { .. }
        | Refusal::NotHeld => StatusCode::CONFLICT,
        Refusal::DataFull { .. } | Refusal::RegistersFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::Leaving
        | Refusal::Alone
        | Refusal::NotDurable
        | Refusal::NotStored { .. }
        | Refusal::RevocationNotStored
        | Refusal::WritesWaiting { .. }
        | Refusal::OperationsWaiting { .. }
        | Refusal::QuestionsWaiting { .. }
        | Refusal::ClockAhead { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Late | Refusal::NotConfirmed | Refusal::NotLocated { .. } | Refusal::NoQuorum { .. } => {
            StatusCode::GATEWAY_TIMEOUT
        }
        Refusal::At { refusal, .. } => status_of(refusal),
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { status: status_of(&refusal), problem: Box::new(refusal.into()) }
    }
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => refusal.into(),
            RequestError::Closed(closed) => closed.into(),
        }
    }
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        Self::value(error.field, error.value, &error.rule)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { status, problem } = self;
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        (status, [(CONTENT_TYPE, PROBLEM)], body).into_response()
    }
}

/// More words than this the framework does not make.
const WORDS_BYTES_MAX: usize = 4_096;

/// Marks an error whose body is one word, for supervisors that show it.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneWord;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Gives errors that the framework words itself (no such route, a body that does not parse) the form of all others.
pub(super) async fn explain(response: Response) -> Response {
    let status = response.status();
    let is_explained = response.headers().get(CONTENT_TYPE) == Some(&PROBLEM);
    if status.as_u16() < 400 || is_explained || response.extensions().get::<OneWord>().is_some() {
        return response;
    }
    let allowed = response.headers().get(ALLOW).cloned();
    let words = to_bytes(response.into_body(), WORDS_BYTES_MAX).await.unwrap_or_default();
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::value("body", "larger", format!("at most {BODY_BYTES_MAX} bytes")),
        StatusCode::NOT_FOUND => Problem::new("absent", "no such resource; /v1/openapi.json lists them"),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new("method", "this resource does not take this method"),
        _ => Problem::new("request", plain(&String::from_utf8_lossy(&words))),
    };
    let mut explained = Refused { status: unified(status), problem: Box::new(problem) }.into_response();
    if let Some(methods) = allowed {
        explained.headers_mut().insert(ALLOW, methods);
    }
    explained
}

/// What the framework says, in words that do without those of its code.
fn plain(words: &str) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("Failed to parse the request body as JSON: ", "the body is not JSON: "),
        (
            "Failed to deserialize the JSON body into the target type: ",
            "the body is JSON, but not what is taken here: ",
        ),
        (
            "Expected request with `Content-Type: application/json`",
            "the body must be JSON, and the header `Content-Type: application/json` say so",
        ),
        ("Failed to deserialize query string: ", "the query behind `?` is not what is taken here: "),
    ];
    let known = WORDS.iter().find_map(|(theirs, ours)| words.strip_prefix(theirs).map(|rest| format!("{ours}{rest}")));
    known.unwrap_or_else(|| words.to_owned())
}

/// Whatever is wrong with a value is 422.
fn unified(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE => StatusCode::UNPROCESSABLE_ENTITY,
        other => other,
    }
}
