//! `rumor watch`: what happens to keys, as it happens.

use ureq::http::Method;

use super::super::Output;
use crate::cli;
use crate::client::Client;
use crate::documents::WatchLine;
use crate::failure::Failure;
use crate::{percent, print};

pub(in crate::commands) fn watch(flags: &cli::Watch, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let since = flags.since.as_ref().map_or_else(String::new, |since| format!("&since={}", percent::encode(since)));
    let path = format!("/v1/watch?prefix={}{since}", percent::encode(&flags.prefix));
    let mut lines = client.stream(Method::GET, &path, Vec::new())?;
    while let Some(event) = lines.next()? {
        if event.name == "watching" {
            let about: serde_json::Value = event.document()?;
            let [node, position] = ["node", "position"].map(|key| about[key].as_str().unwrap_or_default());
            let what = if flags.prefix.is_empty() { "all keys" } else { &flags.prefix };
            print::note(format!("watching {what} at {node} from position {position}"));
            continue;
        }
        let line: WatchLine = event.document()?;
        if output.json {
            print::json(&line)?;
        } else {
            show(&line)?;
        }
    }
    print::note("the agent has stopped");
    Ok(())
}

fn show(line: &WatchLine) -> Result<(), Failure> {
    let Some(key) = &line.key else {
        print::note("changes were missed: read all again");
        return Ok(());
    };
    let value = line.value().map_or_else(String::new, |value| format!(" = {}", print::shortened(&value)));
    let author = line.author.as_ref().map_or_else(String::new, |author| format!("  by {author}"));
    let time = print::time_of_day(print::now());
    Ok(print::line(format!("{time}  {:<6}  {}{value}{author}", line.event, print::escaped(key)))?)
}
