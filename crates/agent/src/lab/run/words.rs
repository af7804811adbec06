//! A run of the virtual network in a few lines, as people read it.

use rumormill_core::duration;
use rumormill_lab::scenario::report::{Failure, Message};
use rumormill_lab::scenario::{Outcome, Start};
use rumormill_lab::{Scenario, percent};

use crate::print::{self, count, short};

/// What a run showed, line by line.
pub(super) fn lines(scenario: &Scenario, outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![headline(scenario, outcome)];
    lines.push(match (outcome.joined_after, scenario.start) {
        (Some(after), _) => format!("all had joined after {}", short(after)),
        (None, Start::Joined) => "all had joined before".to_owned(),
        (None, Start::Cold) => "not all had joined at any moment".to_owned(),
    });
    lines.extend(messages(&outcome.messages));
    if outcome.unpublished > 0 {
        lines.push(format!(
            "{} not published: refused, or not acknowledged before the end",
            count(outcome.unpublished as u64, "message")
        ));
    }
    lines.extend(failures(&outcome.failures));
    lines.push(detector(outcome));
    let traffic = &outcome.per_node;
    lines.push(format!(
        "a node sent {:.1} datagrams and {} in a second in the mean, {} at most, headers included",
        traffic.datagrams_per_second.mean,
        print::size(traffic.bytes_per_second.mean),
        print::size(traffic.bytes_per_second.max),
    ));
    lines.push(work(outcome));
    lines.push(format!("trace hash {}, as with", outcome.trace_hash));
    lines.push(format!("  {}", outcome.replay));
    lines
}

fn headline(scenario: &Scenario, outcome: &Outcome) -> String {
    let mode = scenario.config.mode.as_str();
    let loss = if scenario.loss > 0.0 { format!("{} % loss", percent(scenario.loss)) } else { "no loss".to_owned() };
    format!(
        "{} nodes, {mode}, fanout {}, {loss}, {} of virtual time, seed {}: {}",
        print::thousands(scenario.nodes as u64),
        scenario.config.fanout,
        duration::format(scenario.duration),
        scenario.seed,
        short(outcome.elapsed.unwrap_or_default()),
    )
}

fn messages(messages: &[Message]) -> Option<String> {
    if messages.is_empty() {
        return None;
    }
    let complete = messages.iter().filter(|message| message.reached == message.alive).count();
    let hops = mean_of(messages, |message| message.hops.map(|hops| hops.mean));
    let redundancy = mean_of(messages, |message| message.redundancy);
    let who = match messages.len() - complete {
        0 => format!("{}, each with every node", count(messages.len() as u64, "message")),
        some => format!(
            "{}, {some} of them not with every node, the least spread one with {}",
            count(messages.len() as u64, "message"),
            spread_least(messages)
        ),
    };
    let slowest = messages.iter().filter_map(|message| message.last).reduce(f64::max);
    let Some((slowest, mean)) = slowest.zip(mean(messages.iter().filter_map(|message| message.average))) else {
        return Some(format!("{who}: nobody but who published it"));
    };
    Some(format!(
        "{who}: after {} in the mean, {} at most; through {hops} nodes; {redundancy} copies more than needed",
        short(mean),
        short(slowest),
    ))
}

/// How far the message came that came to the smallest part of the nodes.
fn spread_least(messages: &[Message]) -> String {
    let least = messages.iter().min_by(|a, b| (a.reached * b.alive).cmp(&(b.reached * a.alive)));
    let thousands = |number: usize| print::thousands(number as u64);
    least.map_or_else(String::new, |it| format!("{} of {} nodes", thousands(it.reached), thousands(it.alive)))
}

fn mean_of(messages: &[Message], of: impl Fn(&Message) -> Option<f64>) -> String {
    mean(messages.iter().filter_map(of)).map_or_else(|| "-".to_owned(), |mean| format!("{mean:.1}"))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<_> = values.collect();
    rumormill_lab::Summary::of(&values).map(|summary| summary.mean)
}

fn failures(failures: &[Failure]) -> Option<String> {
    if failures.is_empty() {
        return None;
    }
    let failed = count(failures.len() as u64, "failure");
    let Some(first) = extremes(failures.iter().filter_map(|failure| failure.first)) else {
        return Some(format!("{failed}, known to nobody before the end, or their return"));
    };
    let last = extremes(failures.iter().filter_map(|failure| failure.last));
    let last = last.map_or_else(String::new, |after| format!(", to all after {after}"));
    let open = match failures.iter().filter(|failure| failure.last.is_none()).count() {
        0 => String::new(),
        open => format!("; {open} not to all before the end, or their return"),
    };
    Some(format!("{failed}: known to the first after {first}{last}{open}"))
}

fn extremes(values: impl Iterator<Item = f64>) -> Option<String> {
    let values: Vec<_> = values.collect();
    let summary = rumormill_lab::Summary::of(&values)?;
    let (least, most) = (short(summary.min), short(summary.max));
    Some(if least == most { least } else { format!("{least} to {most}") })
}

fn detector(outcome: &Outcome) -> String {
    let suspicions = match outcome.suspicions {
        0 => "nobody was suspected".to_owned(),
        seen => format!("{}, seen {}", count(outcome.suspected as u64, "suspicion"), count(seen as u64, "time")),
    };
    let healthy = match outcome.false_positives {
        0 => "no healthy node was declared dead".to_owned(),
        times => format!("healthy nodes were declared dead {}", count(times as u64, "time")),
    };
    match outcome.deaths_of_unwell {
        0 => format!("{healthy}; {suspicions}"),
        times => format!("{healthy}, those that were slow {}; {suspicions}", count(times as u64, "time")),
    }
}

fn work(outcome: &Outcome) -> String {
    let events = print::thousands(outcome.events);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "events in a second are a count")]
    let rate = print::thousands(outcome.events_per_second.unwrap_or_default() as u64);
    let memory = outcome
        .memory_per_node
        .map_or_else(String::new, |bytes| format!(", {} of memory for a node", print::size(bytes)));
    format!("{events} events, {rate} in a second{memory}")
}
