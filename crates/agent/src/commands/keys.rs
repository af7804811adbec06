//! `rumor keygen` and `rumor keys`.

use std::path::Path;

use rumormill::{KeyFileError, Keyring, StartError};
use ureq::http::Method;

use super::Output;
use crate::cli::{Keygen, Keys, Target};
use crate::client::Client;
use crate::documents::{KeyChangeDocument, KeyDocument, KeygenDocument};
use crate::failure::{Failure, Kind};
use crate::{percent, print};

/// Makes a key, and shows it only where it was asked to go.
pub(super) fn generate(flags: &Keygen, output: Output) -> Result<(), Failure> {
    let keyring = match &flags.from {
        Some(path) => read("from", path)?.renewed(),
        None => Keyring::generate(),
    };
    let keyring = keyring.map_err(|error: StartError| Failure::from(error))?;
    let id = keyring.keys()[0].id();
    let Some(path) = &flags.file else {
        let text = keyring.to_text();
        return Ok(print::line(text.trim_end())?);
    };
    keyring.write_new(path).map_err(|error| unusable("file", path, &error))?;
    if output.json {
        return Ok(print::json(&KeygenDocument { id: id.to_string(), file: path.display().to_string() })?);
    }
    Ok(print::line(format!("key {id} in {}: only its owner can read it", path.display()))?)
}

/// Reads a key file that a setting or flag names.
pub(crate) fn read(field: &str, path: &Path) -> Result<Keyring, Failure> {
    Keyring::read(path).map_err(|error| unusable(field, path, &error))
}

fn unusable(field: &str, path: &Path, error: &KeyFileError) -> Failure {
    let rule = match error {
        KeyFileError::File(error) => error.rule(),
        KeyFileError::Malformed { .. } => "a key file as `rumor keygen` writes it".to_owned(),
    };
    Failure::value(field, path.display(), rule).with_code("key_file")
}

pub(super) fn run(command: Keys, output: Output) -> Result<(), Failure> {
    match command {
        Keys::List { target } => list(&target, output),
        Keys::Add { target, file } => {
            // What is wrong with the file is found before anybody is asked.
            let text = read("file", &file)?.to_text();
            let client = Client::new(&target)?;
            if !client.is_confidential() {
                let rule = "an agent on this machine, or one that speaks TLS (https): a key does not go over the network in clear";
                return Err(Failure::value("agent", client.base(), rule));
            }
            let path = format!("/v1/keys?{}", client.timeout_parameter());
            told(&client.post(&path, text.as_bytes().to_vec())?, "accept", output)
        }
        Keys::Use { target, id, force } => change(&target, Method::POST, &id, "/use", force, "seal with", output),
        Keys::Remove { target, id, force } => {
            change(&target, Method::DELETE, &id, "", force, "do no longer accept", output)
        }
    }
}

fn list(target: &Target, output: Output) -> Result<(), Failure> {
    let client = Client::new(target)?;
    let keys: Vec<KeyDocument> = client.get(&format!("/v1/keys?{}", client.timeout_parameter()))?;
    if output.json {
        return Ok(print::json(&keys)?);
    }
    for KeyDocument { id, primary, members, of, used_by, lacking } in &keys {
        let word = if *primary { "in use" } else { "accepted" };
        let lacking = if lacking.is_empty() { String::new() } else { format!("; not by {}", lacking.join(", ")) };
        print::line(format!("{id}  {word:<8}  accepted by {members} of {of}, used by {used_by}{lacking}"))?;
    }
    Ok(())
}

fn change(
    target: &Target,
    method: Method,
    id: &str,
    verb: &str,
    force: bool,
    what: &str,
    output: Output,
) -> Result<(), Failure> {
    let client = Client::new(target)?;
    let force = if force { "&force=true" } else { "" };
    let path = format!("/v1/keys/{}{verb}?{}{force}", percent::encode(id), client.timeout_parameter());
    told(&client.call(method, &path, None::<&()>)?, what, output)
}

/// Says who did it, and who did not.
fn told(document: &KeyChangeDocument, what: &str, output: Output) -> Result<(), Failure> {
    let KeyChangeDocument { id, members, of, refused, silent } = document;
    if output.json {
        print::json(document)?;
    } else {
        print::line(format!("{members} of {of} members {what} key {id}"))?;
    }
    for refusal in refused {
        print::note(format!("{} does not: {}", refusal.name, refusal.reason));
    }
    for name in silent {
        print::note(format!("{name} did not answer"));
    }
    if members == of {
        return Ok(());
    }
    Err(Failure::new(Kind::No, "not_everywhere", format!("{} of {of} members did not", of - members)))
}
