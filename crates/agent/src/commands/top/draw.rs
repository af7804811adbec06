//! The picture: a function of the view and of the size of the terminal.
//!
//! Where there is little room only the chosen panel is drawn. Whatever text comes from others goes through [`ink::put`] or
//! [`print::escaped`], so that nothing in it can move the cursor.

mod events;
mod ink;
pub(super) mod members;
mod overlay;
mod topics;
mod traffic;

pub(super) use ink::Ink;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Span;
use ratatui::widgets::{Block, BorderType, Widget};

use super::app::{App, Overlay, Panel};
use crate::documents::{Info, MembersByState};
use crate::print;

/// From here on traffic and topics stand beside the members.
const WIDE: u16 = 100;
/// From here on all panels are drawn.
const HIGH: u16 = 20;

/// Draws all there is.
pub(super) fn draw(frame: &mut Frame<'_>, app: &App, ink: Ink) {
    let area = frame.area();
    let rows = [Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)];
    let [header, body, footer] = Layout::vertical(rows).areas(area);
    let buffer = frame.buffer_mut();
    draw_header(buffer, header, app, ink);
    for (panel, area) in panels(body, app.panel) {
        draw_panel(buffer, area, panel, app, ink);
    }
    if let Some(overlay) = &app.overlay {
        overlay::draw(buffer, body, overlay, app, ink);
    }
    draw_footer(buffer, footer, app, ink);
}

/// Where which panel is drawn.
fn panels(body: Rect, chosen: Panel) -> Vec<(Panel, Rect)> {
    if body.height < HIGH - 3 {
        return vec![(chosen, body)];
    }
    let events = (body.height / 4).max(6);
    if body.width < WIDE {
        let rows = [Constraint::Min(8), Constraint::Length(7), Constraint::Length(events.min(body.height - 15))];
        let [members, middle, events] = Layout::vertical(rows).areas(body);
        let [traffic, topics] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(middle);
        let places = [(Panel::Members, members), (Panel::Traffic, traffic), (Panel::Topics, topics)];
        return places.into_iter().chain([(Panel::Events, events)]).collect();
    }
    let [upper, events] = Layout::vertical([Constraint::Min(0), Constraint::Length(events)]).areas(body);
    let [members, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(40)]).areas(upper);
    let [traffic, topics] = Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(right);
    vec![(Panel::Members, members), (Panel::Traffic, traffic), (Panel::Topics, topics), (Panel::Events, events)]
}

fn draw_panel(buffer: &mut Buffer, area: Rect, panel: Panel, app: &App, ink: Ink) {
    let title = match panel {
        Panel::Members => members::title(app),
        Panel::Traffic => "Traffic of this agent".to_owned(),
        Panel::Topics => topics::title(app),
        Panel::Events => events::title(app),
    };
    let inner = draw_frame(buffer, area, &title, app.panel == panel, ink);
    match panel {
        Panel::Members => members::draw(buffer, inner, app, ink),
        Panel::Traffic => traffic::draw(buffer, inner, app, ink),
        Panel::Topics => topics::draw(buffer, inner, app, ink),
        Panel::Events => events::draw(buffer, inner, app, ink),
    }
}

/// A frame with a title; gives the room in it.
fn draw_frame(buffer: &mut Buffer, area: Rect, title: &str, is_chosen: bool, ink: Ink) -> Rect {
    let (border, style) = if is_chosen { (BorderType::Thick, ink.chosen()) } else { (BorderType::Rounded, ink.dim()) };
    let block = Block::bordered().border_type(border).border_style(style);
    let inner = block.inner(area);
    block.render(area, buffer);
    if area.width > 6 {
        let title = format!(" {title} ");
        ink::put(buffer, (area.x + 2, area.y), area.width - 4, &title, ink.title());
    }
    inner
}

/// Two lines: which agent this is, and how it fares.
fn draw_header(buffer: &mut Buffer, area: Rect, app: &App, ink: Ink) {
    let Info { name, cluster, .. } = &app.known().info;
    let (word, style) = match (app.gone(), app.is_paused()) {
        (Some(_), _) => (" GONE ", ink.state("dead")),
        (None, true) => (" PAUSED ", ink.state("suspect")),
        (None, false) => (" live ", ink.state("alive")),
    };
    let width = ink::width(word);
    let first = Rect { height: 1, ..area };
    let room = area.width.saturating_sub(width);
    ink::put(buffer, (area.x + room, area.y), width, word, style);
    let name = format!("{name} of {cluster} ");
    let after = ink::put(buffer, (first.x, first.y), room, &name, ink.title());
    let more = format!(" {}  up {}", app.agent, print::age(app.known().info.uptime));
    ink::put(buffer, (after, first.y), room.saturating_sub(after - first.x), &more, ink.dim());
    if area.height > 1 {
        draw_second_line(buffer, Rect { y: area.y + 1, height: 1, ..area }, app, ink);
    }
}

