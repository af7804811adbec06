//! What tests of the database share.

use std::time::Duration;

use rumormill_core::data::{Value, Written};
use rumormill_core::io::Ticket;
use rumormill_core::{Refusal, Reply};
use rumormill_lab::{Failure, Network};

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
