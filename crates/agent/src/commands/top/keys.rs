//! Keys, by what they are for here.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// How many rows a page has.
const PAGE: isize = 10;

/// A key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Key {
    /// So many rows down, or up where it is negative.
    Move(isize),
    NextPanel,
    PreviousPanel,
    Enter,
    Escape,
    Backspace,
    Letter(char),
    Control(char),
}

impl Key {
    /// The key of an event, if it means something here.
    pub(super) fn of(event: KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "keyboards have many keys")]
        Some(match event.code {
            KeyCode::Char(letter) if event.modifiers.contains(KeyModifiers::CONTROL) => Self::Control(letter),
            KeyCode::Char(letter) => Self::Letter(letter),
            KeyCode::Down => Self::Move(1),
            KeyCode::Up => Self::Move(-1),
            KeyCode::PageDown => Self::Move(PAGE),
            KeyCode::PageUp => Self::Move(-PAGE),
            KeyCode::Home => Self::Move(isize::MIN),
            KeyCode::End => Self::Move(isize::MAX),
            KeyCode::Tab => Self::NextPanel,
            KeyCode::BackTab => Self::PreviousPanel,
            KeyCode::Enter => Self::Enter,
            KeyCode::Esc => Self::Escape,
            KeyCode::Backspace => Self::Backspace,
            _ => return None,
        })
    }

    /// The same where letters are not text: those that move in other programs move here.
    pub(super) const fn as_command(self) -> Self {
        match self {
            Self::Letter('j') => Self::Move(1),
            Self::Letter('k') => Self::Move(-1),
            Self::Letter('g') => Self::Move(isize::MIN),
            Self::Letter('G') => Self::Move(isize::MAX),
            Self::Control('d' | 'f') => Self::Move(PAGE),
            Self::Control('u' | 'b') => Self::Move(-PAGE),
            Self::Move(_)
            | Self::NextPanel
            | Self::PreviousPanel
            | Self::Enter
            | Self::Escape
            | Self::Backspace
            | Self::Letter(_)
            | Self::Control(_) => self,
        }
    }
}
