//! Documents of the database.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rumormill::data::{Change, Changed, Edit, Entry, Kind, News, Position, Value, Write, Written};
use rumormill_core::Seconds;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

/// A key and what it holds, as one agent sees it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct EntryDocument {
    pub(crate) key: String,
    /// `register`, `counter` or `set`.
    pub(crate) kind: String,
    /// A string, a number, or a sorted array of strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) value: Option<Box<RawValue>>,
    /// In place of `value` where that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) value_base64: Option<Box<RawValue>>,
    /// Another one whenever the value was written; opaque.
    #[serde(default)]
    pub(crate) version: String,
    /// When the value runs out, Unix seconds.
    #[serde(default)]
    pub(crate) expires_at: Option<f64>,
    /// Other kinds that were written at the same time elsewhere; the key does not show them.
    #[serde(default)]
    pub(crate) conflict: Vec<String>,
}

impl From<&Entry> for EntryDocument {
    fn from(entry: &Entry) -> Self {
        let Shown { value, value_base64 } = Shown::of(&entry.value);
        Self {
            key: entry.key.clone(),
            kind: entry.value.kind().as_str().to_owned(),
            value,
            value_base64,
            version: entry.revision.to_string(),
            expires_at: entry.expires.map(|expires| f64::from(expires.0)),
            conflict: conflict(&entry.conflict),
        }
    }
}

impl EntryDocument {
    /// The value that it shows.
    ///
    /// # Errors
    /// Which field breaks which rule.
    pub(crate) fn value(&self) -> Result<Value, Misfit> {
        let shown = Shown { value: self.value.clone(), value_base64: self.value_base64.clone() };
        shown.read(&self.kind)
    }

    /// The write that makes a key hold this again.
    ///
    /// # Errors
    /// Which field breaks which rule.
    pub(crate) fn restore(self) -> Result<Write, Misfit> {
        let value = self.value()?;
        let expires = self.expires_at.map(whole_second).transpose()?;
        Ok(Write::new(self.key, Edit::Restore { value, expires }))
    }
}

/// The first whole second at or after a moment.
fn whole_second(moment: f64) -> Result<Seconds, Misfit> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in the range")]
    let seconds = moment.ceil() as u32;
    if (0.0..f64::from(u32::MAX)).contains(&moment) {
        return Ok(Seconds(seconds));
    }
    Err(Misfit::new("expires_at", moment, "Unix seconds before the year 2106"))
}

/// A document that says what no entry can be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Misfit {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) rule: &'static str,
}

impl Misfit {
    fn new(field: &'static str, value: impl ToString, rule: &'static str) -> Self {
        Self { field, value: value.to_string(), rule }
    }
}

/// A value in a document: as JSON text, so that sums of any size survive.
#[derive(Debug)]
struct Shown {
    value: Option<Box<RawValue>>,
    value_base64: Option<Box<RawValue>>,
}

impl Shown {
    const NOTHING: Self = Self { value: None, value_base64: None };

    fn of(value: &Value) -> Self {
        match value {
            Value::Register(bytes) => match str::from_utf8(bytes) {
                Ok(text) => Self { value: raw(&text), ..Self::NOTHING },
                Err(_) => Self { value_base64: raw(&BASE64.encode(bytes)), ..Self::NOTHING },
            },
            Value::Counter(sum) => Self { value: raw(sum), ..Self::NOTHING },
            Value::Set(elements) => {
                let texts: Result<Vec<&str>, _> = elements.iter().map(|element| str::from_utf8(element)).collect();
                let Ok(texts) = texts else {
                    let encoded: Vec<String> = elements.iter().map(|element| BASE64.encode(element)).collect();
                    return Self { value_base64: raw(&encoded), ..Self::NOTHING };
                };
                Self { value: raw(&texts), ..Self::NOTHING }
            }
        }
    }

