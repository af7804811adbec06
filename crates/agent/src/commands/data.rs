//! `rumor get`, `put`, `delete`, `add`, `insert` and `remove-element`.

mod transfer;
mod watch;

use rumormill::data::Value;
use rumormill_core::duration;
use ureq::http::Method;

pub(super) use self::transfer::{export, import, list};
pub(super) use self::watch::watch;
use super::Output;
use super::topics::payload;
use crate::cli;
use crate::client::Client;
use crate::documents::{EntryDocument, Misfit, WrittenDocument};
use crate::failure::{Failure, Kind};
use crate::http::BODY_BYTES_MAX;
use crate::{percent, print};

pub(super) fn get(flags: &cli::Get, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let document: EntryDocument = client.get(&path(&flags.key))?;
    warn_of_conflict(&document.key, &document.kind, &document.conflict);
    if output.json {
        return Ok(print::json(&document)?);
    }
    match document.value().map_err(|misfit| not_an_agent(&misfit))? {
        Value::Register(bytes) => Ok(print::bytes(&bytes, if flags.raw { "" } else { "\n" })?),
        Value::Counter(sum) => Ok(print::line(sum.to_string())?),
        Value::Set(elements) => Ok(elements.iter().try_for_each(|element| print::bytes(element, "\n"))?),
    }
}

fn not_an_agent(misfit: &Misfit) -> Failure {
    let Misfit { field, value, rule } = misfit;
    let sentence =
        format!("the agent sent a document that this program does not understand ({field} is {value}, not {rule})");
    Failure::new(Kind::NotAnswered, "not_an_agent", sentence)
}

pub(super) fn put(flags: cli::Put, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let value = payload(Some(flags.value))?;
    if value.len() > BODY_BYTES_MAX {
        let rule = format!("at most {BODY_BYTES_MAX} bytes");
        return Err(Failure::value("value", format!("{} bytes", value.len()), rule));
    }
    let ttl = flags.ttl.map_or_else(String::new, |ttl| format!("&ttl={}", duration::format(ttl)));
    let written = write(&client, Method::PUT, &flags.key, flags.manner, &ttl, value)?;
    report(&written, flags.manner, "", output)
}

pub(super) fn delete(flags: &cli::Delete, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let written = write(&client, Method::DELETE, &flags.key, flags.manner, "", Vec::new())?;
    report(&written, flags.manner, "deleted, ", output)
}

pub(super) fn add(flags: &cli::Add, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let body = flags.amount.to_string().into_bytes();
    let written = act(&client, "add", &flags.key, flags.manner, body)?;
    if output.json {
        return Ok(print::json(&written)?);
    }
    if flags.manner.replicas > 0 {
        print::note(sentence(&written, flags.manner, ""));
    }
    Ok(print::line(written.value.unwrap_or_default().to_string())?)
}

pub(super) fn insert(flags: &cli::SetChange, output: Output) -> Result<(), Failure> {
    let written = act_on_element("insert", flags)?;
    report(&written, flags.manner, "", output)
}

pub(super) fn remove_element(flags: &cli::SetChange, output: Output) -> Result<(), Failure> {
    let written = act_on_element("remove", flags)?;
    report(&written, flags.manner, "removed, ", output)
}

fn act_on_element(action: &str, flags: &cli::SetChange) -> Result<WrittenDocument, Failure> {
    let client = Client::new(&flags.target)?;
    act(&client, action, &flags.key, flags.manner, flags.element.as_encoded_bytes().to_vec())
}

fn path(key: &str) -> String {
    format!("/v1/data/{}", percent::encode(key))
}

fn act(
    client: &Client,
    action: &str,
    key: &str,
    manner: cli::Manner,
    body: Vec<u8>,
) -> Result<WrittenDocument, Failure> {
    let path = format!("{}/{action}?{}", path(key), parameters(client, manner));
    client.send_bytes(Method::POST, &path, body)
}

fn write(
    client: &Client,
    method: Method,
    key: &str,
    manner: cli::Manner,
    more: &str,
    body: Vec<u8>,
) -> Result<WrittenDocument, Failure> {
    client.send_bytes(method, &format!("{}?{}{more}", path(key), parameters(client, manner)), body)
}

fn parameters(client: &Client, manner: cli::Manner) -> String {
    format!("replicas={}&{}", manner.replicas, client.timeout_parameter())
}

fn report(written: &WrittenDocument, manner: cli::Manner, deed: &str, output: Output) -> Result<(), Failure> {
    if output.json {
        return Ok(print::json(written)?);
    }
    Ok(print::line(sentence(written, manner, deed))?)
}

/// `color: held by 3 other nodes after 4 ms`.
fn sentence(written: &WrittenDocument, manner: cli::Manner, deed: &str) -> String {
    let WrittenDocument { key, durable, replicas, elapsed, .. } = written;
    if manner.replicas > 0 {
        let after = print::whole_millis(*elapsed);
        return format!("{key}: {deed}held by {} after {after}", print::count(*replicas, "other node"));
    }
    format!("{key}: {deed}{}", if *durable { "durable here" } else { "held here, in memory" })
}

/// What a reader of the value would not guess.
fn warn_of_conflict(key: &str, kind: &str, conflict: &[String]) {
    if !conflict.is_empty() {
        let others = conflict.join(" and a ");
        print::note(format!(
            "conflict: {key} was also written as a {others} elsewhere, which this {kind} hides until the key is deleted"
        ));
    }
}
