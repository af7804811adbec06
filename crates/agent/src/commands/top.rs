//! `rumor top`: the cluster as one agent sees it, live in the terminal.
//!
//! What is shown is a function of [`App`], which changes by inputs alone: keys, what the agent says, and time. Threads read the
//! terminal, the signals and the agent, and put what they find into one bounded queue.

mod app;
mod draw;
mod keys;
mod known;
mod link;
mod order;
mod screen;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use app::{Act, App};
use draw::Ink;
use keys::Key;
use link::{Ask, News};
use ratatui::crossterm::event::{self, Event};
use rustix::process;
use screen::Screen;
use tokio::signal::unix::{SignalKind, signal};

use super::Output;
use crate::client::Client;
use crate::documents::Info;
use crate::failure::{Failure, Kind};
use crate::{cli, print};

/// Ages are shown in seconds.
const TICK: Duration = Duration::from_secs(1);
/// What comes within this time is one picture; only a key is answered at once.
const FRAME: Duration = Duration::from_millis(40);
/// How much may wait for the next picture; the agent waits for a view that is slower, and tells it what it missed.
const INPUTS_MAX: usize = 1_024;

/// What changes the view, beside time.
#[derive(Debug)]
enum Input {
    /// A key, or another size.
    Terminal(Event),
    /// Something from the agent.
    News(News),
    /// The shell is to have the terminal, and this process to stop.
    Stop,
    /// This process goes on after it was stopped.
    Continue,
    /// A signal, or no terminal any more.
    End,
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum After {
    Draw,
    Stop,
    Continue,
    End,
}

pub(super) fn run(flags: &cli::Top, output: Output) -> Result<(), Failure> {
    check_terminal(output)?;
    let client = Client::new(&flags.target)?;
    let info: Info = client.get("/v1/info")?;
    let mut app = App::new(client.base(), info, print::now());
    let (sender, inputs) = sync_channel(INPUTS_MAX);
    catch_signals(sender.clone())?;
    let mut screen = Screen::enter().map_err(|error| {
        Failure::new(Kind::Refused, "terminal", format!("the terminal cannot be drawn on ({error})"))
    })?;
    let asks = link::start(client, sender.clone());
    thread::spawn(move || read_terminal(&sender));
    let ink = Ink::of_environment();
    loop {
        app.settle(print::now());
        // Once the terminal was given back it is not drawn on until this process was told to go on.
        if screen::is_taken() {
            screen.draw(|frame| draw::draw(frame, &app, ink))?;
        }
        match take_turn(&inputs, &asks, &mut app) {
            After::Draw => {}
            After::Stop => stop(),
            After::Continue => screen.take_again()?,
            After::End => return Ok(()),
        }
    }
}

/// Leaves the terminal to the shell until that lets this process go on. Where there is no shell nobody ever would.
fn stop() {
    let (this, leader) = (process::getpid(), process::getsid(None));
    if leader.is_ok_and(|leader| leader == this) {
        return;
    }
    screen::give_back();
    // The only one that stops it although `SIGTSTP` is caught. If it is not allowed the view goes on where it is told to.
    process::kill_process(this, process::Signal::STOP).ok();
}

/// A view is for people, on something that can be drawn on.
fn check_terminal(output: Output) -> Result<(), Failure> {
    if output.json {
        return Err(Failure::usage(
            "`rumor top` is a view for people and has no JSON; `rumor members --watch --json` prints what changes",
        ));
    }
    if io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb") {
        return Ok(());
    }
    let sentence =
        "`rumor top` draws on a terminal, and its output is none; `rumor members --watch` prints what changes";
    Err(Failure::new(Kind::Refused, "no_terminal", sentence))
}

/// Waits for something that changes the view, for a tick at most, and takes in what comes with it.
fn take_turn(inputs: &Receiver<Input>, asks: &Sender<Ask>, app: &mut App) -> After {
    let mut until = Instant::now() + TICK;
    loop {
        let input = match inputs.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(input) => input,
            Err(RecvTimeoutError::Timeout) => return After::Draw,
            Err(RecvTimeoutError::Disconnected) => return After::End,
        };
        let is_typed = matches!(input, Input::Terminal(_));
        let act = match input {
            Input::Terminal(Event::Key(key)) => Key::of(key).and_then(|key| app.on_key(key)),
            // Drawing asks for the size.
            Input::Terminal(_) => None,
            Input::News(news) => app.on_news(news),
            Input::Stop => Some(Act::Stop),
            Input::Continue => return After::Continue,
            Input::End => return After::End,
        };
        match act {
            Some(Act::Quit) => return After::End,
            Some(Act::Stop) => return After::Stop,
            // The link lives as long as this process.
            Some(Act::Ask(ask)) => drop(asks.send(ask)),
            None => {}
        }
        if is_typed {
            return After::Draw;
        }
        until = until.min(Instant::now() + FRAME);
    }
}

fn read_terminal(inputs: &SyncSender<Input>) {
    while let Ok(event) = event::read() {
        if inputs.send(Input::Terminal(event)).is_err() {
            return;
        }
    }
    inputs.send(Input::End).ok();
}

/// From here on a signal ends or stops the view and not the process, so that the terminal is left as it was.
fn catch_signals(inputs: SyncSender<Input>) -> Result<(), Failure> {
    let runtime = super::runtime()?;
    let mut caught = {
        let _context = runtime.enter();
        let catch = |kind| signal(kind).map_err(|error| Failure::new(Kind::Refused, "system", error.to_string()));
        let [stop, go_on] =
            [process::Signal::TSTP, process::Signal::CONT].map(|kind| SignalKind::from_raw(kind.as_raw()));
        let ends = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        let [interrupted, terminated, hung_up, quit] = ends.map(catch);
        [interrupted?, terminated?, hung_up?, quit?, catch(stop)?, catch(go_on)?]
    };
    thread::spawn(move || {
        loop {
            let [interrupted, terminated, hung_up, quit, stopped, going_on] = &mut caught;
            let input = runtime.block_on(async {
                tokio::select! {
                    _ = interrupted.recv() => Input::End,
                    _ = terminated.recv() => Input::End,
                    _ = hung_up.recv() => Input::End,
                    _ = quit.recv() => Input::End,
                    _ = stopped.recv() => Input::Stop,
                    _ = going_on.recv() => Input::Continue,
                }
            });
            if inputs.send(input).is_err() {
                return;
            }
        }
    });
    Ok(())
}
