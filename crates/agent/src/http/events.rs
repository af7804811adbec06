//! What changes about members, as it happens.

use std::collections::VecDeque;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use rumormill::{Cluster, Events};

use super::AppState;
use super::problem::Refused;
use super::stream::{Source, line, respond};
use crate::daemon::document;
use crate::documents::{MemberEvent, members};

struct Watch {
    cluster: Cluster,
    events: Events,
    waiting: VecDeque<Event>,
}

impl Source for Watch {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            match self.events.next().await? {
                Ok(event) => self.waiting.extend(document(&event).map(|document| line(&document))),
                // Too slow: told so, and brought up to date.
                Err(lagged) => {
                    self.waiting.push_back(line(&MemberEvent::Missed { missed: lagged.0 }));
                    let members = self.cluster.members().await.ok()?;
                    self.waiting.push_back(line(&MemberEvent::snapshot(&members)));
                }
            }
        }
    }
}

/// First all members, then a line a change
#[utoipa::path(get, path = "/v1/events",
    responses((status = 200, body = MemberEvent, content_type = "text/event-stream")))]
pub(super) async fn watch(State(app): State<AppState>) -> Result<impl IntoResponse, Refused> {
    let cluster = app.agent.cluster;
    // Listening begins before the list is read, so that nothing falls between; a change may show in both.
    let events = cluster.events();
    let listed = cluster.members().await?;
    let first = MemberEvent::Snapshot { event: "snapshot".to_owned(), members: members(&listed) };
    Ok(respond(Some(line(&first)), Watch { cluster, events, waiting: VecDeque::new() }, app.agent.ending))
}
