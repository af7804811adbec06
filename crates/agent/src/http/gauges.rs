//! Gauges of this agent, and what those of all agents are together.

use axum::Json;
use axum::extract::{Path, Query, State};
use rumormill_core::Node;
use serde::Deserialize;

use super::AppState;
use super::problem::Refused;
use crate::daemon::gauges::BUILT_IN;
use crate::documents::{AggregateDocument, Done, Function, GaugeDocument, Problem};

/// What to make of the values.
#[derive(Debug, Deserialize)]
pub(super) struct Asking {
    function: Option<Function>,
    q: Option<String>,
}

/// What a gauge of this agent stands at
#[utoipa::path(get, path = "/v1/gauges/{name}", params(("name" = String, Path)),
    responses((status = 200, body = GaugeDocument), (status = 404, body = Problem)))]
pub(super) async fn get(State(app): State<AppState>, Path(name): Path<String>) -> Result<Json<GaugeDocument>, Refused> {
    let wanted = name.clone();
    let find = move |node: &Node| node.gauges().find(|(own, _)| *own == wanted).map(|(_, value)| value);
    let value = app.agent.cluster.inspect(find).await?;
    value.map(|value| Json(GaugeDocument { name: name.clone(), value })).ok_or_else(|| Refused::absent("gauge", &name))
}

/// Give a gauge of this agent a value: the body is a number
#[utoipa::path(put, path = "/v1/gauges/{name}", params(("name" = String, Path)), request_body = String,
    responses((status = 200, body = GaugeDocument), (status = 422, body = Problem)))]
pub(super) async fn put(
    State(app): State<AppState>,
    Path(name): Path<String>,
    body: String,
) -> Result<Json<GaugeDocument>, Refused> {
    check_free(&name)?;
    let number = body.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let value = number.ok_or_else(|| Refused::value("number", &body, "a finite number"))?;
    app.agent.cluster.set_gauge(name.clone(), Some(value)).await?;
    Ok(Json(GaugeDocument { name, value }))
}

/// Take a gauge of this agent away
#[utoipa::path(delete, path = "/v1/gauges/{name}", params(("name" = String, Path)),
    responses((status = 200, body = Done), (status = 422, body = Problem)))]
pub(super) async fn delete(State(app): State<AppState>, Path(name): Path<String>) -> Result<Json<Done>, Refused> {
    check_free(&name)?;
    app.agent.cluster.set_gauge(name, None).await?;
    Ok(Json(Done {}))
}

fn check_free(name: &str) -> Result<(), Refused> {
    if BUILT_IN.contains(&name) {
        return Err(Refused::value(
            "gauge",
            name,
            "another than load, memory, members and uptime, which every agent has",
        ));
    }
    Ok(())
}

/// What the values of a gauge on all agents are together; `q` is the part of a quantile, from 0 to 1
#[utoipa::path(get, path = "/v1/aggregates/{name}",
    params(("name" = String, Path), ("function" = Option<String>, Query), ("q" = Option<f64>, Query)),
    responses((status = 200, body = AggregateDocument), (status = 422, body = Problem)))]
pub(super) async fn aggregate(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Query(asking): Query<Asking>,
) -> Result<Json<AggregateDocument>, Refused> {
    let function = asking.function.unwrap_or(Function::Avg);
    let part = asking.q.as_deref().unwrap_or("0.5");
    let quantile = (function == Function::Quantile)
        .then(|| part.parse::<f64>().map_err(|_| Refused::value("q", part, "a number from 0 to 1")))
        .transpose()?;
    let found = app.agent.cluster.aggregate(name, quantile).await?;
    Ok(Json(AggregateDocument::new(function, &found)))
}
