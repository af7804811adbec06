//! What the `rumor dev` that started this agent runs, and orders for it: to be passed on.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::AppState;
use super::problem::Refused;
use crate::documents::{DevDocument, DevOrder, Problem};

/// How long an order may take: an agent that starts again is waited for.
const TIMEOUT: Duration = Duration::from_secs(20);
/// What an answer may be as long as.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What the `rumor dev` that started this agent runs
#[utoipa::path(get, path = "/v1/dev",
    responses((status = 200, body = DevDocument), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn show(State(app): State<AppState>) -> Result<Json<DevDocument>, Refused> {
    order(State(app), Json(DevOrder::Show {})).await
}

/// Pause, resume, kill or restart an agent of that `rumor dev`, let datagrams be lost, cut the cluster, heal it
#[utoipa::path(post, path = "/v1/dev", request_body = DevOrder,
    responses((status = 200, body = DevDocument), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn order(
    State(app): State<AppState>,
    Json(order): Json<DevOrder>,
) -> Result<Json<DevDocument>, Refused> {
    let Some(control) = &app.agent.dev_control else {
        return Err(Refused::new(StatusCode::NOT_FOUND, "absent", "this agent was not started by rumor dev"));
    };
    let gone = |error: &dyn std::fmt::Display| {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "gone", format!("rumor dev does not answer: {error}"))
    };
    let answer = tokio::time::timeout(TIMEOUT, pass_on(control, &order)).await;
    let answer = answer.map_err(|error| gone(&error))?.map_err(|error| gone(&error))?;
    answer.map(Json).map_err(refused)
}

async fn pass_on(control: &Path, order: &DevOrder) -> io::Result<Result<DevDocument, Box<Problem>>> {
    let (read, mut write) = UnixStream::connect(control).await?.into_split();
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    let mut answer = String::new();
    BufReader::new(read.take(ANSWER_BYTES_MAX)).read_line(&mut answer).await?;
    Ok(serde_json::from_str(&answer)?)
}

fn refused(problem: Box<Problem>) -> Refused {
    let status = match problem.code.as_str() {
        "absent" => StatusCode::NOT_FOUND,
        "value" => StatusCode::UNPROCESSABLE_ENTITY,
        "state" | "ended" => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refused::problem(status, *problem)
}
