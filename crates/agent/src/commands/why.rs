//! `rumor why`.

use super::Output;
use crate::cli;
use crate::client::Client;
use crate::documents::WhyDocument;
use crate::failure::Failure;
use crate::{percent, print};

pub(super) fn show(flags: &cli::Why, output: Output) -> Result<(), Failure> {
    let path = format!("/v1/why/{}", percent::encode(&flags.name));
    let document: WhyDocument = Client::new(&flags.target)?.get(&path)?;
    if output.json {
        return Ok(print::json(&document)?);
    }
    tell(&document)
}

/// The story for people.
pub(crate) fn tell(document: &WhyDocument) -> Result<(), Failure> {
    for line in lines(document) {
        print::line(line)?;
    }
    Ok(())
}

fn lines(document: &WhyDocument) -> Vec<String> {
    let WhyDocument { name, state, since, steps, next, .. } = document;
    let state = state.as_deref().unwrap_or("not listed");
    let since = since.map_or_else(String::new, |since| format!(" for {}", print::age(print::now() - since)));
    let mut lines = vec![format!("{name} is {state}{since}")];
    if steps.is_empty() {
        lines.push("nothing out of the ordinary has happened to it".to_owned());
    }
    lines.extend(steps.iter().map(|step| format!("{}  {}", print::time_of_day(step.at), step.detail)));
    lines.push(next.detail.clone());
    lines
}
