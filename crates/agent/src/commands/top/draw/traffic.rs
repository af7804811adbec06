//! What goes through the agent's sockets, second by second.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{RenderDirection, Sparkline, Widget};

use super::super::app::App;
use super::super::known::{Rate, Rates};
use super::draw_empty;
use super::ink::{self, Ink};
use crate::print;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, ink: Ink) {
    let rates = &app.known().rates;
    let Some(last) = rates.back().copied() else {
        return draw_empty(buffer, area, "measured from the second second on", ink);
    };
    let ways = [("sent", Rates::sent as fn(&Rates) -> Rate), ("received", Rates::received)];
    let limit = app.known().info.bandwidth_max;
    let room = area.height.saturating_sub(u16::from(limit.is_some()));
    let mut y = area.y;
    for ((word, way), height) in ways.into_iter().zip([room - room / 2, room / 2]) {
        if height == 0 {
            continue;
        }
        put_rate(buffer, Rect { y, ..area }, word, way(&last), ink);
        let bars = Rect { y: y + 1, height: height - 1, ..area };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a second are a count")]
        let data = rates.iter().rev().take(usize::from(area.width)).map(|rates| way(rates).bytes as u64);
        let sparkline = Sparkline::default().style(ink.bars()).direction(RenderDirection::RightToLeft);
        sparkline.data(data.collect::<Vec<u64>>()).render(bars, buffer);
        y += height;
    }
    if let Some(limit) = limit
        && area.height > 0
    {
        put_limit(buffer, Rect { y, ..area }, limit, last.sent().bytes, ink);
    }
}

/// `sent       1.2 kB/s   12 datagrams/s`.
fn put_rate(buffer: &mut Buffer, line: Rect, word: &str, rate: Rate, ink: Ink) {
    let bytes = format!("{}/s", print::size(rate.bytes));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "datagrams of a second are a count")]
    let datagrams = format!("{}/s", print::count(rate.datagrams.round() as u64, "datagram"));
    let cells =
        [(word, 8, ink.dim()), (&*bytes, 10, ink.title()), (&*datagrams, line.width.saturating_sub(20), ink.plain())];
    ink::put_row(buffer, (line.x, line.y), cells);
}

/// How much of what may be sent is.
fn put_limit(buffer: &mut Buffer, line: Rect, limit: u64, sent: f64, ink: Ink) {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let limit = limit as f64;
    let share = if limit > 0.0 { sent / limit * 1e2 } else { 0.0 };
    let sentence = format!("{share:.0} % of the {}/s that may be sent", print::size(limit));
    let style = if share < 80.0 { ink.dim() } else { ink.state("suspect") };
    ink::put(buffer, (line.x, line.y), line.width, &sentence, style);
}
