//! The token with which clients speak to an agent that others can reach.

use std::path::Path;

use rumormill::private_file;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// What a token may be as long as: 128 bits in hex digits at least.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=512;

/// A token, which is never shown.
pub(crate) struct Token(Zeroizing<String>);

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token")
    }
}

impl Token {
    /// Reads a file that holds nothing else; `field` is the setting that names it.
    pub(crate) fn read(field: &str, path: &Path) -> Result<Self, Failure> {
        let text = private_file::read(path).map_err(|error| Failure::value(field, path.display(), error.rule()))?;
        let token = text.trim();
        if !LENGTH.contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let rule = "a file with a token of 32 to 512 letters, digits and signs, without spaces";
            return Err(Failure::value(field, path.display(), rule));
        }
        Ok(Self(Zeroizing::new(token.to_owned())))
    }

    /// Whether somebody knows it. How long this takes does not tell how much of it was right.
    pub(crate) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// Whether it is the same.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.is(&other.0)
    }

    /// As a header of a request says it.
    pub(crate) fn bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", *self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(text: &str, mode: u32) -> Result<Token, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Token::read("http_token_file", &path)
    }

    #[test]
    fn a_token_is_known_to_whoever_has_all_of_it_and_is_never_shown() {
        let word = "0123456789abcdef0123456789abcdef";
        let token = read(&format!("{word}\n"), 0o600).unwrap();
        assert!(token.is(word) && !token.is("") && !token.is(&word[1..]) && !token.is(&format!("{word}0")));
        assert!(!format!("{token:?}").contains("0123"));
        assert_eq!(*token.bearer(), format!("Bearer {word}"));
    }

    #[test]
    fn what_is_short_or_no_token_or_open_to_others_is_refused_without_showing_it() {
        let long = "x".repeat(513);
        for (text, mode) in [
            ("0123456789abcdef", 0o600),
            ("", 0o600),
            ("0123456789abcdef 0123456789abcdef", 0o600),
            (&long, 0o600),
            ("0123456789abcdef0123456789abcdef", 0o644),
        ] {
            let failure = read(text, mode).unwrap_err();
            let message = failure.message();
            assert!(message.contains("http_token_file") && !message.contains("0123456789"), "{message}");
        }
    }
}