    fn read(&self, kind: &str) -> Result<Value, Misfit> {
        match kind {
            "register" => match (read::<String>(self.value.as_deref()), read::<String>(self.value_base64.as_deref())) {
                (Some(text), _) => Ok(Value::Register(text.into_bytes())),
                (None, Some(encoded)) => Ok(Value::Register(decode(&encoded)?)),
                (None, None) => Err(self.misfit("a string, as of a register")),
            },
            "counter" => read::<i128>(self.value.as_deref())
                .map(Value::Counter)
                .ok_or_else(|| self.misfit("a whole number, as of a counter")),
            "set" => {
                let texts = read::<BTreeSet<String>>(self.value.as_deref());
                let encoded = read::<BTreeSet<String>>(self.value_base64.as_deref());
                match (texts, encoded) {
                    (Some(texts), _) => Ok(Value::Set(texts.into_iter().map(String::into_bytes).collect())),
                    (None, Some(encoded)) => {
                        encoded.iter().map(|element| decode(element)).collect::<Result<_, _>>().map(Value::Set)
                    }
                    (None, None) => Err(self.misfit("an array of strings, as of a set")),
                }
            }
            other => Err(Misfit::new("kind", format!("{other:?}"), "register, counter or set")),
        }
    }

    fn misfit(&self, rule: &'static str) -> Misfit {
        let value = self.value.as_deref().map_or_else(|| "missing".to_owned(), |value| beginning(value.get()));
        Misfit::new("value", value, rule)
    }
}

/// Enough of a text to find it again.
pub(crate) fn beginning(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn decode(encoded: &str) -> Result<Vec<u8>, Misfit> {
    BASE64.decode(encoded).map_err(|_| Misfit::new("value_base64", beginning(encoded), "base64 with padding"))
}

fn raw(value: &impl Serialize) -> Option<Box<RawValue>> {
    // Texts, numbers and arrays of texts never fail.
    to_raw_value(value).ok()
}

fn read<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}

fn conflict(kinds: &[Kind]) -> Vec<String> {
    kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
}

/// A write that was made.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct WrittenDocument {
    pub(crate) key: String,
    /// Of what the key holds now; null if nothing.
    pub(crate) version: Option<String>,
    /// Whether the write outlives this agent's process.
    pub(crate) durable: bool,
    /// How many other nodes have confirmed that they hold it as durably as this one.
    pub(crate) replicas: u64,
    /// How many others have confirmed that they hold it, in memory only.
    pub(crate) in_memory: u64,
    /// What a counter holds now, as this agent sees it; only after adding to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<i128>,
    /// Other kinds that the key does not show.
    #[serde(default)]
    pub(crate) conflict: Vec<String>,
    /// Seconds.
    pub(crate) elapsed: f64,
}

impl WrittenDocument {
    pub(crate) fn new(key: String, written: &Written, elapsed: std::time::Duration) -> Self {
        let holds = written.holds.as_ref();
        Self {
            key,
            version: holds.map(|holds| holds.revision.to_string()),
            durable: written.durable,
            replicas: written.replicas as u64,
            in_memory: written.in_memory as u64,
            value: None,
            conflict: holds.map(|holds| conflict(&holds.conflict)).unwrap_or_default(),
            elapsed: elapsed.as_secs_f64(),
        }
    }

    /// With what the counter holds now.
    pub(crate) fn with_sum(mut self, written: &Written) -> Self {
        self.value = written.holds.as_ref().and_then(|holds| holds.sum);
        self
    }
}

/// An import that was made.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Imported {
    /// How many.
    pub(crate) keys: u64,
    /// Whether what was imported outlives this agent's process.
    pub(crate) durable: bool,
    /// Seconds.
    pub(crate) elapsed: f64,
}

/// A line of a watch.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct WatchLine {
    /// `put`, `delete` or `expire`; `reload` where changes are missing: then a list has to be read again.
    pub(crate) event: String,
    pub(crate) key: Option<String>,
    /// What the key holds, or held last.
    pub(crate) kind: Option<String>,
    /// What it holds now, as `get` shows it.
    #[schema(value_type = Option<Object>)]
    pub(crate) value: Option<Box<RawValue>>,
    /// In place of `value` where that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) value_base64: Option<Box<RawValue>>,
    pub(crate) version: Option<String>,
    /// What to watch from, to go on after this line; of this start of this agent only, opaque.
    pub(crate) position: String,
    /// The name of who wrote; null where a value ran out.
    pub(crate) author: Option<String>,
}

impl WatchLine {
    /// What the line says of a value.
    pub(crate) fn value(&self) -> Option<Value> {
        let shown = Shown { value: self.value.clone(), value_base64: self.value_base64.clone() };
        shown.read(self.kind.as_deref()?).ok()
    }

