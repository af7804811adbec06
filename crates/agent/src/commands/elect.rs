//! `rumor elect`: one of all who run it for a name leads; whoever leads and whoever does not are told.

use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use ureq::http::Method;

use super::Output;
use super::lease::{self, Lease, Wanted};
use crate::cli;
use crate::client::Client;
use crate::documents::ElectionDocument;
use crate::failure::{Failure, Kind};
use crate::{percent, print};

/// A try lasts for so many times the lease: whoever waits sees the whole of it run out.
const WAIT_TTLS: u32 = 4;
/// Before another try where the agent did not answer, or nobody votes.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) fn run(flags: &cli::Elect, output: Output) -> Result<(), Failure> {
    let (client, ttl) = (Client::new(&flags.target)?.patient(), lease::checked(flags.ttl)?);
    let label = lease::label(&client)?;
    follow(&client, &flags.name, output)?;
    let wanted = Arc::new(Wanted {
        client,
        kind: "elections",
        name: flags.name.clone(),
        label,
        holder: rumormill::leases::holder(),
        ttl,
        wait: ttl * WAIT_TTLS,
    });
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let catch = |kind| signal(kind).map_err(|error| Failure::new(Kind::Refused, "system", error.to_string()));
        let (mut interrupted, mut terminated) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
        loop {
            let lease = tokio::select! {
                lease = gain(&wanted) => lease?,
                _ = interrupted.recv() => return Ok(()),
                _ = terminated.recv() => return Ok(()),
            };
            act(flags.on_gain.as_deref(), &flags.name, lease.token);
            let is_over = tokio::select! {
                () = lease.lost() => false,
                _ = interrupted.recv() => true,
                _ = terminated.recv() => true,
            };
            act(flags.on_loss.as_deref(), &flags.name, lease.token);
            if is_over {
                return lease.release().await;
            }
        }
    });
    runtime.shutdown_background();
    ended
}

/// Tries until it succeeds, or will never.
async fn gain(wanted: &Arc<Wanted>) -> Result<Lease, Failure> {
    loop {
        match Arc::clone(wanted).acquire().await {
            Ok(lease) => return Ok(lease),
            Err(failure) if failure.code() == "held" => {}
            Err(failure) if failure.is_refused() || failure.code() == "value" => return Err(failure),
            Err(failure) => {
                print::note(format!("{}; trying again", failure.message()));
                sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// Runs a command and does not wait for it.
fn act(command: Option<&str>, election: &str, token: u64) {
    let Some(command) = command else { return };
    let started = Command::new("sh")
        .args(["-c", command])
        .env("RUMOR_ELECTION", election)
        .env("RUMOR_FENCING_TOKEN", token.to_string())
        .stdin(Stdio::null())
        .spawn();
    if let Err(error) = started {
        print::note(format!("{command} was not started: {error}"));
    }
}

/// Prints who leads, and again whenever that changes.
fn follow(client: &Client, name: &str, output: Output) -> Result<(), Failure> {
    let path = format!("/v1/elections/{}", percent::encode(name));
    let mut events = client.stream(Method::GET, &path, Vec::new())?;
    thread::spawn(move || {
        while let Ok(Some(event)) = events.next() {
            let Ok(document) = event.document::<ElectionDocument>() else { continue };
            if show(&document, output).is_err() {
                // Nobody reads it any more.
                return;
            }
        }
        print::note("the agent has stopped");
    });
    Ok(())
}

fn show(document: &ElectionDocument, output: Output) -> std::io::Result<()> {
    if output.json {
        return print::json(document);
    }
    let ElectionDocument { election, leader, token, .. } = document;
    match leader {
        Some(leader) => print::line(format!("{election}: {} leads, token {token}", print::escaped(leader))),
        None => print::line(format!("{election}: nobody leads")),
    }
}
