//! The laboratory, where the agent was started with `--lab`: one run at a time, on a thread of its own, for as long as the
//! client reads.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::AppState;
use super::problem::Refused;
use super::stream::{Source, line, respond};
use crate::documents::{LabProgress, LabStarted, Problem};
use crate::failure::Failure;
use crate::lab::{Ending, Form, Onlooker, Order};

/// For how long one waits for a run that nobody follows any more to notice that.
const GRACE: Duration = Duration::from_secs(2);
/// How often a client is told how far a run is.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// A third of the weight of the agent's own thread where both want to work, so that it is not starved either.
const NICENESS: i32 = 5;

/// What a run says of itself, and how it ends.
struct Followed {
    progress: watch::Receiver<Option<LabProgress>>,
    /// `None` when it has ended.
    end: Option<oneshot::Receiver<Ending>>,
    /// When the client may be told again.
    next: Instant,
    waiting: VecDeque<Event>,
}

impl Source for Followed {
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.waiting.pop_front() {
            return Some(event);
        }
        let end = self.end.as_mut()?;
        sleep_until(self.next).await;
        self.next = Instant::now() + TELL_EVERY;
        if self.progress.changed().await.is_ok() {
            return Some(line(&*self.progress.borrow_and_update()).event("progress"));
        }
        let lost = || Ending::failed(Problem::new("broken", "the run came to no end: a fault of this program"));
        let Ending { document, problem } = end.await.unwrap_or_else(|_| lost());
        self.end = None;
        self.waiting.extend(document.map(|document| Event::default().data(document)));
        self.waiting.extend(problem.map(|problem| line(&problem).event("failed")));
        self.waiting.pop_front()
    }
}

/// Let a rumor spread in a textbook model: the flags of `rumor lab spread` as keys. First an event `started`, then `progress` as
/// rounds go by, then the document of the command; `failed` where that is not all of it
#[utoipa::path(post, path = "/v1/lab/spread", request_body = Object,
    responses((status = 200, body = LabEvents, content_type = "text/event-stream"),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn spread(State(app): State<AppState>, Json(form): Json<Form>) -> Result<impl IntoResponse, Refused> {
    begin(app, move || Order::spread(&form)).await
}

/// Run real nodes on a virtual network: the flags of `rumor lab run` as keys. Events as those of the model, by virtual time
#[utoipa::path(post, path = "/v1/lab/run", request_body = Object,
    responses((status = 200, body = LabEvents, content_type = "text/event-stream"),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn run(State(app): State<AppState>, Json(form): Json<Form>) -> Result<impl IntoResponse, Refused> {
    begin(app, move || Order::run(&form)).await
}

/// What the events of a run are.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what is written elsewhere")]
enum LabEvents {
    /// `started`.
    Started(LabStarted),
    /// `progress`.
    Progress(LabProgress),
    /// Without a name: the document of `rumor lab spread` or `rumor lab run`.
    Document(serde_json::Value),
    /// `failed`.
    Failed(Box<Problem>),
}

async fn begin(
    app: AppState,
    read: impl FnOnce() -> Result<Order, Failure> + Send + 'static,
) -> Result<impl IntoResponse, Refused> {
    if !app.agent.lab {
        let sentence = "this agent was not started with --lab: its laboratory is closed; `rumor lab` needs no agent";
        return Err(Refused::new(StatusCode::CONFLICT, "no_lab", sentence));
    }
    // A plan may take its time to be checked.
    let order = tokio::task::spawn_blocking(read).await.map_err(|error| no_thread(&error))?;
    let order = order.map_err(|failure| Refused::problem(StatusCode::UNPROCESSABLE_ENTITY, failure.into_problem()))?;
    let busy = "another page runs something in the laboratory of this agent, which takes one run at a time";
    let refused = || Refused::new(StatusCode::CONFLICT, "busy", busy);
    let turn = app.agent.served.lab.take(GRACE).await.ok_or_else(refused)?;
    let started = line(&order.started()).event("started");
    let (onlooker, progress) = Onlooker::new();
    let (ended, end) = oneshot::channel();
    let work = move || {
        // Of this thread alone, as Linux has it; a system that refuses lets it work like any other.
        rustix::process::nice(NICENESS).ok();
        let ending = order.perform(&onlooker);
        drop(turn);
        // Whoever asked may be gone.
        ended.send(ending).ok();
    };
    thread::Builder::new().name("laboratory".to_owned()).spawn(work).map_err(|error| no_thread(&error))?;
    let followed = Followed { progress, end: Some(end), next: Instant::now(), waiting: VecDeque::new() };
    Ok(respond(Some(started), followed, app.agent.ending))
}

fn no_thread(error: &dyn std::fmt::Display) -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "system", format!("the system gives no thread: {error}"))
}
