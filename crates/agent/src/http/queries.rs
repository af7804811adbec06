//! Queries: ask every member, and answer what others ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use rumormill::{Answers, Question, Questions};
use rumormill_core::Tags;
use rumormill_core::limits::Limits;
use serde::Deserialize;
use serde_json::json;

use super::AppState;
use super::members::duration_of;
use super::problem::Refused;
use super::stream::{Source, line, respond};
use crate::cli;
use crate::daemon::BUILT_IN;
use crate::documents::{AnswerLine, Done, Problem, QuestionDocument};

/// How many questions may wait for handlers; the oldest are left unanswered beyond it.
const WAITING_MAX: usize = 256;

/// Whom a query asks, and for how long.
#[derive(Debug, Deserialize)]
pub(super) struct Asking {
    tags: Option<String>,
    nearest: Option<String>,
    timeout: Option<String>,
}

struct Gathered(Option<Answers>);

impl Source for Gathered {
    async fn next(&mut self) -> Option<Event> {
        if let Some(answer) = self.0.as_mut()?.next().await {
            return Some(line(&AnswerLine::Answer((&answer).into())));
        }
        let summary = self.0.take()?.summary()?;
        Some(line(&AnswerLine::Done(summary.into())))
    }
}

/// Ask all members, those with all of `tags` (K=V,K=V), or the `nearest` of them, 1 to 64; a line an answer, then how it ended
#[utoipa::path(post, path = "/v1/queries/{name}", request_body = Vec<u8>,
    params(("name" = String, Path), ("tags" = Option<String>, Query), ("nearest" = Option<usize>, Query),
        ("timeout" = Option<String>, Query)),
    responses((status = 200, body = AnswerLine, content_type = "text/event-stream"), (status = 422, body = Problem)))]
pub(super) async fn ask(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Query(asking): Query<Asking>,
    body: Bytes,
) -> Result<impl IntoResponse, Refused> {
    let timeout = duration_of(asking.timeout.as_deref())?;
    let mut filter = Tags::new();
    for pair in asking.tags.iter().flat_map(|tags| tags.split(',')) {
        let (key, value) = cli::key_value(pair).map_err(|_| Refused::value("tags", pair, "KEY=VALUE"))?;
        filter.insert(key, value);
    }
    let answers = match &asking.nearest {
        None => app.agent.cluster.query(name, body, filter, timeout).await?,
        Some(text) => {
            let count = text.parse().map_err(|_| Refused::value("nearest", text, "a whole number from 1 to 64"))?;
            app.agent.cluster.query_nearest(count, name, body, filter, timeout).await?
        }
    };
    Ok(respond(None, Gathered(Some(answers)), app.agent.ending))
}

/// Questions that a client has got and not yet answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Desk(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    questions: BTreeMap<u64, Question>,
}

impl Desk {
    /// Keeps a question and gives it a number.
    fn put(&self, question: Question) -> u64 {
        let mut waiting = self.lock();
        waiting.last += 1;
        let number = waiting.last;
        waiting.questions.insert(number, question);
        if waiting.questions.len() > WAITING_MAX {
            waiting.questions.pop_first();
        }
        number
    }

    /// What is bounded here.
    pub(super) fn limits(&self, to: &mut Limits) {
        to.entries("questions_of_http", self.lock().questions.len(), WAITING_MAX);
    }

    fn take(&self, number: u64) -> Option<Question> {
        self.lock().questions.remove(&number)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Asked {
    questions: Questions,
    desk: Desk,
}

impl Source for Asked {
    async fn next(&mut self) -> Option<Event> {
        let question = self.questions.next().await?;
        let (name, from) = (question.name.clone(), question.from_name.clone());
        let payload = question.payload.as_slice().into();
        let number = self.desk.put(question).to_string();
        Some(line(&QuestionDocument { question: number, name, from, payload }))
    }
}

/// The questions of a query, for the client to answer as long as it reads here
#[utoipa::path(get, path = "/v1/queries/{name}/questions", params(("name" = String, Path)),
    responses((status = 200, body = QuestionDocument, content_type = "text/event-stream"),
        (status = 409, body = Problem)))]
pub(super) async fn questions(
    State(app): State<AppState>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Refused> {
    if BUILT_IN.contains(&name.as_str()) {
        let sentence = format!("every agent answers {name} itself");
        return Err(Refused::new(StatusCode::CONFLICT, "built_in", sentence));
    }
    let questions = app.agent.cluster.on_query(name.clone()).await?;
    let answering = line(&json!({ "name": name, "node": app.agent.cluster.name() })).event("answering");
    Ok(respond(Some(answering), Asked { questions, desk: app.agent.served.desk }, app.agent.ending))
}

/// Answer a question with the body
#[utoipa::path(post, path = "/v1/queries/{name}/questions/{question}", request_body = Vec<u8>,
    params(("name" = String, Path), ("question" = String, Path)),
    responses((status = 200, body = Done), (status = 404, body = Problem), (status = 413, body = Problem)))]
pub(super) async fn answer(
    State(app): State<AppState>,
    Path((_, number)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Done>, Refused> {
    let question = number.parse().ok().and_then(|number| app.agent.served.desk.take(number));
    let question = question.ok_or_else(|| Refused::absent("open question", &number))?;
    question.answer(body).await?;
    Ok(Json(Done {}))
}
