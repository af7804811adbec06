//! The HTTP interface: `/v1` with the documents of the command line, the console at `/`, and `/health` and `/ready` for
//! supervisors.

mod agreement;
mod authority;
mod console;
mod data;
mod dev;
mod events;
mod faults;
mod gauges;
mod guard;
mod import;
mod info;
mod keys;
mod lab;
mod leases;
mod listener;
mod listing;
mod logs;
mod members;
mod metrics;
mod openapi;
mod pace;
mod problem;
mod queries;
mod registers;
mod reload;
mod rtt;
mod stream;
mod topics;
mod turn;
mod watch;
mod why;

pub(crate) use guard::Guard;
pub(crate) use listener::{Listener, Tls};
pub(crate) use listing::LINES;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::routing::{delete, get, post};
use rumormill_core::limits::Limits;

use crate::daemon::Agent;

/// The largest body of a request but an import: a message or a value of the largest size. What is too large is refused while
/// it is read.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// Serves all that the agent offers, until it ends.
pub(crate) async fn serve(agent: Agent, listener: Listener, guard: Arc<Guard>) {
    let (room, ending) = (agent.served.room.clone(), agent.ending.clone());
    listener.serve(router(agent, guard), room, ending).await;
}

/// Serves what supervisors and scrapers read, to everybody, until the agent ends.
pub(crate) async fn serve_metrics(agent: Agent, listener: Listener) {
    let (room, ending) = (agent.served.metrics_room.clone(), agent.ending.clone());
    let watched = watched().layer(map_response(problem::explain)).with_state(AppState { agent });
    listener.serve(watched, room, ending).await;
}

/// What tells how the agent fares, and nothing of what the cluster says.
fn watched() -> Router<AppState> {
    Router::new()
        .route("/health", get(info::health))
        .route("/ready", get(info::ready))
        .route("/metrics", get(metrics::metrics))
}

fn router(agent: Agent, guard: Arc<Guard>) -> Router {
    let lease = post(leases::acquire).put(leases::renew).delete(leases::release);
    let data = get(data::get).put(data::put).delete(data::delete).post(data::change);
    let v1 = Router::new()
        .route("/info", get(info::info))
        .route("/members", get(members::list))
        .route("/members/{name}", get(members::show).delete(members::remove))
        .route("/events", get(events::watch))
        .route("/join", post(members::join))
        .route("/keys", get(keys::list).post(keys::add))
        .route("/keys/{id}", delete(keys::remove))
        .route("/keys/{id}/use", post(keys::switch))
        .route("/revocations", post(authority::revoke))
        .route("/leave", post(members::leave))
        .route("/reload", post(reload::reload))
        .route("/tags", get(members::tags).patch(members::change_tags))
        .route("/topics", get(topics::list))
        .route("/topics/{topic}", get(topics::subscribe).post(topics::publish))
        .route("/topics/{topic}/{origin}/{sequence}/trace", get(topics::trace))
        .route("/rtt", get(rtt::rtt))
        .route("/why/{name}", get(why::why))
        .route("/queries/{name}", post(queries::ask))
        .route("/queries/{name}/questions", get(queries::questions))
        .route("/queries/{name}/questions/{question}", post(queries::answer))
        .route("/data", get(listing::list))
        .route("/data/", data.clone())
        .route("/data/{*key}", data)
        .route("/watch", get(watch::watch))
        .route("/import", post(import::import).layer(DefaultBodyLimit::disable()))
        .route("/agreement", get(agreement::status))
        .route("/agreement/init", post(agreement::init))
        .route("/agreement/voters", post(agreement::change))
        .route("/agreement/foundings/{id}", delete(agreement::drop_founding))
        .route("/registers", get(registers::list))
        .route("/registers/{name}", get(registers::get).put(registers::put).delete(registers::delete))
        .route("/registers/{name}/cas", post(registers::cas))
        .route("/registers/{name}/watch", get(registers::watch))
        .route("/locks", get(leases::list))
        .route("/locks/{name}", lease.clone().get(leases::lock))
        .route("/elections/{name}", lease.get(leases::watch))
        .route("/gauges/{name}", get(gauges::get).put(gauges::put).delete(gauges::delete))
        .route("/aggregates/{name}", get(gauges::aggregate))
        .route("/faults", get(faults::show).patch(faults::change).delete(faults::heal))
        .route("/dev", get(dev::show).post(dev::order))
        .route("/lab/spread", post(lab::spread))
        .route("/lab/run", post(lab::run))
        .route("/logs", get(logs::follow))
        .route("/openapi.json", get(openapi::document));
    let all = watched()
        .nest("/v1", v1)
        .merge(console::router())
        .layer(map_response(problem::explain))
        .layer(from_fn_with_state(guard, guard::check));
    bounded(all).with_state(AppState { agent })
}

/// The same, with bodies of bounded length that come at a least rate.
fn bounded<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).layer(from_fn(pace::keep))
}

/// What HTTP keeps for as long as the agent runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served {
    /// Questions that wait for an answer.
    desk: queries::Desk,
    /// Imports.
    imports: turn::Turn,
    /// Runs of the laboratory.
    lab: turn::Turn,
    room: listener::Room,
    metrics_room: listener::Room,
}

impl Served {
    /// What is bounded here.
    fn limits(&self, to: &mut Limits) {
        let Self { desk, imports, lab, room, metrics_room } = self;
        desk.limits(to);
        imports.limits("imports", to);
        lab.limits("lab_runs", to);
        room.limits("http_connections", to);
        metrics_room.limits("metrics_connections", to);
    }
}

/// What handlers share.
#[derive(Clone, Debug)]
struct AppState {
    agent: Agent,
}
