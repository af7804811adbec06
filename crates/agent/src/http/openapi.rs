//! `openapi.json`, made from the handlers when somebody asks for it.

use axum::Json;
use utoipa::OpenApi;

use super::{
    agreement, data, events, faults, gauges, import, info, leases, listing, logs, members, queries, registers, topics,
    watch,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "rumor", description = "The agent of a gossip cluster. Errors are application/problem+json."),
    paths(
        info::info,
        info::health,
        info::ready,
        members::list,
        members::show,
        members::remove,
        members::join,
        members::leave,
        members::tags,
        members::change_tags,
        events::watch,
        topics::publish,
        topics::subscribe,
        topics::trace,
        queries::ask,
        queries::questions,
        queries::answer,
        data::get,
        data::put,
        data::delete,
        data::change,
        listing::list,
        watch::watch,
        import::import,
        agreement::status,
        agreement::init,
        agreement::change,
        agreement::drop_founding,
        registers::list,
        registers::get,
        registers::put,
        registers::cas,
        registers::delete,
        registers::watch,
        leases::lock,
        leases::keep_lock,
        leases::unlock,
        leases::lock_state,
        leases::lead,
        leases::keep_leading,
        leases::step_down,
        leases::watch,
        gauges::get,
        gauges::put,
        gauges::delete,
        gauges::aggregate,
        faults::show,
        faults::change,
        faults::heal,
        logs::follow,
        document,
    )
)]
struct Api;

/// This description
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, body = Object)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}
