//! `rumor gauge` and `rumor aggregate`.

use ureq::http::Method;

use super::Output;
use crate::cli::{Aggregate, Gauge};
use crate::client::Client;
use crate::documents::{AggregateDocument, Done, Function, GaugeDocument};
use crate::failure::{Failure, Kind};
use crate::{percent, print};

pub(super) fn set(flags: &Gauge, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let path = format!("/v1/gauges/{}", percent::encode(&flags.name));
    let Some(value) = &flags.value else {
        let _: Done = client.call(Method::DELETE, &path, None::<&()>)?;
        return Ok(output.done()?);
    };
    let document: GaugeDocument = client.send_bytes(Method::PUT, &path, value.clone().into_bytes())?;
    if output.json { Ok(print::json(&document)?) } else { Ok(()) }
}

pub(super) fn aggregate(flags: &Aggregate, output: Output) -> Result<(), Failure> {
    let name = match (&flags.name, flags.function) {
        (Some(name), _) => name.as_str(),
        (None, Function::Count) => "members",
        (None, function) => {
            return Err(Failure::value("name", "none", format!("the gauge whose {function} is wanted")));
        }
    };
    let part = match (flags.part, flags.function) {
        (Some(part), Function::Quantile) => format!("&q={part}"),
        (None, Function::Quantile) => return Err(Failure::value("q", "none", "a part from 0 to 1, for a quantile")),
        (Some(part), function) => return Err(Failure::value("q", part, format!("left out with {function}"))),
        (None, _) => String::new(),
    };
    let path = format!("/v1/aggregates/{}?function={}{part}", percent::encode(name), flags.function);
    let document: AggregateDocument = Client::new(&flags.target)?.get(&path)?;
    if output.json {
        print::json(&document)?;
    }
    match document.value {
        Some(_) if output.json => Ok(()),
        Some(value) => Ok(print::line(sentence(&document, value))?),
        None => Err(Failure::new(Kind::No, "absent", format!("no agent has a value of {name}"))),
    }
}

/// The number, and what is known of it.
fn sentence(document: &AggregateDocument, value: f64) -> String {
    let AggregateDocument { error, members, rounds, converged, .. } = document;
    let told = if *converged { "" } else { ", which still differ by more than 1 %" };
    let within = if *error > 0.0 { format!("within {}, ", number(*error, 1)) } else { String::new() };
    let of = print::count(*members, "agent");
    format!("{} ({within}of {of}, {rounds} rounds{told})", number(value, 6))
}

/// With so many digits at most, and none that say nothing.
fn number(value: f64, digits: usize) -> String {
    let rounded: f64 = format!("{value:.*e}", digits - 1).parse().unwrap_or(value);
    rounded.to_string()
}
