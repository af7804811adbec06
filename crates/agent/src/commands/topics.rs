//! `rumor publish`, `trace` and `subscribe`.

use std::ffi::OsString;
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::Method;

use super::Output;
use crate::cli;
use crate::client::{Client, standard_input};
use crate::documents::{DeliveryDocument, Published, Trace, TraceStep, TraceSummary};
use crate::failure::Failure;
use crate::{percent, print};

/// How many receivers a line of a trace shows.
const RECEIVERS_PER_LINE: usize = 3;
/// The wait between two looks at a message that is still on its way.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(super) fn publish(flags: cli::Publish, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let payload = payload(flags.message)?;
    let published: Published = client.post(&format!("/v1/topics/{}", percent::encode(&flags.topic)), payload)?;
    if output.json {
        print::json(&published)?;
    } else {
        let Published { topic, origin, sequence, bytes } = &published;
        print::line(format!("{topic} {origin}:{sequence}  {}", print::count(*bytes, "byte")))?;
    }
    if flags.trace {
        let trace = trace_until_all_have_it(&client, &published)?;
        show(&trace, output)?;
    }
    Ok(())
}

/// A message given on the command line, byte for byte, or on standard input.
pub(super) fn payload(given: Option<OsString>) -> Result<Vec<u8>, Failure> {
    match given {
        Some(text) if text != "-" => Ok(text.into_encoded_bytes()),
        Some(_) | None => standard_input(),
    }
}

fn trace_until_all_have_it(client: &Client, published: &Published) -> Result<Trace, Failure> {
    let Published { topic, origin, sequence, .. } = published;
    let deadline = Instant::now() + client.timeout();
    loop {
        let trace = fetch(client, topic, origin, sequence)?;
        let TraceSummary { reached, members, .. } = trace.summary;
        if members.is_none_or(|members| reached >= members) || Instant::now() > deadline {
            return Ok(trace);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn fetch(client: &Client, topic: &str, origin: &str, sequence: &str) -> Result<Trace, Failure> {
    let [topic, origin, sequence] = [topic, origin, sequence].map(percent::encode);
    client.get(&format!("/v1/topics/{topic}/{origin}/{sequence}/trace?{}", client.timeout_parameter()))
}

pub(super) fn trace(flags: &cli::Trace, output: Output) -> Result<(), Failure> {
    let (origin, sequence) = &flags.message;
    let trace = fetch(&Client::new(&flags.target)?, &flags.topic, origin, sequence)?;
    if !output.json {
        print::line(format!("{} {origin}:{sequence}", flags.topic))?;
    }
    show(&trace, output)
}

fn show(trace: &Trace, output: Output) -> Result<(), Failure> {
    if output.json {
        for step in &trace.steps {
            print::json(step)?;
        }
        return Ok(print::json(&trace.summary)?);
    }
    for line in picture(trace) {
        print::line(line)?;
    }
    Ok(())
}

/// The steps hop by hop, times since the first of them, then what it took.
fn picture(trace: &Trace) -> Vec<String> {
    let start = trace.steps.iter().map(|step| step.at).fold(f64::INFINITY, f64::min);
    let last = trace.steps.iter().map(|step| step.at - start).fold(0.0, f64::max);
    let width = trace.steps.iter().map(|step| step.node.chars().count()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for hop in trace.steps.chunk_by(|a, b| a.hop == b.hop) {
        let cells: Vec<String> = hop.iter().map(|step| cell(step, start, width)).collect();
        for (index, part) in cells.chunks(RECEIVERS_PER_LINE).enumerate() {
            let title = if index == 0 { format!("hop {}", hop[0].hop) } else { String::new() };
            lines.push(format!("  {title:<5}  {}", part.join("     ")));
        }
    }
    let summary = trace.summary;
    let reached = summary.reached;
    let who = match summary.members {
        Some(members) if summary.estimated => format!("{reached} of about {members}"),
        Some(members) if reached >= members => format!("all {members}"),
        Some(members) => format!("{reached} of {members}"),
        None => reached.to_string(),
    };
    let receivers = print::count(summary.reached.saturating_sub(1), "receiver");
    let payloads = print::count(summary.payloads, "payload");
    lines.push(format!("{who} have it after {}; {payloads} for {receivers}", print::millis(last)));
    lines
}

fn cell(step: &TraceStep, start: f64, width: usize) -> String {
    let from = step.from.as_ref().map_or_else(String::new, |from| format!("  from {from}"));
    format!("{:<width$}   {}{from}", step.node, print::millis(step.at - start))
}

pub(super) fn subscribe(flags: &cli::Subscribe, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let path = format!("/v1/topics/{}?history={}", percent::encode(&flags.topic), flags.history);
    let mut lines = client.stream(Method::GET, &path, Vec::new())?;
    let mut left = flags.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(event) = lines.next()? else {
            print::note("the agent has stopped");
            return Ok(());
        };
        if event.name == "subscribed" {
            let at: serde_json::Value = event.document()?;
            let node = at["node"].as_str().unwrap_or_default();
            print::note(format!("subscribed to {} at {node}", flags.topic));
            continue;
        }
        let delivery: DeliveryDocument = event.document()?;
        left -= u64::from(matches!(delivery, DeliveryDocument::Message(_)));
        deliver(&delivery, output)?;
    }
    Ok(())
}

fn deliver(delivery: &DeliveryDocument, output: Output) -> Result<(), Failure> {
    if output.json {
        return Ok(print::json(delivery)?);
    }
    match delivery {
        DeliveryDocument::Message(message) => {
            print::line(format!("{}:{}  {}", message.origin, message.sequence, message.payload.text()))?;
        }
        DeliveryDocument::Missed(gap) => {
            print::note(format!("{} of {} missed", print::count(gap.missed, "message"), gap.origin));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_drawn_hop_by_hop() {
        let step = |node: &str, hop, from: Option<&str>, millis: f64| TraceStep {
            node: node.to_owned(),
            hop,
            from: from.map(ToOwned::to_owned),
            at: 1_000.0 + millis / 1e3,
        };
        let trace = Trace {
            steps: vec![
                step("n1", 0, None, 0.0),
                step("n4", 1, Some("n1"), 0.4),
                step("n3", 1, Some("n1"), 0.5),
                step("n2", 1, Some("n1"), 0.5),
                step("n5", 2, Some("n4"), 0.9),
            ],
            summary: TraceSummary { done: true, reached: 5, members: Some(5), estimated: false, payloads: 6 },
        };
        assert_eq!(
            picture(&trace),
            [
                "  hop 0  n1   0.0 ms",
                "  hop 1  n4   0.4 ms  from n1     n3   0.5 ms  from n1     n2   0.5 ms  from n1",
                "  hop 2  n5   0.9 ms  from n4",
                "all 5 have it after 0.9 ms; 6 payloads for 4 receivers",
            ]
        );
    }
}
