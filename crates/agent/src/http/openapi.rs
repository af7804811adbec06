//! `openapi.json`, made from the handlers when somebody asks for it.

use axum::Json;
use utoipa::openapi::RefOr;
use utoipa::{OpenApi, openapi};

use super::{
    agreement, authority, data, dev, events, faults, gauges, import, info, keys, lab, leases, listing, logs, members,
    metrics, queries, registers, reload, rtt, topics, watch, why,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "rumor", description = "The agent of a gossip cluster. Errors are application/problem+json."),
    paths(
        info::info,
        info::health,
        info::ready,
        metrics::metrics,
        members::list,
        members::show,
        members::remove,
        members::join,
        members::leave,
        reload::reload,
        members::tags,
        members::change_tags,
        events::watch,
        topics::list,
        topics::publish,
        topics::subscribe,
        topics::trace,
        rtt::rtt,
        why::why,
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
        leases::acquire,
        leases::renew,
        leases::release,
        leases::list,
        leases::lock,
        leases::watch,
        gauges::get,
        gauges::put,
        gauges::delete,
        gauges::aggregate,
        authority::revoke,
        keys::list,
        keys::add,
        keys::switch,
        keys::remove,
        faults::show,
        faults::change,
        faults::heal,
        dev::show,
        dev::order,
        lab::spread,
        lab::run,
        logs::follow,
        document,
    )
)]
struct Api;

/// This description
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, body = Object)))]
pub(super) async fn document() -> Json<openapi::OpenApi> {
    let mut api = Api::openapi();
    name_kinds(&mut api);
    Json(api)
}

/// Locks and elections are described together, and served under two names.
fn name_kinds(api: &mut openapi::OpenApi) {
    let Some(both) = api.paths.paths.remove("/v1/{kind}/{name}") else { return };
    for kind in ["locks", "elections"] {
        let mut described = both.clone();
        for operation in [&mut described.post, &mut described.put, &mut described.delete].into_iter().flatten() {
            if let Some(parameters) = &mut operation.parameters {
                parameters.retain(|parameter| !matches!(parameter, RefOr::T(named) if named.name == "kind"));
            }
        }
        api.paths.paths.entry(format!("/v1/{kind}/{{name}}")).or_default().merge_operations(described);
    }
}
