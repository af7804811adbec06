//! The HTTP interface: `/v1` with the documents of the command line, and `/health` and `/ready` for supervisors.

mod agreement;
mod data;
mod events;
mod faults;
mod gauges;
mod guard;
mod import;
mod info;
mod leases;
mod listing;
mod logs;
mod members;
mod openapi;
mod problem;
mod queries;
mod registers;
mod rtt;
mod stream;
mod topics;
mod watch;
mod why;

pub(crate) use listing::LINES;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, map_response};
use axum::routing::{delete, get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::daemon::Agent;

/// The largest body of a request but an import: a message or a value of the largest size. What is too large is refused while
/// it is read.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// Serves until the agent ends.
pub(crate) async fn serve(agent: Agent, listener: TcpListener) {
    let mut ending = agent.ending.clone();
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("a connection keeps delaying small packets: {error}");
        }
    });
    let serving = axum::serve(listener, router(agent)).with_graceful_shutdown(async move {
        // An error says that the agent is gone already.
        ending.wait_for(|is_ending| *is_ending).await.ok();
    });
    if let Err(error) = serving.await {
        tracing::error!("HTTP is no longer served: {error}");
    }
}

fn router(agent: Agent) -> Router {
    let lease = post(leases::acquire).put(leases::renew).delete(leases::release);
    let keys = get(data::get).put(data::put).delete(data::delete).post(data::change);
    let v1 = Router::new()
        .route("/info", get(info::info))
        .route("/members", get(members::list))
        .route("/members/{name}", get(members::show).delete(members::remove))
        .route("/events", get(events::watch))
        .route("/join", post(members::join))
        .route("/leave", post(members::leave))
        .route("/tags", get(members::tags).patch(members::change_tags))
        .route("/topics/{topic}", get(topics::subscribe).post(topics::publish))
        .route("/topics/{topic}/{origin}/{sequence}/trace", get(topics::trace))
        .route("/rtt", get(rtt::rtt))
        .route("/why/{name}", get(why::why))
        .route("/queries/{name}", post(queries::ask))
        .route("/queries/{name}/questions", get(queries::questions))
        .route("/queries/{name}/questions/{question}", post(queries::answer))
        .route("/data", get(listing::list))
        .route("/data/", keys.clone())
        .route("/data/{*key}", keys)
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
        .route("/locks/{name}", lease.clone().get(leases::lock))
        .route("/elections/{name}", lease.get(leases::watch))
        .route("/gauges/{name}", get(gauges::get).put(gauges::put).delete(gauges::delete))
        .route("/aggregates/{name}", get(gauges::aggregate))
        .route("/faults", get(faults::show).patch(faults::change).delete(faults::heal))
        .route("/logs", get(logs::follow))
        .route("/openapi.json", get(openapi::document));
    Router::new()
        .route("/health", get(info::health))
        .route("/ready", get(info::ready))
        .nest("/v1", v1)
        .layer(map_response(problem::explain))
        .layer(from_fn(guard::only_this_machine))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(AppState { agent, desk: queries::Desk::default() })
}

/// What handlers share: the agent, and the questions that wait for an answer.
#[derive(Clone, Debug)]
struct AppState {
    agent: Agent,
    desk: queries::Desk,
}
