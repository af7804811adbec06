//! How long it takes between two members.

use axum::Json;
use axum::extract::{Query, State};
use rumormill_core::{Member, NodeId};
use serde::Deserialize;

use super::AppState;
use super::members::duration_of;
use super::problem::Refused;
use super::topics::id_of;
use crate::daemon::find;
use crate::documents::{Problem, RoundTripDocument};

/// Between whom; `from` is this agent if it is left out.
#[derive(Debug, Deserialize)]
pub(super) struct Ends {
    from: Option<String>,
    to: Option<String>,
    timeout: Option<String>,
}

/// How long a packet and its answer take between two members, by name or id: measured, or estimated from where they are
#[utoipa::path(get, path = "/v1/rtt",
    params(("from" = Option<String>, Query), ("to" = String, Query), ("timeout" = Option<String>, Query)),
    responses((status = 200, body = RoundTripDocument), (status = 404, body = Problem), (status = 422, body = Problem),
        (status = 504, body = Problem)))]
pub(super) async fn rtt(
    State(app): State<AppState>,
    Query(ends): Query<Ends>,
) -> Result<Json<RoundTripDocument>, Refused> {
    let cluster = &app.agent.cluster;
    let timeout = duration_of(ends.timeout.as_deref())?;
    let members = cluster.members().await?;
    let to = ends.to.ok_or_else(|| Refused::value("to", "none", "the name or id of a member"))?;
    let to = who(&members, &to)?;
    let from = match ends.from {
        Some(from) => who(&members, &from)?,
        None => (cluster.name().to_owned(), cluster.id()),
    };
    let found = cluster.round_trip(from.1, to.1, timeout).await?;
    Ok(Json(RoundTripDocument::new(from.0, to.0, found)))
}

/// With a partial view most are known by their ids only.
fn who(members: &[Member], text: &str) -> Result<(String, NodeId), Refused> {
    let known = find(members, text).map(|member| (member.name.clone(), member.id));
    known.or_else(|| Some((text.to_owned(), id_of(text)?))).ok_or_else(|| Refused::absent("member", text))
}
