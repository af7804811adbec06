//! What tests of the database share.

use std::time::Duration;

use rumormill_core::ConfigBuilder;
use rumormill_core::data::{Value, Written};
use rumormill_core::io::Ticket;
use rumormill_core::{Refusal, Reply};
use rumormill_lab::{Failure, Network, seeds};

/// A network for one seed, whose failures say how to replay them.
pub(crate) fn network(seed: u64, nodes: usize) -> Network {
    Network::new(seed).replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed)).nodes(nodes)
}

/// The shortest time for which deletions may be remembered.
pub(crate) const TOMBSTONE_TTL: Duration = Duration::from_secs(80);

/// Settings under which it is that.
pub(crate) fn forgetful() -> ConfigBuilder {
    ConfigBuilder { tombstone_ttl: TOMBSTONE_TTL, ..ConfigBuilder::lan() }
}

/// All nodes that are up come to hold the same.
pub(crate) fn settle(net: &mut Network) -> Result<(), Failure> {
    net.run_until(Network::data_has_settled, Duration::from_mins(1))?;
    net.check_data()
}

/// How a write ended.
pub(crate) fn result(net: &mut Network, ticket: Ticket) -> Result<Result<Written, Refusal>, Failure> {
    net.run_until(|net| net.result(ticket).is_some(), Duration::from_secs(20))?;
    Ok(match net.result(ticket) {
        Some(Ok(Reply::Written(written))) => Ok((**written).clone()),
        Some(Err(refusal)) => Err(refusal.clone()),
        other => panic!("no answer to a write: {other:?}"),
    })
}

/// What a write gave back that has to succeed.
pub(crate) fn done(net: &mut Network, ticket: Ticket) -> Result<Written, Failure> {
    Ok(result(net, ticket)?.unwrap_or_else(|refusal| panic!("{refusal}; replay: {}", net.replay_line())))
}

/// A register's value.
pub(crate) fn register(value: &[u8]) -> Value {
    Value::Register(value.to_vec())
}

/// A set's elements.
pub(crate) fn set(elements: &[&str]) -> Value {
    Value::Set(elements.iter().map(|element| element.as_bytes().to_vec()).collect())
}

/// Every node that is up must show that value.
#[track_caller]
pub(crate) fn all_show(net: &Network, key: &str, value: &Value) {
    for node in net.up() {
        assert_eq!(net.get(node, key).map(|entry| entry.value).as_ref(), Some(value), "{key} at n{node}");
    }
}

/// No node that is up may show anything.
#[track_caller]
pub(crate) fn all_lack(net: &Network, key: &str) {
    for node in net.up() {
        assert_eq!(net.get(node, key), None, "{key} at n{node}");
    }
}
