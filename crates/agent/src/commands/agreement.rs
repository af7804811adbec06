//! `rumor agree` and `rumor register`.

use std::ffi::OsString;
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::Method;

use super::Output;
use super::topics::payload;
use crate::cli::{Agree, Name, Register};
use crate::client::Client;
use crate::documents::{AgreementDocument, Done, RegisterDocument, SwapDocument, VoterDocument, VotersChange};
use crate::failure::Failure;
use crate::{percent, print};

/// Before the agent is asked again whether all voters have joined.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) fn agree(command: Agree, output: Output) -> Result<(), Failure> {
    let (target, method, path, change) = match command {
        Agree::Init { target, voters } => {
            (target, Method::POST, "init", VotersChange { voters, ..VotersChange::default() })
        }
        Agree::Add { target, name } => {
            (target, Method::POST, "voters", VotersChange { add: vec![name], ..VotersChange::default() })
        }
        Agree::Remove { target, name } => {
            (target, Method::POST, "voters", VotersChange { remove: vec![name], ..VotersChange::default() })
        }
        Agree::Status { target } => {
            let status: AgreementDocument = Client::new(&target)?.get("/v1/agreement")?;
            return show(&status, output);
        }
        Agree::Drop { target, founding } => {
            let path = format!("/v1/agreement/foundings/{}", percent::encode(&founding));
            let _: Done = Client::new(&target)?.call(Method::DELETE, &path, None::<&()>)?;
            return Ok(output.done()?);
        }
    };
    let client = Client::new(&target)?;
    let path = format!("/v1/agreement/{path}?{}", client.timeout_parameter());
    let mut status: AgreementDocument = client.call(method, &path, Some(&change))?;
    // Voters join one after the other, each once that is on its disk.
    let deadline = Instant::now() + client.timeout();
    while (status.refused.is_some() || status.changing) && Instant::now() < deadline {
        thread::sleep(LOOK_AGAIN);
        status = client.get("/v1/agreement")?;
    }
    show(&status, output)
}

fn show(status: &AgreementDocument, output: Output) -> Result<(), Failure> {
    if output.json {
        return Ok(print::json(status)?);
    }
    let AgreementDocument { voters, epoch, registers, quorum, changing, refused, stopped, foundings } = status;
    if !voters.is_empty() {
        let rows: Vec<Vec<String>> = voters.iter().map(row).collect();
        for line in print::table(&["VOTER", "ID", "STATE", "HEARD"], &rows) {
            print::line(line)?;
        }
        let present = if *changing { ", taking over from those before" } else { "" };
        let registers = print::count(*registers, "register");
        print::line(format!("{quorum} of {} decide; configuration {epoch}{present}; {registers}", voters.len()))?;
    }
    if let Some(refused) = refused {
        print::line(format!("registers cannot be used: {refused}"))?;
    }
    if *stopped {
        print::line(
            "this agent votes no more: it has said more than its disk remembers; let another vote in its place",
        )?;
    }
    if foundings.len() > 1 {
        for founding in foundings {
            let dropped = if founding.dropped { " (dropped)" } else { "" };
            print::line(format!("founding {}{dropped}: voters {}", founding.id, founding.voters.join(", ")))?;
        }
    }
    Ok(())
}

fn row(voter: &VoterDocument) -> Vec<String> {
    let VoterDocument { name, id, reachable, heard_ago } = voter;
    let heard = heard_ago.map_or_else(|| "never".to_owned(), |ago| format!("{} ago", print::age(ago)));
    vec![name.clone(), id.clone(), if *reachable { "alive" } else { "not reached" }.to_owned(), heard]
}

pub(super) fn register(command: Register, output: Output) -> Result<(), Failure> {
    match command {
        Register::Get { name, stale } => get(&name, stale, output),
        Register::Set { name, value } => {
            let (client, path) = at(&name)?;
            let path = format!("{path}?{}", client.timeout_parameter());
            report(&client.send_bytes(Method::PUT, &path, payload(Some(value))?)?, output)
        }
        Register::Cas { name, values, absent } => {
            let swap = swap(values, absent)?;
            let (client, path) = at(&name)?;
            let path = format!("{path}/cas?{}", client.timeout_parameter());
            match client.call(Method::POST, &path, Some(&swap)) {
                Ok(document) => report(&document, output),
                Err(failure) => {
                    if let Some(actual) = failure.actual().filter(|_| output.json) {
                        print::json(actual)?;
                    }
                    Err(failure)
                }
            }
        }
        Register::Delete { name } => {
            let (client, path) = at(&name)?;
            let path = format!("{path}?{}", client.timeout_parameter());
            report(&client.send_bytes(Method::DELETE, &path, Vec::new())?, output)
        }
        Register::List { target } => list(&Client::new(&target)?, output),
        Register::Watch { name } => watch(&name, output),
    }
}

fn at(name: &Name) -> Result<(Client, String), Failure> {
    Ok((Client::new(&name.target)?, format!("/v1/registers/{}", percent::encode(&name.register))))
}

fn get(name: &Name, stale: bool, output: Output) -> Result<(), Failure> {
    let (client, path) = at(name)?;
    let document: RegisterDocument = client.get(&format!("{path}?stale={stale}&{}", client.timeout_parameter()))?;
    if output.json {
        Ok(print::json(&document)?)
    } else {
        Ok(print::bytes(&document.bytes().unwrap_or_default(), "\n")?)
    }
}

fn swap(mut values: Vec<OsString>, absent: bool) -> Result<SwapDocument, Failure> {
    let new = values.pop();
    let new = payload(new)?;
    match (values.pop(), absent) {
        (Some(old), false) => Ok(SwapDocument::new(Some(old.as_encoded_bytes()), &new)),
        (None, true) => Ok(SwapDocument::new(None, &new)),
        (None, false) => Err(Failure::usage("say what the register must hold before what it is to hold, or --absent")),
        (Some(_), true) => Err(Failure::usage("with --absent say only what the register is to hold")),
    }
}

fn report(document: &RegisterDocument, output: Output) -> Result<(), Failure> {
    if output.json {
        return Ok(print::json(document)?);
    }
    let deed = if document.bytes().is_some() { "agreed" } else { "deleted" };
    Ok(print::line(format!("{}: {deed}, version {}", document.register, document.version))?)
}

fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let names: Vec<String> = client.get("/v1/registers")?;
    if output.json {
        return Ok(print::json(&names)?);
    }
    Ok(names.iter().try_for_each(print::line)?)
}

fn watch(name: &Name, output: Output) -> Result<(), Failure> {
    let (client, path) = at(name)?;
    let mut events = client.stream(Method::GET, &format!("{path}/watch"), Vec::new())?;
    while let Some(event) = events.next()? {
        let document: RegisterDocument = event.document()?;
        if output.json {
            print::json(&document)?;
        } else {
            let value = document.value.as_ref().map_or_else(|| "nothing".to_owned(), |text| print::escaped(text));
            print::line(format!("version {}: {value}", document.version))?;
        }
    }
    print::note("the agent has stopped");
    Ok(())
}
