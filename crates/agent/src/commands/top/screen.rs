//! The terminal while it is drawn on, and as it was afterwards: when the view ends, and when it fails.

use std::io::{self, Stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::{Frame, Terminal};

/// Whether the terminal is to be given back: whoever comes first does it, and nobody twice.
static IS_ENTERED: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over. It is given back when this is dropped, and before a panic is told.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    _taken: Taken,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn enter() -> io::Result<Self> {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            tell(panic);
        }));
        let taken = Taken;
        take()?;
        Ok(Self { terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?, _taken: taken })
    }

    /// Takes it over again, whatever was done with it meanwhile: the next picture is sent as a whole.
    pub(super) fn take_again(&mut self) -> io::Result<()> {
        take()?;
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }

    /// Shows a picture, of which what changed since the last one is sent.
    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(picture).map(|_| ())
    }
}

#[derive(Debug)]
struct Taken;

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    IS_ENTERED.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide)
}

/// Whether it is to be drawn on.
pub(super) fn is_taken() -> bool {
    IS_ENTERED.load(Ordering::SeqCst)
}

/// Leaves the terminal as it was, if it is taken over.
pub(super) fn give_back() {
    if IS_ENTERED.swap(false, Ordering::SeqCst) {
        // If this fails the terminal is gone.
        disable_raw_mode().ok();
        execute!(io::stdout(), LeaveAlternateScreen, Show).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::process::Command;

    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::tcgetattr;

    use super::*;

    /// Set for the process that is to fail.
    const FAILS: &str = "SCREEN_TEST_FAILS";

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        if std::env::var_os(FAILS).is_some() {
            let mut screen = Screen::enter().unwrap();
            screen.draw(|_| panic!("the picture is wrong")).unwrap();
            return;
        }
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let hands = openpt(flags).unwrap();
        grantpt(&hands).unwrap();
        unlockpt(&hands).unwrap();
        let end = ioctl_tiocgptpeer(&hands, flags).unwrap();
        let before = tcgetattr(&end).unwrap();
        let this = "commands::top::screen::tests::a_panic_gives_the_terminal_back_before_it_is_told";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", this, "--nocapture"])
            .env(FAILS, "1")
            .env("TERM", "xterm")
            .env_remove("RUST_BACKTRACE");
        let of_command = || end.try_clone().unwrap();
        let mut child = command.stdin(of_command()).stdout(of_command()).stderr(of_command()).spawn().unwrap();
        drop(command);
        assert!(!child.wait().unwrap().success());
        let after = tcgetattr(&end).unwrap();
        drop(end);
        let (mut said, mut hands) = (Vec::new(), File::from(hands));
        // It ends with an error, as nobody has the other end any more.
        hands.read_to_end(&mut said).ok();
        let said = String::from_utf8_lossy(&said);
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text:?} in {said:?}"));
        assert!(at("\x1b[?1049h") < at("\x1b[?1049l"), "{said:?}");
        assert!(at("\x1b[?25h") < at("the picture is wrong"), "the terminal is whole when it is told: {said:?}");
        assert_eq!(said.matches("\x1b[?1049l").count(), 1, "nobody gives it back twice");
        assert_eq!((before.local_modes, before.input_modes), (after.local_modes, after.input_modes));
    }
}
