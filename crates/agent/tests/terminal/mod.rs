//! A terminal of the test's own: a command runs on it, and what it shows is what another's parser makes of its bytes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use vt100::{Parser, Screen};

/// Generous, as in `support`: nothing waits so long unless it fails.
const DEADLINE: Duration = Duration::from_mins(1);

/// A terminal with a command on it, which ends with the test.
pub(crate) struct Terminal {
    child: Option<Child>,
    pid: Pid,
    /// Whoever sits at it.
    hands: File,
    /// What the command has of it, kept to see how it left it.
    end: Option<OwnedFd>,
    said: Receiver<Vec<u8>>,
    parser: Parser,
    /// Everything that the command wrote.
    pub(crate) bytes: Vec<u8>,
}

impl Terminal {
    /// Runs a command on a terminal of so many columns and rows.
    pub(crate) fn run(command: &Command, columns: u16, rows: u16) -> Self {
        // What other tests start at the same time must not keep the terminal.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let hands = openpt(flags).unwrap();
        grantpt(&hands).unwrap();
        unlockpt(&hands).unwrap();
        tcsetwinsize(&hands, size(columns, rows)).unwrap();
        let end = ioctl_tiocgptpeer(&hands, flags).unwrap();
        let child = on_terminal(command, &end).spawn().unwrap();
        let hands = File::from(hands);
        let said = listen(hands.try_clone().unwrap());
        let parser = Parser::new(cells(rows), cells(columns), 0);
        let pid = Pid::from_child(&child);
        Self { child: Some(child), pid, hands, end: Some(end), said, parser, bytes: Vec::new() }
    }

    /// Waits until something is to be seen.
    pub(crate) fn wait_for(&mut self, what: &str, is_so: impl Fn(&Screen) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self.parser.screen()) {
            let said = self.said.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let Ok(bytes) = said else { panic!("waited for {what}; the screen is\n{}", self.text()) };
            self.hear(&bytes);
        }
    }

    /// Waits until all of these are to be seen.
    pub(crate) fn wait_for_text(&mut self, texts: &[&str]) {
        self.wait_for(&format!("{texts:?}"), |screen| texts.iter().all(|text| screen.contents().contains(text)));
    }

    /// Waits until a line holds all of these.
    pub(crate) fn wait_for_line(&mut self, texts: &[&str]) {
        let has_all = |line: &str| texts.iter().all(|text| line.contains(text));
        self.wait_for(&format!("{texts:?} in a line"), |screen| screen.contents().lines().any(has_all));
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> &Screen {
        self.parser.screen()
    }

    /// The same as lines of text.
    pub(crate) fn text(&self) -> String {
        self.screen().contents()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.hands.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.parser.set_size(cells(rows), cells(columns));
        tcsetwinsize(&self.hands, size(columns, rows)).unwrap();
    }

    /// How the terminal takes what is typed.
    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(self.end.as_ref().unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Waits until the command ends, and has said all: how it ended, and how the terminal is then.
    pub(crate) fn wait_for_end(&mut self) -> (ExitStatus, Termios) {
        let mut child = self.child.take().unwrap();
        let (sender, ended) = channel();
        thread::spawn(move || sender.send(child.wait().unwrap()));
        let status = ended.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            kill_process(self.pid, Signal::KILL).unwrap();
            panic!("the command goes on; the screen is\n{}", self.text())
        });
        let modes = self.modes();
        // Without anybody at the other end the listener comes to an end.
        self.end = None;
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.hear(&bytes),
                Err(RecvTimeoutError::Disconnected) => return (status, modes),
                Err(RecvTimeoutError::Timeout) => panic!("somebody keeps the terminal"),
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.parser.process(bytes);
        self.bytes.extend_from_slice(bytes);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The same command with this as its controlling terminal.
fn on_terminal(command: &Command, end: &OwnedFd) -> Command {
    let mut leader = Command::new("setsid");
    leader.arg("--ctty").env("TERM", "xterm-256color").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => leader.env(name, value),
            None => leader.env_remove(name),
        };
    }
    let end = || end.try_clone().unwrap();
    leader.stdin(end()).stdout(end()).stderr(end());
    leader
}

fn listen(mut terminal: File) -> Receiver<Vec<u8>> {
    let (sender, said) = channel();
    thread::spawn(move || {
        let mut bytes = [0; 4_096];
        // It ends with an error, when nobody has the other end any more.
        while let Ok(count @ 1..) = terminal.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    said
}

const fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}
