//! The table of members. Only the rows that are seen are made.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::super::app::App;
use super::ink::{self, Ink};
use super::{draw_empty, first_row};
use crate::documents::MemberDocument;
use crate::print;

/// `Members 5 of 6 with "db", by name`.
pub(super) fn title(app: &App) -> String {
    let all = print::thousands(app.known().members.len() as u64);
    let sort = app.sort.word();
    match app.filter.word.as_str() {
        "" => format!("Members {all}, {sort}"),
        word => format!("Members {} of {all} with \"{word}\", {sort}", print::thousands(app.listed.len() as u64)),
    }
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, ink: Ink) {
    if app.listed.is_empty() {
        let sentence = match app.filter.word.as_str() {
            "" => "the agent has not told its members yet",
            _ => "no member has that in its name, state, address or tags; Esc clears the filter",
        };
        return draw_empty(buffer, area, sentence, ink);
    }
    let columns = columns(area.width, app.name_width);
    let titles: Vec<(String, u16)> =
        columns.iter().map(|(column, width)| (column.aligned(column.title(), *width), *width)).collect();
    let header = titles.iter().map(|(title, width)| (&**title, *width, ink.dim()));
    ink::put_row(buffer, (area.x + 2, area.y), header);
    let room = area.height.saturating_sub(1);
    let first = first_row(app.at, app.listed.len(), room);
    let seen = app.listed.iter().enumerate().skip(first).take(usize::from(room));
    for ((at, id), y) in seen.zip(area.y + 1..) {
        let Some(member) = app.known().members.get(id) else { continue };
        draw_row(buffer, Rect { y, height: 1, ..area }, member, &columns, app.now, ink);
        if at == app.at {
            buffer.set_style(Rect { y, height: 1, ..area }, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

fn draw_row(buffer: &mut Buffer, row: Rect, member: &MemberDocument, columns: &[(Column, u16)], now: f64, ink: Ink) {
    let state = state(member);
    ink::put(buffer, (row.x, row.y), 1, ink::sign(state), ink.state(state));
    let cell = |(column, width): &(Column, u16)| {
        (column.aligned(&column.text(member, now), *width), *width, column.style(member, ink))
    };
    let cells: Vec<(String, u16, Style)> = columns.iter().map(cell).collect();
    ink::put_row(buffer, (row.x + 2, row.y), cells.iter().map(|(text, width, style)| (&**text, *width, *style)));
}

/// How wide the name is that is shown.
pub(in crate::commands::top) fn name_width(member: &MemberDocument) -> u16 {
    ink::width(&print::escaped(&name(member)))
}

fn name(member: &MemberDocument) -> String {
    if member.is_self { format!("{} *", member.name) } else { member.name.clone() }
}

/// Of one in the passive view nothing is known but where it is.
fn state(member: &MemberDocument) -> &str {
    if member.view == "passive" { "passive" } else { &member.state }
}

#[derive(Clone, Copy, Debug)]
enum Column {
    Name,
    State,
    Since,
    RoundTrip,
    Address,
    Incarnation,
    Tags,
}

/// As many columns as there is room for, the most important ones first to get some.
fn columns(width: u16, name: u16) -> Vec<(Column, u16)> {
    let name = name.clamp(4, (width / 3).clamp(8, 40));
    let all = [
        (Column::Name, name),
        (Column::State, 7),
        (Column::Since, 7),
        (Column::RoundTrip, 8),
        (Column::Address, 21),
        (Column::Incarnation, 11),
    ];
    // The sign stands before them.
    let mut left = width.saturating_sub(2);
    let mut columns = Vec::new();
    for (column, width) in all {
        if left < width {
            return columns;
        }
        left = left.saturating_sub(width + 1);
        columns.push((column, width));
    }
    if left >= 4 {
        columns.push((Column::Tags, left));
    }
    columns
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::State => "STATE",
            Self::Since => "SINCE",
            Self::RoundTrip => "RTT",
            Self::Address => "ADDRESS",
            Self::Incarnation => "INCARNATION",
            Self::Tags => "TAGS",
        }
    }

    /// Numbers end in one place.
    fn aligned(self, text: &str, width: u16) -> String {
        match self {
            Self::Since | Self::RoundTrip => format!("{text:>width$}", width = width.into()),
            Self::Name | Self::State | Self::Address | Self::Incarnation | Self::Tags => text.to_owned(),
        }
    }

    fn text(self, member: &MemberDocument, now: f64) -> String {
        let dash = || "-".to_owned();
        let is_known = member.view != "passive";
        match self {
            Self::Name => name(member),
            Self::State => state(member).to_owned(),
            Self::Since if is_known => print::age(now - member.since),
            Self::RoundTrip => member.rtt.map_or_else(dash, print::short),
            Self::Address => member.address.clone().unwrap_or_else(dash),
            Self::Incarnation if is_known => member.incarnation.clone(),
            Self::Since | Self::Incarnation => dash(),
            Self::Tags => print::tags(&member.tags),
        }
    }

    fn style(self, member: &MemberDocument, ink: Ink) -> Style {
        match self {
            Self::Name if member.is_self => ink.title(),
            Self::State => ink.state(state(member)),
            Self::Name | Self::Since | Self::RoundTrip | Self::Address | Self::Incarnation | Self::Tags => ink.plain(),
        }
    }
}
