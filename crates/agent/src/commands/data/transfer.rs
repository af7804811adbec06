//! `rumor list`, `export` and `import`: of any length, read and sent piece by piece.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write as _};

use super::super::Output;
use super::warn_of_conflict;
use crate::cli;
use crate::client::Client;
use crate::documents::{EntryDocument, Imported};
use crate::failure::Failure;
use crate::{percent, print};

/// So many keys are laid out together; the first of them decide the widths of the columns.
const ROWS_AT_ONCE: usize = 1_000;

pub(in crate::commands) fn list(flags: &cli::List, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let path = format!("/v1/data?prefix={}&keys_only={}", percent::encode(&flags.prefix), flags.keys_only);
    if output.json {
        let mut document = client.read(&path, "application/json")?;
        copy(&client, &mut document)?;
        return Ok(print::line("")?);
    }
    let mut lines = Lines { client: &client, body: BufReader::new(client.read(&path, LINES)?), read: 0 };
    if flags.keys_only {
        while let Some(line) = lines.next()? {
            print::line(client.understand::<String>(&line)?)?;
        }
    } else {
        show(&client, &mut lines)?;
    }
    print::note(print::count(lines.read, "key"));
    Ok(())
}

fn show(client: &Client, lines: &mut Lines<'_>) -> Result<(), Failure> {
    const HEADER: [&str; 4] = ["KEY", "KIND", "VALUE", "EXPIRES"];
    let mut widths = Vec::new();
    loop {
        let mut rows = Vec::new();
        while rows.len() < ROWS_AT_ONCE
            && let Some(line) = lines.next()?
        {
            rows.push(row(&client.understand(&line)?));
        }
        let is_first = widths.is_empty();
        if is_first && !rows.is_empty() {
            widths = print::widths(&HEADER, &rows);
            print::line(print::aligned(&HEADER.map(ToOwned::to_owned), &widths))?;
        }
        if rows.is_empty() {
            return Ok(());
        }
        rows.iter().try_for_each(|row| print::line(print::aligned(row, &widths)))?;
    }
}

fn row(document: &EntryDocument) -> Vec<String> {
    warn_of_conflict(&document.key, &document.kind, &document.conflict);
    let value = document.value().map_or_else(|_| String::new(), |value| print::shortened(&value));
    let expires = document.expires_at.map(|moment| format!("in {}", print::age(moment - print::now())));
    vec![print::escaped(&document.key), document.kind.clone(), value, expires.unwrap_or_default()]
}

pub(in crate::commands) fn export(flags: &cli::Export) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let path = format!("/v1/data?prefix={}", percent::encode(&flags.prefix));
    let mut lines = Lines { client: &client, body: BufReader::new(client.read(&path, LINES)?), read: 0 };
    let mut out = BufWriter::new(io::stdout().lock());
    while let Some(line) = lines.next()? {
        out.write_all(&line)?;
    }
    out.flush()?;
    print::note(format!("exported {}", print::count(lines.read, "key")));
    Ok(())
}

pub(in crate::commands) fn import(flags: &cli::Import, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?.patient();
    let reader: Box<dyn Read> = if flags.file.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        let file = File::open(&flags.file);
        let failed = |error| Failure::value("file", flags.file.display(), format!("a file that can be read ({error})"));
        Box::new(file.map_err(failed)?)
    };
    let imported: Imported = client.upload(&format!("/v1/import?{}", client.timeout_parameter()), reader)?;
    if output.json {
        return Ok(print::json(&imported)?);
    }
    let Imported { keys, durable, elapsed: _ } = imported;
    let keys = print::count(keys, "key");
    Ok(print::line(format!("imported {keys}, {}", if durable { "durable here" } else { "held here, in memory" }))?)
}

/// The form of a list that comes a document a line.
const LINES: &str = crate::http::LINES;

/// A list on its way, a document a line.
struct Lines<'a> {
    client: &'a Client,
    body: BufReader<ureq::BodyReader<'static>>,
    read: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut line = Vec::new();
        let bytes = self.body.read_until(b'\n', &mut line).map_err(|error| self.client.gone(&error))?;
        self.read += u64::from(bytes > 0);
        Ok((bytes > 0).then_some(line))
    }
}

/// Copies what an agent sends to stdout.
fn copy(client: &Client, from: &mut impl Read) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).map_err(|error| client.gone(&error))?;
        if length == 0 {
            out.flush()?;
            return Ok(());
        }
        out.write_all(&buffer[..length])?;
    }
}
