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
use crate::cli;
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::print;

/// The part of a lease for which a command that is asked to end may go on, and the part in which it is ended by force.
const FAREWELL_PART: u32 = 4;
const FORCE_PART: u32 = 50;

pub(super) fn run(flags: &cli::Lock, output: Output) -> Result<(), Failure> {
    let (client, ttl) = (Client::new(&flags.target)?, lease::checked(flags.ttl)?);
    let label = lease::label(&client)?;
    let wanted = Wanted { client, kind: "locks", name: flags.name.clone(), label, ttl };
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let lease = Arc::new(wanted).acquire().await?;
        if !output.json {
            print::note(format!("holding {} with fencing token {}", flags.name, lease.token));
        }
        let ended = under(&lease, flags).await;
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
async fn under(lease: &Lease, flags: &cli::Lock) -> Result<(), Failure> {
    let mut child = start(&flags.command, &flags.name, lease.token)?;
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let tell = |what: Signal| group.map(|group| kill_process_group(group, what));
    let catch = |kind| signal(kind).map_err(|error| Failure::new(Kind::Refused, "system", error.to_string()));
    let (mut interrupted, mut terminated) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    let mut is_warned = false;
    loop {
        tokio::select! {
            status = child.wait() => return finish(status.map_err(|error| lost(&error))?),
            _ = interrupted.recv() => drop(tell(Signal::INT)),
            _ = terminated.recv() => drop(tell(Signal::TERM)),
            () = sleep(LOOKED_EVERY) => {}
        }
        let left = lease.left().unwrap_or_default();
        if left <= flags.ttl / FORCE_PART {
            tell(Signal::KILL);
            return after_loss(child, &flags.name).await;
        }
        if left <= flags.ttl / FAREWELL_PART && !is_warned {
            is_warned = true;
            tell(Signal::TERM);
        }
    }
}

/// In a process group of its own, so that whatever it starts ends with it.
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
