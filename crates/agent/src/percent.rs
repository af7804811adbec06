//! Percent-encoding, as pieces of a URL need it.

use std::fmt::Write as _;

/// A piece of a path or of a query, with everything escaped that could mean something else.
pub(crate) fn encode(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// What was escaped; `None` if an escape is cut short, or what comes out is no UTF-8.
pub(crate) fn decode(escaped: &str) -> Option<String> {
    let mut pieces = escaped.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_a_url_holds_no_separators_and_reads_back() {
        let text = "a/b c?ü%+";
        assert_eq!(encode(text), "a%2Fb%20c%3F%C3%BC%25%2B");
        assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        assert_eq!(decode("a/b+c").as_deref(), Some("a/b+c"));
    }

    #[test]
    fn what_is_no_escape_or_no_text_is_refused() {
        for wrong in ["%", "%2", "%zz", "%+1", "a%ff", "%C3", "%2ü"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
