//! What lies over the panels: a member's story, the messages of a topic, help.

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Widget, Wrap};

use super::super::app::{App, Overlay, StoryView, TopicView};
use super::super::link::Story;
use super::draw_frame;
use super::ink::{self, Ink};
use crate::documents::{DeliveryDocument, MemberDocument};
use crate::print;

/// Wider lines are hard to read.
const WIDTH_MAX: u16 = 110;

/// What a frame takes, and a blank row or two for lines that are broken.
const FRAME_ROWS: usize = 4;
/// How much of a message is shown.
const SHOWN: usize = 400;

/// What each key does, and what the signs mean.
const HELP: &[(&str, &str)] = &[
    ("↑ ↓ j k", "move; PgUp, PgDn, Home, End go further"),
    ("Tab", "the next panel: members, traffic, topics, events"),
    ("Enter", "on a member: its story; on a topic: its messages"),
    ("/", "only members with a word in name, state, address, tags"),
    ("Esc", "back; without anything open, all members again"),
    ("s", "sort by name, state, last change, round trip"),
    ("p", "let the picture stand still, and go on"),
    ("q Ctrl-C", "quit"),
    ("● ▲ ✕ ○ ⊘", "alive, suspect, dead, left, revoked; · only an address"),
    ("*", "the agent that this view asks"),
];

pub(super) fn draw(buffer: &mut Buffer, body: Rect, overlay: &Overlay, app: &App, ink: Ink) {
    let (title, lines, scrolled) = match overlay {
        Overlay::Help => ("Help".to_owned(), help(ink), 0),
        Overlay::Story(view) => (format!("Story of {}", view.name), story(view, app.now, ink), view.scrolled),
        Overlay::Topic(view) => (format!("Messages on {}", view.topic), messages(view, ink), view.scrolled),
    };
    let area = place(body);
    let wanted = match overlay {
        Overlay::Help | Overlay::Story(_) => rows(&lines, area) + FRAME_ROWS,
        Overlay::Topic(_) => usize::MAX,
    };
    let area = Rect { height: area.height.min(u16::try_from(wanted).unwrap_or(u16::MAX)), ..area };
    Clear.render(area, buffer);
    let inner = draw_frame(buffer, area, &title, true, ink).inner(Margin::new(1, 0));
    let scrolled =
        u16::try_from(scrolled.min(rows(&lines, inner).saturating_sub(inner.height.into()))).unwrap_or(u16::MAX);
    Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((scrolled, 0)).render(inner, buffer);
}

/// How many rows lines take that are broken; words that go to the next row whole make it a few more.
fn rows(lines: &[Line<'_>], area: Rect) -> usize {
    lines.iter().map(|line| line.width().div_ceil(usize::from(area.width).max(1)).max(1)).sum()
}

/// In the middle; where there is little room all of it.
fn place(body: Rect) -> Rect {
    let margin = body.width.saturating_sub(WIDTH_MAX).max(if body.width > 60 { 6 } else { 0 }) / 2;
    body.inner(Margin::new(margin, u16::from(body.height > 16)))
}

fn help(ink: Ink) -> Vec<Line<'static>> {
    let line = |(key, what): &(&'static str, &'static str)| {
        Line::from(vec![Span::styled(format!("{key:<11}"), ink.title()), Span::raw(*what)])
    };
    HELP.iter().map(line).collect()
}

fn story(view: &StoryView, now: f64, ink: Ink) -> Vec<Line<'static>> {
    match &view.told {
        None => vec![Line::styled("the agent is asked …", ink.dim())],
        Some(Err(reason)) => vec![text(reason, ink.state("dead"))],
        Some(Ok(story)) => told(story, now, ink),
    }
}

fn told(story: &Story, now: f64, ink: Ink) -> Vec<Line<'static>> {
    let Story { member, why } = story;
    let state = why.state.as_deref().unwrap_or("not listed");
    let since = why.since.map_or_else(String::new, |since| format!(" for {}", print::age(now - since)));
    let mut lines = vec![text(&format!("{} {state}{since}", ink::sign(state)), ink.state(state))];
    lines.extend(member.iter().flat_map(|member| facts(member, ink)));
    lines.push(Line::default());
    if why.steps.is_empty() {
        lines.push(Line::styled("Nothing out of the ordinary has happened to it.", ink.plain()));
    }
    lines.extend(why.steps.iter().map(|step| {
        let time = Span::styled(format!("{}  ", print::time_of_day(step.at)), ink.dim());
        Line::from(vec![time, Span::raw(print::escaped(&step.detail))])
    }));
    lines.push(Line::default());
    lines.push(text(&format!("Next: {}", why.next.detail), ink.plain()));
    lines
}

/// What a member is, as a list of what has a name.
fn facts(member: &MemberDocument, ink: Ink) -> Vec<Line<'static>> {
    let MemberDocument { id, address, incarnation, tags, rtt, protocol, view, .. } = member;
    let dash = || "-".to_owned();
    let facts = [
        ("id", id.clone()),
        ("address", address.clone().unwrap_or_else(dash)),
        ("incarnation", incarnation.clone()),
        ("round trip", rtt.map_or_else(dash, print::short)),
        ("protocol", format!("{} to {}, {view} view", protocol.min, protocol.max)),
        ("tags", if tags.is_empty() { dash() } else { print::tags(tags) }),
    ];
    let line = |(name, what): (&str, String)| {
        Line::from(vec![Span::styled(format!("{name:<13}"), ink.dim()), Span::raw(print::escaped(&what))])
    };
    facts.into_iter().map(line).collect()
}

fn messages(view: &TopicView, ink: Ink) -> Vec<Line<'static>> {
    let problem = view.problem.iter().map(|problem| text(problem, ink.state("dead")));
    if view.deliveries.is_empty() && view.problem.is_none() {
        return vec![Line::styled("no message has come yet", ink.dim())];
    }
    problem.chain(view.deliveries.iter().map(|delivery| message(delivery, ink))).collect()
}

fn message(delivery: &DeliveryDocument, ink: Ink) -> Line<'static> {
    match delivery {
        DeliveryDocument::Message(message) => {
            let time = Span::styled(format!("{}  ", print::time_of_day(message.received_at)), ink.dim());
            let place =
                Span::styled(print::escaped(&format!("{}:{}  ", message.origin, message.sequence)), ink.title());
            Line::from(vec![time, place, Span::raw(print::begun(&message.payload.text(), SHOWN))])
        }
        DeliveryDocument::Missed(gap) => {
            let missed = format!("{} of {} missed", print::count(gap.missed, "message"), gap.origin);
            text(&missed, ink.state("suspect"))
        }
    }
}

/// Text that may be of others.
fn text(text: &str, style: Style) -> Line<'static> {
    Line::styled(print::escaped(text), style)
}
