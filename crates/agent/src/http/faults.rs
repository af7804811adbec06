//! Faults on purpose, where the agent was started with `--allow-faults`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rumormill::{Direction, Faults, Peer};

use super::AppState;
use super::members::member;
use super::problem::Refused;
use crate::documents::{FaultsChange, FaultsDocument, Problem};

/// The faults of this agent
#[utoipa::path(get, path = "/v1/faults",
    responses((status = 200, body = FaultsDocument), (status = 409, body = Problem)))]
pub(super) async fn show(State(app): State<AppState>) -> Result<Json<FaultsDocument>, Refused> {
    let faults = faults(&app)?;
    describe(&app, faults).await
}

/// Change the faults of this agent; what is left out stays
#[utoipa::path(patch, path = "/v1/faults", request_body = FaultsChange,
    responses((status = 200, body = FaultsDocument), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub(super) async fn change(
    State(app): State<AppState>,
    Json(FaultsChange { loss, delay, cut }): Json<FaultsChange>,
) -> Result<Json<FaultsDocument>, Refused> {
    let faults = faults(&app)?;
    let mut addresses = Vec::new();
    for name in &cut {
        addresses.extend(member(&app, name).await?.addresses);
    }
    if let Some(share) = loss {
        faults.loss(share)?;
    }
    if let Some(seconds) = delay {
        let delay = Duration::try_from_secs_f64(seconds)
            .map_err(|_| Refused::value("delay", seconds, "a number of seconds from 0 to 60"))?;
        faults.delay(delay)?;
    }
    faults.cut(addresses);
    describe(&app, faults).await
}

/// Undo all faults of this agent
#[utoipa::path(delete, path = "/v1/faults",
    responses((status = 200, body = FaultsDocument), (status = 409, body = Problem)))]
pub(super) async fn heal(State(app): State<AppState>) -> Result<Json<FaultsDocument>, Refused> {
    let faults = faults(&app)?;
    faults.heal();
    describe(&app, faults).await
}

fn faults(app: &AppState) -> Result<&Faults, Refused> {
    let sentence = "this agent was not started with --allow-faults";
    app.agent.cluster.faults().ok_or_else(|| Refused::new(StatusCode::CONFLICT, "no_faults", sentence))
}

async fn describe(app: &AppState, faults: &Faults) -> Result<Json<FaultsDocument>, Refused> {
    let members = app.agent.cluster.members().await?;
    let name_of = |address| {
        let holder = members.iter().find(|member| member.addresses.contains(&address));
        holder.map_or_else(|| address.to_string(), |member| member.name.clone())
    };
    let mut document = FaultsDocument::default();
    for rule in faults.state().iter().filter(|rule| rule.direction == Direction::Out) {
        match rule.peer {
            Peer::All => {
                document.loss = rule.fault.loss;
                document.delay = rule.fault.delay.as_secs_f64();
            }
            Peer::Address(address) if rule.fault.cut => document.cut.push(name_of(address)),
            Peer::Address(_) => {}
        }
    }
    document.cut.sort();
    Ok(Json(document))
}
