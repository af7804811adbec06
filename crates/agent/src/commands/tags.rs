//! `rumor tags`.

use std::collections::BTreeMap;

use ureq::http::Method;

use super::Output;
use crate::cli::{Tags, Target};
use crate::client::Client;
use crate::documents::TagsDocument;
use crate::failure::Failure;
use crate::print;

pub(super) fn run(command: Tags, output: Output) -> Result<(), Failure> {
    match command {
        Tags::Set { target, tags } => {
            change(&target, tags.into_iter().map(|(key, value)| (key, Some(value))).collect(), output)
        }
        Tags::Delete { target, keys } => change(&target, keys.into_iter().map(|key| (key, None)).collect(), output),
    }
}

fn change(target: &Target, changes: BTreeMap<String, Option<String>>, output: Output) -> Result<(), Failure> {
    let document: TagsDocument = Client::new(target)?.call(Method::PATCH, "/v1/tags", Some(&changes))?;
    if output.json {
        return Ok(print::json(&document)?);
    }
    for (key, value) in &document.tags {
        print::line(format!("{key}={value}"))?;
    }
    Ok(())
}
