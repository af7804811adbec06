//! The database: what changes, as it happens.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use rumormill::data::{Position, Watch};
use serde::Deserialize;
use serde_json::json;

use super::AppState;
use super::problem::Refused;
use super::stream::{Source, line, respond};
use crate::documents::{Problem, WatchLine};

/// What to watch, and from where.
#[derive(Debug, Deserialize)]
pub(super) struct Watching {
    #[serde(default)]
    prefix: String,
    since: Option<String>,
}

struct Lines(Watch);

impl Source for Lines {
    async fn next(&mut self) -> Option<Event> {
        let news = self.0.next().await?;
        // Browsers send the id of the last line when they connect again.
        Some(line(&WatchLine::from(&news)).id(news.position().to_string()))
    }
}

/// What happens to keys that begin with a prefix, from now on, or after a position
#[utoipa::path(get, path = "/v1/watch",
    description = "The event `watching` says that it is in force. A position is that of an earlier line or of a list; where \
        what happened since is not known any more, the first line is `reload`. `Last-Event-ID` goes before `since`.",
    params(("prefix" = Option<String>, Query), ("since" = Option<String>, Query),
        ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, body = WatchLine, content_type = "text/event-stream"), (status = 422, body = Problem)))]
pub(super) async fn watch(
    State(app): State<AppState>,
    Query(watching): Query<Watching>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refused> {
    let Watching { prefix, since } = watching;
    let last = headers.get("last-event-id").map(|last| String::from_utf8_lossy(last.as_bytes()).into_owned());
    let since = last.or(since).map(|text| position(&text)).transpose()?;
    let data = app.agent.cluster.data();
    let watch = match since {
        Some(since) => data.watch_since(prefix, since).await?,
        None => data.watch(prefix).await?,
    };
    let about = json!({
        "prefix": watch.prefix(), "node": app.agent.cluster.name(), "position": watch.position().to_string(),
    });
    Ok(respond(Some(line(&about).event("watching")), Lines(watch), app.agent.ending))
}

fn position(text: &str) -> Result<Position, Refused> {
    text.parse().map_err(|_| Refused::value("since", text, "a position as a list or a line of a watch gives it"))
}