fn draw_second_line(buffer: &mut Buffer, line: Rect, app: &App, ink: Ink) {
    if let Some((since, reason)) = app.gone() {
        let gone = format!("no answer for {}: {reason}", print::age(app.now - since));
        ink::put(buffer, (line.x, line.y), line.width, &gone, ink.state("dead"));
        return;
    }
    let mut at = line.x;
    for (text, style) in facts(&app.known().info, ink) {
        at = ink::put(buffer, (at, line.y), line.right().saturating_sub(at), &text, style);
    }
}

/// How the cluster and the agent fare, the most important first.
fn facts(info: &Info, ink: Ink) -> Vec<(String, Style)> {
    let MembersByState { alive, suspect, dead, left } = info.members;
    let states = [("alive", alive), ("suspect", suspect), ("dead", dead), ("left", left)];
    let counted = states.into_iter().filter(|(state, count)| *count > 0 || *state == "alive");
    let counts = counted.map(|(state, count)| (format!("{} {count} {state}  ", ink::sign(state)), ink.state(state)));
    let health = if info.health == 0 { ink.plain() } else { ink.state("suspect") };
    let degraded = if info.degraded { "DEGRADED: no room for updates  " } else { "" };
    let sealed = if info.sealed { "sealed" } else { "not sealed" };
    let rest = [
        (degraded.to_owned(), ink.state("dead")),
        (format!("health {}  ", info.health), health),
        (format!("about {}  ", print::count(info.size_estimate, "node")), ink.plain()),
        (format!("{} view  {}  {sealed}", info.view, info.mode), ink.dim()),
    ];
    counts.chain(rest).collect()
}

fn draw_footer(buffer: &mut Buffer, area: Rect, app: &App, ink: Ink) {
    let mut at = area.x;
    let mut write = |text: &str, style| {
        at = ink::put(buffer, (at, area.y), area.right().saturating_sub(at), text, style);
    };
    if app.filter.is_typed {
        write(" filter: ", ink.title());
        write(&app.filter.word, ink.plain());
        write("▏  ", ink.title());
    }
    for (key, what) in keys(app) {
        write(&format!(" {key}"), ink.title());
        write(&format!(" {what} "), ink.dim());
    }
}

/// The keys that do something now.
fn keys(app: &App) -> &'static [(&'static str, &'static str)] {
    match (&app.overlay, app.panel) {
        _ if app.filter.is_typed => &[("Enter", "keep"), ("Esc", "clear")],
        (Some(Overlay::Help), _) => &[("Esc", "back")],
        (Some(Overlay::Story(_) | Overlay::Topic(_)), _) => &[("Esc", "back"), ("↑↓", "scroll")],
        (None, Panel::Members) => &[
            ("q", "quit"),
            ("?", "help"),
            ("↑↓", "move"),
            ("Tab", "panel"),
            ("/", "filter"),
            ("s", "sort"),
            ("Enter", "story"),
            ("p", "pause"),
        ],
        (None, Panel::Topics) => {
            &[("q", "quit"), ("?", "help"), ("↑↓", "move"), ("Tab", "panel"), ("Enter", "messages"), ("p", "pause")]
        }
        (None, Panel::Events) => &[("q", "quit"), ("?", "help"), ("↑↓", "scroll"), ("Tab", "panel"), ("p", "pause")],
        (None, Panel::Traffic) => &[("q", "quit"), ("?", "help"), ("Tab", "panel"), ("p", "pause")],
    }
}

/// The first row of so many that is drawn where there is room for fewer: the chosen one stays in the middle.
fn first_row(chosen: usize, rows: usize, room: u16) -> usize {
    let room = usize::from(room);
    chosen.saturating_sub(room / 2).min(rows.saturating_sub(room))
}

/// A sentence where there is nothing else to draw.
fn draw_empty(buffer: &mut Buffer, area: Rect, sentence: &str, ink: Ink) {
    if area.height > 0 {
        ink::put(buffer, (area.x + 1, area.y), area.width.saturating_sub(1), sentence, ink.dim());
    }
}

/// How wide a text is on the terminal.
fn width_of(text: &str) -> usize {
    Span::raw(text).width()
}
