//! `rumor rtt`.

use super::Output;
use crate::cli;
use crate::client::Client;
use crate::documents::RoundTripDocument;
use crate::failure::Failure;
use crate::{percent, print};

pub(super) fn show(flags: &cli::Rtt, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let (from, to) = match &flags.second {
        Some(second) => (format!("from={}&", percent::encode(&flags.first)), second),
        None => (String::new(), &flags.first),
    };
    let path = format!("/v1/rtt?{from}to={}&{}", percent::encode(to), client.timeout_parameter());
    let document: RoundTripDocument = client.get(&path)?;
    if output.json {
        return Ok(print::json(&document)?);
    }
    let RoundTripDocument { from, to, rtt, kind } = &document;
    Ok(print::line(format!("{} between {from} and {to} ({kind})", print::millis(*rtt)))?)
}
