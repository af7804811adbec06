//! What people see: tables, ages, milliseconds, times of day.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use rumormill::data::Value;
use serde::Serialize;

/// Writes a line of the result to stdout.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.as_ref())?;
    out.flush()
}

/// Writes bytes as they are, whether or not they are text, and what is to stand after them.
pub(crate) fn bytes(bytes: &[u8], end: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.write_all(end.as_bytes())?;
    out.flush()
}

/// Writes a document to stdout, as one line of JSON.
pub(crate) fn json(document: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string(document).map_err(io::Error::other)?)
}

/// Says something to a person, on stderr. Nobody there to read it is no reason to stop.
pub(crate) fn note(text: impl AsRef<str>) {
    let line = format!("{}\n", text.as_ref());
    // In one piece, as other processes may write to the same terminal.
    io::stderr().lock().write_all(line.as_bytes()).ok();
}

/// Columns under a header, two spaces between them; nothing behind the last.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let widths = widths(header, rows);
    let header: Vec<String> = header.iter().map(|&title| title.to_owned()).collect();
    std::iter::once(&header).chain(rows).map(|row| aligned(row, &widths)).collect()
}

/// How wide columns must be for what is in them.
pub(crate) fn widths(header: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = header.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

/// A row in columns of these widths; nothing behind the last.
pub(crate) fn aligned(row: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let _ = write!(text, "{cell:<width$}  ");
    }
    text.truncate(text.trim_end().len());
    text
}

/// `0.21 ms`, `14.0 ms`, `1.20 s`: three digits that matter.
pub(crate) fn short(seconds: f64) -> String {
    let millis = seconds * 1e3;
    match millis {
        _ if millis < 10.0 => format!("{millis:.2} ms"),
        _ if millis < 1_000.0 => format!("{millis:.1} ms"),
        _ => format!("{seconds:.2} s"),
    }
}

/// `0.4 ms`, as times of a trace are shown.
pub(crate) fn millis(seconds: f64) -> String {
    format!("{:.1} ms", seconds.max(0.0) * 1e3)
}

/// `4 ms`, `0.4 ms`, as times of writes are shown.
pub(crate) fn whole_millis(seconds: f64) -> String {
    let millis = seconds * 1e3;
    if millis < 1.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

/// Text on one line, with what would move the cursor escaped, and what would show text in another order or not at all.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || misleads(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Marks that turn the direction of what follows, end lines, or take no room; not the joiners that some scripts are written with.
fn misleads(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A value on part of one line.
pub(crate) fn shortened(value: &Value) -> String {
    begun(&value.to_string(), 60)
}

/// The first so many characters of a text, on one line.
pub(crate) fn begun(text: &str, shown: usize) -> String {
    match text.char_indices().nth(shown) {
        Some((end, _)) => format!("{}…", escaped(&text[..end])),
        None => escaped(text),
    }
}

/// `512 B`, `1.9 kB`, `2.1 MB`.
pub(crate) fn size(bytes: f64) -> String {
    match bytes {
        _ if bytes < 1e3 => format!("{bytes:.0} B"),
        _ if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
        _ => format!("{:.1} MB", bytes / 1e6),
    }
}

/// `12 s`, `3 min`, `5 h`, `9 d`: how long something has been so.
pub(crate) fn age(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).map_or(0, |age| age.as_secs());
    match whole {
        0..100 => format!("{whole} s"),
        100..6_000 => format!("{} min", whole / 60),
        6_000..172_800 => format!("{} h", whole / 3_600),
        _ => format!("{} d", whole / 86_400),
    }
}

/// `12:00:31.02` where the person sits.
pub(crate) fn time_of_day(unix_seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "microseconds of any present time fit 63 bits")]
    let moment = jiff::Timestamp::from_microsecond((unix_seconds * 1e6) as i64).unwrap_or_default();
    let local = moment.to_zoned(TimeZone::system());
    let hundredths = local.subsec_nanosecond() / 10_000_000;
    format!("{:02}:{:02}:{:02}.{hundredths:02}", local.hour(), local.minute(), local.second())
}

/// The time of day as Unix seconds.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// `a=1,b=2`.
pub(crate) fn tags(tags: &BTreeMap<String, String>) -> String {
    tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// `1 payload`, `6 payloads`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `1,000,000`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_its_columns_and_leaves_no_blanks_at_the_end() {
        let rows = [vec!["n1".to_owned(), "alive".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "STATE", "TAGS"], &rows), ["NAME  STATE  TAGS", "n1    alive"]);
    }

    #[test]
    fn text_of_others_moves_no_cursor_and_shows_all_that_is_in_it() {
        assert_eq!(escaped("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(escaped("n1\u{202e}dab\u{200b}\u{2066}"), "n1\\u{202e}dab\\u{200b}\\u{2066}");
        assert_eq!(escaped("Zoë 名前 👩\u{200d}💻"), "Zoë 名前 👩\u{200d}💻");
    }

    #[test]
    fn times_keep_the_digits_that_matter() {
        assert_eq!([0.000_21, 0.014, 1.2].map(short), ["0.21 ms", "14.0 ms", "1.20 s"]);
        assert_eq!([12.9, 200.0, 7_200.0, 864_000.0].map(age), ["12 s", "3 min", "2 h", "10 d"]);
    }
}
