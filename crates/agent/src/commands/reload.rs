//! `rumor reload`.

use super::Output;
use crate::cli;
use crate::client::Client;
use crate::documents::ReloadDocument;
use crate::failure::Failure;
use crate::print;

pub(super) fn run(flags: &cli::Reload, output: Output) -> Result<(), Failure> {
    let document: ReloadDocument = Client::new(&flags.target)?.post("/v1/reload", Vec::new())?;
    if output.json {
        return Ok(print::json(&document)?);
    }
    let ReloadDocument { changed, kept } = document;
    let word =
        if changed.is_empty() { "nothing has changed".to_owned() } else { format!("changed: {}", changed.join(", ")) };
    print::line(word)?;
    if !kept.is_empty() {
        print::note(format!("as they were, until the agent is started anew: {}", kept.join(", ")));
    }
    Ok(())
}
