//! `rumor authority` and `rumor identity`.

use std::path::Path;

use rumormill::authority::{AuthorityError, certificate_text, hex, parse_public_key, public_key_in, read_certificate};
use rumormill::{Authority, NodeId, Wall};

use super::Output;
use crate::cli;
use crate::client::Client;
use crate::documents::{AuthorityDocument, CertificateDocument, IdentityDocument, MemberDocument, RevocationDocument};
use crate::failure::Failure;
use crate::{percent, print};

pub(super) fn run(command: cli::Authority, output: Output) -> Result<(), Failure> {
    match command {
        cli::Authority::New { file } => make(&file, output),
        cli::Authority::Show { file } => {
            let authority = read(&file)?;
            if output.json {
                return Ok(print::json(&document(&authority, &file))?);
            }
            Ok(print::line(authority.public_key())?)
        }
        cli::Authority::Admit(flags) => admit(&flags, output),
        cli::Authority::Revoke(flags) => revoke(&flags, output),
    }
}

fn make(file: &Path, output: Output) -> Result<(), Failure> {
    let authority = Authority::generate().map_err(|error| unusable("file", file, &error))?;
    authority.write_new(file).map_err(|error| unusable("file", file, &error))?;
    if output.json {
        return Ok(print::json(&document(&authority, file))?);
    }
    print::note(format!("the authority is in {}, which only its owner can read; all agents need", file.display()));
    print::line("identity = \"signed\"")?;
    Ok(print::line(format!("authority = \"{}\"", authority.public_key()))?)
}

fn document(authority: &Authority, file: &Path) -> AuthorityDocument {
    AuthorityDocument { authority: authority.public_key(), file: file.display().to_string() }
}

fn admit(flags: &cli::Admit, output: Output) -> Result<(), Failure> {
    let authority = read(&flags.file)?;
    let key = match (&flags.key, &flags.data_dir) {
        (_, Some(directory)) => public_key_in(directory)?.1,
        (key, None) => {
            let key = key.as_deref().unwrap_or_default();
            let rule = "the 64 hex digits that `rumor identity show` prints";
            parse_public_key(key).ok_or_else(|| Failure::value("NODE-KEY", key, rule))?
        }
    };
    if let Some(name) = flags.name.as_deref().filter(|name| !rumormill_core::config::is_name(name)) {
        return Err(Failure::value("name", format!("{name:?}"), "1 to 128 bytes without control characters"));
    }
    let until = flags.span.map(|span| Authority::ago(std::time::Duration::ZERO) + span);
    let text = certificate_text(&authority.admit(key, flags.name.clone(), until));
    if let Some(path) = &flags.out {
        let rule = |error: std::io::Error| {
            Failure::value("out", path.display(), format!("a file that can be written ({error})"))
        };
        std::fs::write(path, &text).map_err(rule)?;
    }
    if output.json {
        let (key, certificate) = (hex(&key), text);
        return Ok(print::json(&CertificateDocument {
            key,
            name: flags.name.clone(),
            until: until.map(Wall::as_secs_f64),
            certificate,
        })?);
    }
    match &flags.out {
        Some(path) => print::note(format!("start the node with --certificate {}", path.display())),
        None => print::line(text.trim_end())?,
    }
    Ok(())
}

fn revoke(flags: &cli::Revoke, output: Output) -> Result<(), Failure> {
    let authority = read(&flags.file)?;
    let client = Client::new(&flags.target)?;
    let member: Result<MemberDocument, Failure> = client.get(&format!("/v1/members/{}", percent::encode(&flags.node)));
    let (id, name) = match (member, flags.node.parse::<NodeId>()) {
        (Ok(member), _) => {
            let id = member.id.parse().map_err(|_| Failure::value("node", &flags.node, "a name or an id"))?;
            (id, member.name)
        }
        // Somebody who is not listed any more may come back.
        (Err(_), Ok(id)) if flags.node.len() == 16 => (id, String::new()),
        (Err(failure), _) => return Err(failure),
    };
    let since = match flags.since {
        _ if flags.all_writes => Wall::from_micros(0),
        span => Authority::ago(span.unwrap_or_default()),
    };
    let revocation = authority.revoke(id, name, since);
    let document: RevocationDocument = client.post("/v1/revocations", revocation)?;
    if output.json {
        return Ok(print::json(&document)?);
    }
    print::note(format!("{} is revoked; the whole cluster knows within seconds", document.id));
    Ok(())
}

pub(super) fn identity(command: &cli::Identity, output: Output) -> Result<(), Failure> {
    let cli::Identity::Show { data_dir } = command;
    let (id, key) = public_key_in(data_dir)?;
    if output.json {
        return Ok(print::json(&IdentityDocument { id: id.to_string(), key: hex(&key) })?);
    }
    Ok(print::line(hex(&key))?)
}

fn read(file: &Path) -> Result<Authority, Failure> {
    Authority::read(file).map_err(|error| unusable("file", file, &error))
}

/// Reads the certificate that a setting names.
pub(crate) fn certificate(path: &Path) -> Result<Vec<u8>, Failure> {
    read_certificate(path).map_err(|error| unusable("certificate", path, &error))
}

fn unusable(field: &str, path: &Path, error: &AuthorityError) -> Failure {
    let rule = match error {
        AuthorityError::File(error) => error.rule(),
        AuthorityError::Malformed { what, command, .. } => format!("a {what}, as `rumor authority {command}` makes it"),
        AuthorityError::NoRandomness => "on a system with random numbers".to_owned(),
    };
    Failure::value(field, path.display(), rule).with_code("authority")
}
