//! What happened lately, the newest first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::app::App;
use super::draw_empty;
use super::ink::{self, Ink};
use crate::print;

pub(super) fn title(app: &App) -> String {
    match app.events_scrolled {
        0 => "Events".to_owned(),
        above => format!("Events, {above} newer above"),
    }
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, ink: Ink) {
    if app.known().happenings.is_empty() {
        return draw_empty(buffer, area, "nothing has happened to members since this view began", ink);
    }
    let seen = app.known().happenings.iter().skip(app.events_scrolled).take(usize::from(area.height));
    // Names have as much room as the longest needs, and no more than a third.
    let longest = seen.clone().map(|happening| ink::width(&print::escaped(&happening.name))).max();
    let name = longest.unwrap_or_default().min(area.width / 3);
    for (happening, y) in seen.zip(area.y..) {
        let state = happening.words.state;
        let time = print::time_of_day(happening.at);
        let cells = [
            (&*time, 11, ink.dim()),
            (ink::sign(state), 1, ink.state(state)),
            (&*happening.name, name, ink.title()),
            (state, 7, ink.state(state)),
            (&*happening.words.detail, area.width.saturating_sub(name + 23), ink.plain()),
        ];
        ink::put_row(buffer, (area.x, y), cells);
    }
}
