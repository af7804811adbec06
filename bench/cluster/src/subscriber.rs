//! Subscribers to a topic or to data, one at each agent, over HTTP.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cluster::DEADLINE;
use crate::http;
use crate::interrupt::Interrupt;

/// What a subscriber gets, and when it came.
#[derive(Debug)]
struct Delivery {
    to: usize,
    at: Instant,
    kind: DeliveryKind,
}

#[derive(Debug)]
enum DeliveryKind {
    /// The subscription is in force.
    Subscribed,
    /// A document: a message or a gap.
    Document(String),
    Ended,
}

/// A subscription at every agent.
#[derive(Debug)]
pub(crate) struct Subscribers {
    connections: Vec<TcpStream>,
    deliveries: Receiver<Delivery>,
    interrupt: Interrupt,
}

impl Subscribers {
    /// Subscribes to a topic at all these agents and waits until all subscriptions are in force.
    pub(crate) fn at(agents: &[SocketAddr], topic: &str, interrupt: &Interrupt) -> anyhow::Result<Self> {
        Self::to(agents, &format!("/v1/topics/{topic}"), interrupt)
    }

    /// Watches data at all these agents likewise. What a watch tells can be read.
    pub(crate) fn watching(agents: &[SocketAddr], prefix: &str, interrupt: &Interrupt) -> anyhow::Result<Self> {
        Self::to(agents, &format!("/v1/watch?prefix={prefix}"), interrupt)
    }

    fn to(agents: &[SocketAddr], path: &str, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let (sender, deliveries) = channel();
        let mut connections = Vec::new();
        for (to, agent) in agents.iter().enumerate() {
            let connection = http::request(*agent, "GET", path, "")?;
            listen(connection.try_clone()?, to, sender.clone());
            connections.push(connection);
        }
        let subscribers = Self { connections, deliveries, interrupt: interrupt.clone() };
        subscribers.until_all("subscribed", |kind| matches!(kind, DeliveryKind::Subscribed))?;
        Ok(subscribers)
    }

    /// Waits until each subscriber got the message of this payload; says when each did, in that order.
    pub(crate) fn until_all_have(&self, payload: &str) -> anyhow::Result<Vec<Instant>> {
        self.until_all_got("payload", payload)
    }

    /// Waits until each heard of a change of this key; says when each did, in that order.
    pub(crate) fn until_all_see(&self, key: &str) -> anyhow::Result<Vec<Instant>> {
        self.until_all_got("key", key)
    }

    fn until_all_got(&self, field: &str, value: &str) -> anyhow::Result<Vec<Instant>> {
        let is_it = |kind: &DeliveryKind| {
            let DeliveryKind::Document(text) = kind else { return false };
            serde_json::from_str::<Value>(text).is_ok_and(|document| document[field] == value)
        };
        self.until_all(&format!("got {value}"), is_it)
    }

    fn until_all(&self, what: &str, is_it: impl Fn(&DeliveryKind) -> bool) -> anyhow::Result<Vec<Instant>> {
        let deadline = Instant::now() + DEADLINE;
        let mut missing: BTreeSet<usize> = (0..self.connections.len()).collect();
        let mut times = Vec::new();
        while !missing.is_empty() {
            let delivery = match self.deliveries.recv_timeout(self.interrupt.patience(deadline)?) {
                Ok(delivery) => delivery,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => continue,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    bail!("{} of {} subscribers have not {what}", missing.len(), self.connections.len())
                }
            };
            let Delivery { to, at, kind } = delivery;
            if matches!(kind, DeliveryKind::Ended) {
                bail!("subscription {to} has ended");
            }
            if is_it(&kind) && missing.remove(&to) {
                times.push(at);
            }
        }
        times.sort();
        Ok(times)
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        for connection in &self.connections {
            // The agent may have closed it.
            connection.shutdown(Shutdown::Both).ok();
        }
    }
}

fn listen(connection: TcpStream, to: usize, deliveries: Sender<Delivery>) {
    thread::spawn(move || {
        let mut lines = BufReader::new(connection).lines();
        let mut is_subscribed = false;
        while let Some(line) = lines.next().and_then(Result::ok) {
            let at = Instant::now();
            let kind = if line == "event: subscribed" || line == "event: watching" {
                is_subscribed = true;
                DeliveryKind::Subscribed
            } else if let Some(document) = line.strip_prefix("data: ").filter(|_| is_subscribed) {
                DeliveryKind::Document(document.to_owned())
            } else {
                continue;
            };
            if deliveries.send(Delivery { to, at, kind }).is_err() {
                return;
            }
        }
        // Nobody listens any more: the measurement is over.
        deliveries.send(Delivery { to, at: Instant::now(), kind: DeliveryKind::Ended }).ok();
    });
}

/// Publishes a message at an agent; says when the request began.
pub(crate) fn publish(agent: SocketAddr, topic: &str, payload: &str) -> anyhow::Result<Instant> {
    let at = Instant::now();
    http::post(agent, &format!("/v1/topics/{topic}"), payload).context("failed to publish")?;
    Ok(at)
}

/// Writes a register at an agent; says when the request began.
pub(crate) fn put(agent: SocketAddr, key: &str, value: &str) -> anyhow::Result<Instant> {
    let at = Instant::now();
    http::put(agent, &format!("/v1/data/{key}"), value).context("failed to write")?;
    Ok(at)
}
