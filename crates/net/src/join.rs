//! Joining through contacts whose names may not resolve yet, or to other addresses later.

use std::net::SocketAddr;

use rumormill_core::{Command, ConfigError, Refusal, Reply};
use tokio::sync::mpsc;

use crate::address::Address;
use crate::error::RequestError;
use crate::request::{self, Request};

/// Reads contacts as people write them.
pub(crate) fn parse(contacts: &[String]) -> Result<Vec<Address>, ConfigError> {
    contacts.iter().map(|contact| Address::parse("join", contact)).collect()
}

pub(crate) async fn join(requests: &mpsc::Sender<Request>, contacts: &[String]) -> Result<SocketAddr, RequestError> {
    let contacts =
        parse(contacts).map_err(|ConfigError { field, value, rule }| Refusal::Invalid { field, value, rule })?;
    let mut addresses = Vec::new();
    for contact in &contacts {
        addresses.extend(contact.resolve().await.unwrap_or_default());
    }
    match request::command(requests, Command::Join { contacts: addresses }).await? {
        Reply::Joined { contact } => Ok(contact),
        Reply::Accepted | Reply::Published { .. } | Reply::Left => unreachable!("a join ends as joined"),
    }
}
