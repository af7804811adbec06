//! `rumor keygen`.

use std::path::Path;

use rumormill::{KeyFileError, Keyring, StartError};

use super::Output;
use crate::cli::Keygen;
use crate::documents::KeygenDocument;
use crate::failure::Failure;
use crate::print;

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
