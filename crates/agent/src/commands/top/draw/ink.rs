//! What is put on the terminal, and in which colours.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

use super::width_of;
use crate::print;

/// Styles, with colours or without.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands::top) struct Ink {
    pub(in crate::commands::top) is_coloured: bool,
}

impl Ink {
    /// Without colours where `NO_COLOR` says so.
    pub(in crate::commands::top) fn of_environment() -> Self {
        Self { is_coloured: std::env::var_os("NO_COLOR").is_none_or(|word| word.is_empty()) }
    }

    fn in_colour(self, colour: Color) -> Style {
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }

    #[expect(clippy::unused_self, reason = "styles are asked for in one way")]
    pub(super) fn plain(self) -> Style {
        Style::new()
    }

    pub(super) fn dim(self) -> Style {
        self.in_colour(Color::DarkGray)
    }

    pub(super) fn title(self) -> Style {
        self.plain().add_modifier(Modifier::BOLD)
    }

    /// The frame of the panel that keys are for.
    pub(super) fn chosen(self) -> Style {
        self.in_colour(Color::Cyan)
    }

    pub(super) fn bars(self) -> Style {
        self.in_colour(Color::Cyan)
    }

    /// Of a member's state, or of the word that a story has for it.
    pub(super) fn state(self, state: &str) -> Style {
        match state {
            "alive" | "back" => self.in_colour(Color::Green),
            "suspect" | "missed" => self.in_colour(Color::Yellow),
            "dead" | "revoked" | "silent" => self.in_colour(Color::Red).add_modifier(Modifier::BOLD),
            _ => self.dim(),
        }
    }
}

/// The shape of a state, for those who see no colours: those of the console.
pub(super) fn sign(state: &str) -> &'static str {
    match state {
        "alive" => "●",
        "suspect" => "▲",
        "dead" => "✕",
        "revoked" => "⊘",
        "left" => "○",
        _ => "·",
    }
}

/// Writes text into one line, `room` cells wide at most, and gives where it ends. What is cut ends with an ellipsis; what would move
/// the cursor is escaped.
pub(super) fn put(buffer: &mut Buffer, (x, y): (u16, u16), room: u16, text: &str, style: Style) -> u16 {
    let room = room.min(buffer.area.right().saturating_sub(x));
    if room == 0 || y >= buffer.area.bottom() {
        return x;
    }
    let text = print::escaped(text);
    if width_of(&text) <= usize::from(room) {
        return buffer.set_stringn(x, y, &text, usize::from(room), style).0;
    }
    let (end, _) = buffer.set_stringn(x, y, &text, usize::from(room - 1), style);
    buffer.set_stringn(end, y, "…", 1, style).0
}

/// How wide a text of ours is.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(width_of(text)).unwrap_or(u16::MAX)
}

/// A line of cells, each as wide as its column, with a blank between them.
pub(super) fn put_row<'a>(
    buffer: &mut Buffer,
    (mut x, y): (u16, u16),
    cells: impl IntoIterator<Item = (&'a str, u16, Style)>,
) {
    for (text, room, style) in cells {
        put(buffer, (x, y), room, text, style);
        x = x.saturating_add(room).saturating_add(1);
    }
}
