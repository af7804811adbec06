//! `/metrics`: what the agent counts, in the form that Prometheus reads (`OpenMetrics` 1.0), taken when it is asked for.

use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use rumormill::Node;
use rumormill_core::limits;
use rumormill_lab::memory;
use rustix::time::{ClockId, clock_gettime};

use super::AppState;
use super::problem::Refused;
use crate::daemon::Agent;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics in Prometheus form
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String)))]
pub(super) async fn metrics(State(app): State<AppState>) -> Result<Response, Refused> {
    let mut families = app.agent.cluster.inspect(of_node).await?;
    let handled = app.agent.handled.by_name();
    families.push(Family::counters("rumor_handlers", "Commands of [[on]], by how they ended", "outcome", handled));
    families.extend(of_sockets(&app.agent));
    families.extend(of_certificate(&app.agent));
    families.extend(of_limits(&app.agent).await?);
    families.extend(of_process(&app.agent));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut page = String::new();
    // Writing to a string cannot fail.
    text::encode(&mut page, &registry).ok();
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], page).into_response())
}

/// One number, and what tells it from others of its family.
#[derive(Clone, Debug)]
struct Sample {
    label: Option<(&'static str, String)>,
    value: f64,
}

/// What is counted or measured under one name.
#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    is_counter: bool,
    samples: Vec<Sample>,
}

impl Family {
    fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, unit: None, is_counter: false, samples: Vec::new() }
    }

    /// A number that rises and falls.
    fn gauge(name: &'static str, help: &'static str, value: impl Number) -> Self {
        Self::new(name, help).and(None, value)
    }

    /// A number that only rises; its name gets `_total`.
    fn counter(name: &'static str, help: &'static str, value: impl Number) -> Self {
        Self { is_counter: true, ..Self::gauge(name, help, value) }
    }

    /// Numbers that only rise, by cause or kind.
    fn counters<L: ToString>(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> Self {
        Self { is_counter: true, ..Self::gauges(name, help, label, values) }
    }

    /// Numbers that rise and fall, by kind.
    fn gauges<L: ToString>(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> Self {
        let family = Self::new(name, help);
        values.into_iter().fold(family, |family, (of, value)| family.and(Some((label, of.to_string())), value))
    }

    fn in_unit(self, unit: Unit) -> Self {
        Self { unit: Some(unit), ..self }
    }

    fn and(mut self, label: Option<(&'static str, String)>, value: impl Number) -> Self {
        self.samples.push(Sample { label, value: value.number() });
        self
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = if self.is_counter { MetricType::Counter } else { MetricType::Gauge };
        let mut metric = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), kind)?;
        for Sample { label, value } in &self.samples {
            match label {
                Some((key, of)) => self.encode_value(&mut metric.encode_family(&[(*key, of.as_str())])?, *value)?,
                None => self.encode_value(&mut metric, *value)?,
            }
        }
        Ok(())
    }

    fn encode_value(&self, to: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
        if self.is_counter {
            return to.encode_counter::<NoLabelSet, f64, f64>(&value, None);
        }
        to.encode_gauge(&value)
    }
}

trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for u32 {
    fn number(self) -> f64 {
        self.into()
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        (self as u64).number()
    }
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

fn of_node(node: &Node) -> Vec<Family> {
    let counts = node.member_counts();
    let states = [("alive", counts.alive), ("suspect", counts.suspect), ("dead", counts.dead), ("left", counts.left)];
    let config = node.config();
    vec![
        Family::gauges(
            "rumor_members",
            "Members that this node lists, itself included",
            "state",
            states.map(|(state, count)| (state, count as u64)),
        ),
        Family::gauge("rumor_size_estimate", "How many nodes this node takes the cluster to have", node.size()),
        Family::gauge("rumor_neighbours", "Peers that this node gossips with first", node.neighbours().count()),
        Family::gauge("rumor_health_score", "Lifeguard's score of this node's own health, 0 the best", node.health()),
        Family::gauge(
            "rumor_degraded",
            "1 where updates had to be refused for lack of room",
            u64::from(node.is_degraded()),
        ),
        Family::gauge("rumor_data_updates", "Updates in the database", node.shelf().updates()),
        Family::gauge("rumor_data", "What the database takes", node.data_bytes()).in_unit(Unit::Bytes),
        Family::gauge("rumor_data_limit", "What the database may take", config.data_bytes_max).in_unit(Unit::Bytes),
        Family::gauge("rumor_unsaved", "Records that are not on disk yet", node.unsaved()),
        Family::gauge(
            "rumor_bandwidth_limit",
            "Bytes that may be sent in a second, 0 where nothing bounds it",
            config.bandwidth_max,
        ),
    ]
    .into_iter()
    .chain(traffic(node))
    .collect()
}

/// What was counted between the node and the network.
fn of_sockets(agent: &Agent) -> impl Iterator<Item = Family> {
    let counts = agent.cluster.socket_counts();
    let unsent = "Datagrams that the system did not take, or that found no room to wait in";
    let refused = "Connections closed at once because too many were open";
    let sealed = agent.cluster.seal_counts().map(|counts| {
        let handshakes = "Streams that did not prove that they have the key of the cluster";
        [
            Family::counters("rumor_unsealed", "Datagrams that were not opened", "cause", counts.by_cause()),
            Family::counter("rumor_handshakes_failed", handshakes, counts.handshakes),
        ]
    });
    let always = [
        Family::counter("rumor_datagrams_unsent", unsent, counts.datagrams_unsent),
        Family::counter("rumor_connections_refused", refused, counts.streams_refused),
    ];
    always.into_iter().chain(sealed.into_iter().flatten())
}

/// When the certificate runs out, where it does.
fn of_certificate(agent: &Agent) -> Option<Family> {
    let help = "When the agent's certificate runs out and the agent stops, since 1970";
    let end = agent.cluster.certificate_end()?;
    Some(Family::gauge("rumor_certificate_expiry_timestamp", help, end.as_secs_f64()).in_unit(Unit::Seconds))
}

/// Everything that is bounded, in the node, around it and here: how much there is of it, and how much there may be.
async fn of_limits(agent: &Agent) -> Result<[Family; 4], Refused> {
    let mut limits = agent.cluster.limits().await?;
    agent.served.limits(&mut limits);
    agent.logs.limits(&mut limits);
    let counted = |unit: limits::Unit| limits.iter().filter(move |limit| limit.unit == unit);
    let held = |unit| counted(unit).map(|limit| (limit.what, limit.held));
    let most = |unit| counted(unit).map(|limit| (limit.what, limit.most));
    let entries = Unit::Other("entries".to_owned());
    let family = |name, help, values: Vec<_>| Family::gauges(name, help, "what", values);
    let (is_held, may_be) = ("How much is held of what is bounded", "How much of it may be held");
    Ok([
        family("rumor_held", is_held, held(limits::Unit::Entries).collect()).in_unit(entries.clone()),
        family("rumor_capacity", may_be, most(limits::Unit::Entries).collect()).in_unit(entries),
        family("rumor_held", is_held, held(limits::Unit::Bytes).collect()).in_unit(Unit::Bytes),
        family("rumor_capacity", may_be, most(limits::Unit::Bytes).collect()).in_unit(Unit::Bytes),
    ])
}

fn traffic(node: &Node) -> impl Iterator<Item = Family> {
    let counters = node.counters();
    let sent = "What was sent as payload of datagrams and on streams";
    let received = "What was received as payload of datagrams and on streams";
    let updates = [("new", counters.updates_new), ("known", counters.updates_known)];
    [
        Family::counter("rumor_datagrams_sent", "Datagrams sent", counters.datagrams_sent),
        Family::counter(
            "rumor_datagrams_received",
            "Datagrams that came in, dropped ones included",
            counters.datagrams_received,
        ),
        Family::counter("rumor_sent", sent, counters.bytes_sent).in_unit(Unit::Bytes),
        Family::counter("rumor_received", received, counters.bytes_received).in_unit(Unit::Bytes),
        Family::counters("rumor_dropped", "Input that was dropped", "cause", counters.dropped.by_cause()),
        Family::counters("rumor_updates_received", "Updates that came in", "was", updates),
        Family::counter(
            "rumor_payloads_received",
            "Payloads of messages that came in, duplicates included",
            counters.payloads_received,
        ),
        Family::counter("rumor_suspicions", "Suspicions that this node raised by its own probes", counters.suspicions),
        Family::counter("rumor_refutations", "Claims about itself that this node contradicted", counters.refutations),
    ]
    .into_iter()
}

/// What the agent is, and what it takes of the machine; what the system does not tell is left out.
fn of_process(agent: &Agent) -> impl Iterator<Item = Family> {
    let build = Family::new("rumor_build_info", "1, with the version of the agent")
        .and(Some(("version", env!("CARGO_PKG_VERSION").to_owned())), 1_u64);
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let spent = Duration::try_from(spent).unwrap_or_default().as_secs_f64();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let started = now.saturating_sub(agent.uptime()).as_secs_f64();
    let memory = memory::resident().map(|bytes| {
        Family::gauge("process_resident_memory", "Memory that the agent takes", bytes).in_unit(Unit::Bytes)
    });
    let files = fs::read_dir("/proc/self/fd").ok();
    let files = files.map(|open| Family::gauge("process_open_fds", "Files and sockets that are open", open.count()));
    let always = [
        build,
        Family::counter("process_cpu", "Processor time spent", spent).in_unit(Unit::Seconds),
        Family::gauge("process_start_time", "When the agent started, since 1970", started).in_unit(Unit::Seconds),
    ];
    always.into_iter().chain(memory).chain(files)
}
