//! The topics of which the agent holds messages.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::super::app::{App, Panel};
use super::ink::{self, Ink};
use super::{draw_empty, first_row};
use crate::print;

pub(super) fn title(app: &App) -> String {
    match app.known().topics.len() {
        0 => "Topics".to_owned(),
        count => format!("Topics {}", print::thousands(count as u64)),
    }
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, ink: Ink) {
    let topics = &app.known().topics;
    if topics.is_empty() {
        return draw_empty(buffer, area, "the agent holds no messages", ink);
    }
    let widths = [area.width.saturating_sub(26), 8, 8, 7];
    let titles = ["TOPIC", "MESSAGES", "SIZE", "LAST"];
    put_row(buffer, (area.x, area.y), &titles.map(ToOwned::to_owned), widths, ink.dim());
    let room = area.height.saturating_sub(1);
    let first = first_row(app.topic_at, topics.len(), room);
    let seen = topics.iter().enumerate().skip(first).take(usize::from(room));
    for ((at, topic), y) in seen.zip(area.y + 1..) {
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let size = print::size(topic.bytes as f64);
        let texts = [topic.topic.clone(), print::thousands(topic.messages), size, print::age(app.now - topic.last)];
        put_row(buffer, (area.x, y), &texts, widths, ink.plain());
        if at == app.topic_at && app.panel == Panel::Topics {
            buffer.set_style(Rect { y, height: 1, ..area }, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

/// Numbers end in one place.
fn put_row(buffer: &mut Buffer, at: (u16, u16), texts: &[String; 4], widths: [u16; 4], style: Style) {
    let [topic, numbers @ ..] = texts;
    let [topic_width, number_widths @ ..] = widths;
    let numbers = numbers.iter().zip(number_widths);
    let aligned: Vec<(String, u16)> =
        numbers.map(|(text, width)| (format!("{text:>width$}", width = width.into()), width)).collect();
    let cells = aligned.iter().map(|(text, width)| (&**text, *width, style));
    ink::put_row(buffer, at, std::iter::once((&**topic, topic_width, style)).chain(cells));
}