    fn reload(position: Position) -> Self {
        Self {
            event: "reload".to_owned(),
            key: None,
            kind: None,
            value: None,
            value_base64: None,
            version: None,
            position: position.to_string(),
            author: None,
        }
    }
}

impl From<&News> for WatchLine {
    fn from(news: &News) -> Self {
        let Changed { change, author_name } = match news {
            News::Reload(position) => return Self::reload(*position),
            News::Change(changed) => changed,
        };
        let Change { change: event, key, kind, position, .. } = &**change;
        let entry = change.entry();
        let shown = entry.as_ref().map_or(Shown::NOTHING, |entry| Shown::of(&entry.value));
        Self {
            event: event.as_str().to_owned(),
            key: Some(key.clone()),
            kind: Some(kind.as_str().to_owned()),
            value: shown.value,
            value_base64: shown.value_base64,
            version: entry.as_ref().map(|entry| entry.revision.to_string()),
            position: position.to_string(),
            author: author_name.as_deref().map(ToOwned::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use rumormill::data::Revision;
    use serde_json::json;

    use super::*;

    fn entry(value: Value) -> Entry {
        Entry {
            key: "k".to_owned(),
            value,
            revision: Revision(7),
            expires: Some(Seconds(1_800_000_000)),
            conflict: vec![],
        }
    }

    fn document(value: Value) -> serde_json::Value {
        serde_json::to_value(EntryDocument::from(&entry(value))).unwrap()
    }

    fn set(elements: &[&[u8]]) -> Value {
        Value::Set(elements.iter().map(|element| element.to_vec()).collect())
    }

    #[test]
    fn an_entry_shows_a_string_a_number_or_a_sorted_array() {
        let whole = json!({
            "key": "k", "kind": "register", "value": "green", "version": "0000000000000007",
            "expires_at": 1_800_000_000.0, "conflict": [],
        });
        assert_eq!(document(Value::Register(b"green".to_vec())), whole);
        assert_eq!(document(Value::Counter(-3))["value"], -3);
        assert_eq!(document(set(&[b"b", b"a"]))["value"], json!(["a", "b"]));
    }

    #[test]
    fn what_is_not_text_is_shown_in_base64_and_nothing_beside_it() {
        let register = document(Value::Register(vec![0xff, 0]));
        assert_eq!((&register["value_base64"], register.get("value")), (&json!("/wA="), None));
        let set = document(set(&[b"a", &[0xff]]));
        assert_eq!((&set["value_base64"], set.get("value")), (&json!(["YQ==", "/w=="]), None));
    }

    #[test]
    fn a_document_reads_back_whatever_it_holds() {
        let huge = Value::Counter(3 * i128::from(u64::MAX));
        for value in [huge, Value::Register(vec![0xff, 0]), Value::Register(vec![]), set(&[b"a", &[0xff]]), set(&[])] {
            let text = serde_json::to_string(&EntryDocument::from(&entry(value.clone()))).unwrap();
            let read: EntryDocument = serde_json::from_str(&text).unwrap();
            let expires = Some(Seconds(1_800_000_000));
            assert_eq!(read.restore(), Ok(Write::new("k", Edit::Restore { value, expires })), "{text}");
        }
    }

    #[test]
    fn a_document_that_is_no_entry_names_field_value_and_rule() {
        for (text, field, value) in [
            (r#"{"key": "k", "kind": "list", "value": []}"#, "kind", "\"list\""),
            (r#"{"key": "k", "kind": "register", "value": 7}"#, "value", "7"),
            (r#"{"key": "k", "kind": "register"}"#, "value", "missing"),
            (r#"{"key": "k", "kind": "register", "value_base64": "?"}"#, "value_base64", "?"),
            (r#"{"key": "k", "kind": "counter", "value": 1.5}"#, "value", "1.5"),
            (r#"{"key": "k", "kind": "set", "value": ["a", 1]}"#, "value", "[\"a\", 1]"),
            (r#"{"key": "k", "kind": "counter", "value": 1, "expires_at": -1}"#, "expires_at", "-1"),
        ] {
            let misfit = serde_json::from_str::<EntryDocument>(text).unwrap().restore().unwrap_err();
            assert_eq!((misfit.field, &*misfit.value), (field, value), "{text}");
        }
    }
}
