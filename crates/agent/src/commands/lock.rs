//! `rumor lock`: a command that runs only while this process holds a lock.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::Output;
use super::lease::{self, LOOKED_EVERY, Lease, Wanted};
use super::terminal::Lent;
use crate::cli;
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::print;

/// In the last part of a lease a command is asked to end; it is ended by force where it may no longer go on.
const FAREWELL_PART: u32 = 4;

pub(super) fn run(flags: &cli::Lock, output: Output) -> Result<(), Failure> {
    let (client, ttl) = (Client::new(&flags.target)?.patient(), lease::checked(flags.ttl)?);
    let label = lease::label(&client)?;
    let wanted = Wanted {
        client,
        kind: "locks",
        name: flags.name.clone(),
        label,
        holder: rumormill::leases::holder(),
        ttl,
        wait: flags.wait,
    };
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        // Before there is anything that must not outlive this process.
        let mut signals = Signals::catch()?;
        let lease = tokio::select! {
            lease = Arc::new(wanted).acquire() => lease?,
            signal = signals.next() => return Err(Failure::of_command(128 + signal.code())),
        };
        if !output.json {
            print::note(format!("holding {} with fencing token {}", flags.name, lease.token));
        }
        let ended = under(&lease, flags, &mut signals).await;
        if lease.left().is_some() {
            // Whoever waits for it need not wait until it runs out; if this fails they do.
            lease.release().await.ok();
        }
        ended
    });
    runtime.shutdown_background();
    ended
}

/// Runs the command until it ends, or the lease does.
async fn under(lease: &Lease, flags: &cli::Lock, signals: &mut Signals) -> Result<(), Failure> {
    let mut child = start(&flags.command, &flags.name, lease.token)?;
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let terminal = group.and_then(Lent::to);
    let tell = |what: Code| group.map(|group| kill_process_group(group, what.signal()));
    let mut is_warned = false;
    loop {
        let look = lease.usable_for().min(LOOKED_EVERY);
        tokio::select! {
            status = child.wait() => return finish(status.map_err(|error| lost(&error))?),
            signal = signals.next() => drop(tell(signal)),
            () = sleep(look) => {}
        }
        if let Some(terminal) = &terminal {
            terminal.resume_if_stopped();
        }
        if lease.usable_for().is_zero() {
            tell(Code::Kill);
            return after_loss(child, &flags.name).await;
        }
        if lease.left().unwrap_or_default() <= flags.ttl / FAREWELL_PART && !is_warned {
            is_warned = true;
            tell(Code::Terminate);
        }
    }
}

/// What a command may be told.
#[derive(Clone, Copy, Debug)]
enum Code {
    HangUp,
    Interrupt,
    Quit,
    Terminate,
    Kill,
}

impl Code {
    const fn signal(self) -> Signal {
        match self {
            Self::HangUp => Signal::HUP,
            Self::Interrupt => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Terminate => Signal::TERM,
            Self::Kill => Signal::KILL,
        }
    }

    /// As shells count them.
    const fn code(self) -> u8 {
        match self {
            Self::HangUp => 1,
            Self::Interrupt => 2,
            Self::Quit => 3,
            Self::Kill => 9,
            Self::Terminate => 15,
        }
    }
}

/// What would end this process and is passed on to the command instead, which must not outlive it unwatched.
#[derive(Debug)]
struct Signals([(Code, tokio::signal::unix::Signal); 4]);

impl Signals {
    fn catch() -> Result<Self, Failure> {
        let catch = |code, kind| match signal(kind) {
            Ok(signals) => Ok((code, signals)),
            Err(error) => Err(Failure::new(Kind::Refused, "system", error.to_string())),
        };
        Ok(Self([
            catch(Code::HangUp, SignalKind::hangup())?,
            catch(Code::Interrupt, SignalKind::interrupt())?,
            catch(Code::Quit, SignalKind::quit())?,
            catch(Code::Terminate, SignalKind::terminate())?,
        ]))
    }

    async fn next(&mut self) -> Code {
        let [(hang_up, a), (interrupt, b), (quit, c), (terminate, d)] = &mut self.0;
        tokio::select! {
            _ = a.recv() => *hang_up,
            _ = b.recv() => *interrupt,
            _ = c.recv() => *quit,
            _ = d.recv() => *terminate,
        }
    }
}

/// In a process group of its own, so that whatever it starts ends with it. The terminal, if there is one, is lent to that.
fn start(command: &[OsString], name: &str, token: u64) -> Result<Child, Failure> {
    let (program, arguments) = command.split_first().expect("the command line demands a command");
    Command::new(program)
        .args(arguments)
        .env("RUMOR_LOCK", name)
        .env("RUMOR_FENCING_TOKEN", token.to_string())
        .process_group(0)
        .spawn()
        .map_err(|error| Failure::value("command", program.to_string_lossy(), format!("a program that runs ({error})")))
}

async fn after_loss(mut child: Child, name: &str) -> Result<(), Failure> {
    // An error says that it has ended already.
    child.wait().await.ok();
    let sentence =
        format!("{name} could not be renewed in time; the command was ended before anybody else could hold it");
    Err(Failure::new(Kind::NotAnswered, "lease_lost", sentence))
}

/// This process ends as the command did.
fn finish(status: ExitStatus) -> Result<(), Failure> {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failure::of_command(u8::try_from(code).unwrap_or(u8::MAX))),
        // As shells do.
        (None, signal) => Err(Failure::of_command(u8::try_from(128 + signal.unwrap_or_default()).unwrap_or(u8::MAX))),
    }
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::new(Kind::No, "command", format!("the command was lost: {error}"))
}
