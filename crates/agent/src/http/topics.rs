//! Messages: publish, subscribe, and how one travelled.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use axum::response::sse::Event;
use rumormill::{Delivery, Node, Subscription, TraceLine};
use rumormill_core::config::{TOPIC_RULE, is_topic};
use rumormill_core::{NodeId, Sequence};
use serde::Deserialize;
use serde_json::json;

use super::AppState;
use super::members::Deadline;
use super::problem::Refused;
use super::stream::{Source, line, respond};
use crate::daemon::find;
use crate::documents::{DeliveryDocument, Gap, Problem, Published, TopicDocument, Trace, TraceStep, TraceSummary};

/// The most topics that are told at once.
const TOPICS_MAX: usize = 1_000;

/// Send a message, the body, to every node
#[utoipa::path(post, path = "/v1/topics/{topic}", params(("topic" = String, Path)), request_body = Vec<u8>,
    responses((status = 200, body = Published), (status = 413, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem)))]
pub(super) async fn publish(
    State(app): State<AppState>,
    Path(topic): Path<String>,
    body: Bytes,
) -> Result<Json<Published>, Refused> {
    let cluster = &app.agent.cluster;
    let bytes = body.len() as u64;
    let sequence = cluster.try_publish(topic.clone(), body).await?.to_string();
    Ok(Json(Published { topic, origin: cluster.name().to_owned(), sequence, bytes }))
}

/// From where a subscription begins.
#[derive(Debug, Deserialize)]
pub(super) struct Past {
    #[serde(default)]
    history: usize,
}

struct Messages(Subscription);

impl Source for Messages {
    async fn next(&mut self) -> Option<Event> {
        let document = match self.0.next().await? {
            Delivery::Message(received) => DeliveryDocument::Message((&received).into()),
            Delivery::Missed { topic, origin_name, count, .. } => DeliveryDocument::Missed(Gap {
                missed: count,
                origin: origin_name.to_string(),
                topic: topic.to_string(),
            }),
        };
        Some(line(&document))
    }
}

/// The messages of a topic as they come; the event `subscribed` says that it is in force
#[utoipa::path(get, path = "/v1/topics/{topic}",
    params(("topic" = String, Path), ("history" = Option<usize>, Query)),
    responses((status = 200, body = DeliveryDocument, content_type = "text/event-stream")))]
pub(super) async fn subscribe(
    State(app): State<AppState>,
    Path(topic): Path<String>,
    Query(past): Query<Past>,
) -> Result<impl IntoResponse, Refused> {
    let cluster = &app.agent.cluster;
    check_topic(&topic)?;
    let subscription = cluster.subscribe_with_history(topic.clone(), past.history).await?;
    let subscribed = line(&json!({ "topic": topic, "node": cluster.name() })).event("subscribed");
    Ok(respond(Some(subscribed), Messages(subscription), app.agent.ending))
}

/// How many topics are told.
#[derive(Debug, Deserialize)]
pub(super) struct Limit {
    limit: Option<usize>,
}

/// The topics of which this agent holds messages, by name; of too many, those on which something came in last
#[utoipa::path(get, path = "/v1/topics", params(("limit" = Option<usize>, Query, description = "1,000 at most, and if left out")),
    responses((status = 200, body = Vec<TopicDocument>)))]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(Limit { limit }): Query<Limit>,
) -> Result<Json<Vec<TopicDocument>>, Refused> {
    let limit = limit.map_or(TOPICS_MAX, |limit| limit.min(TOPICS_MAX));
    let newest = move |node: &Node| {
        let mut topics: Vec<_> = node.topics().collect();
        if topics.len() > limit {
            topics.select_nth_unstable_by_key(limit, |topic| Reverse(topic.last));
            topics.truncate(limit);
        }
        topics.sort_unstable_by_key(|topic| topic.name);
        topics.into_iter().map(Into::into).collect()
    };
    Ok(Json(app.agent.cluster.inspect(newest).await?))
}

/// The rule of topics, which publishing finds in the node: a subscription to what can never come is a mistake.
fn check_topic(topic: &str) -> Result<(), Refused> {
    if is_topic(topic) { Ok(()) } else { Err(Refused::value("topic", format!("{topic:?}"), TOPIC_RULE)) }
}

/// When and from whom each member got a message
#[utoipa::path(get, path = "/v1/topics/{topic}/{origin}/{sequence}/trace",
    params(("topic" = String, Path), ("origin" = String, Path), ("sequence" = String, Path),
        ("timeout" = Option<String>, Query)),
    responses((status = 200, body = Trace), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn trace(
    State(app): State<AppState>,
    Path((topic, origin, sequence)): Path<(String, String, String)>,
    Query(deadline): Query<Deadline>,
) -> Result<Json<Trace>, Refused> {
    let members = app.agent.cluster.members().await?;
    let known = find(&members, &origin).map(|member| member.id);
    // With a partial view most are known by their ids only.
    let id = known.or_else(|| id_of(&origin)).ok_or_else(|| Refused::absent("member", &origin))?;
    let place: Sequence = sequence
        .parse()
        .map_err(|_| Refused::value("sequence", &sequence, "a sequence as a message shows it: 7, or 3.7"))?;
    let mut traces = app.agent.cluster.trace(topic.clone(), id, place, deadline.duration()?).await?;
    let mut lines = Vec::new();
    let mut payloads = 0;
    while let Some(step) = traces.next().await {
        payloads += u64::from(step.step.payloads);
        lines.push(step);
    }
    let (asked, estimated) = traces.summary().map_or((Some(0), false), |summary| (summary.asked, summary.estimated));
    let steps = steps_of(&lines);
    if steps.is_empty() {
        return Err(Refused::absent("trace of", &format!("{origin}:{sequence} on {topic}")));
    }
    let summary = TraceSummary {
        done: true,
        reached: steps.len() as u64,
        members: asked.map(|asked| asked as u64),
        estimated,
        payloads,
    };
    Ok(Json(Trace { steps, summary }))
}

/// Ids are 16 lowercase hex digits.
pub(super) fn id_of(text: &str) -> Option<NodeId> {
    text.parse().ok().filter(|id: &NodeId| id.to_string() == text)
}

/// The steps as they are shown: by hop, then by time. Who told a step was named by the node that it told, and by its own step.
fn steps_of(lines: &[TraceLine]) -> Vec<TraceStep> {
    let names: BTreeMap<NodeId, &str> = lines.iter().map(|line| (line.step.node, &*line.name)).collect();
    let mut steps: Vec<TraceStep> = lines
        .iter()
        .map(|line| {
            let from = line.step.from.and_then(|from| names.get(&from)).map(|name| (*name).to_owned());
            let step = TraceStep::from(line);
            TraceStep { from: from.or(step.from), ..step }
        })
        .collect();
    steps.sort_by(|a, b| a.hop.cmp(&b.hop).then(a.at.total_cmp(&b.at)).then_with(|| a.node.cmp(&b.node)));
    steps
}
