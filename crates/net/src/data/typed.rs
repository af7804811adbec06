//! Values of the application's types, kept as JSON.

use std::any::type_name;

use rumormill_core::Refusal;
use rumormill_core::data::{Entry, Kind, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A key holds something that is not of the type that was asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key:?} holds a {} that is no {wanted}: {reason}", kind.as_str())]
pub struct TypeError {
    /// Which key.
    pub key: String,
    /// What it holds.
    pub kind: Kind,
    /// The type that was asked for.
    pub wanted: &'static str,
    /// What is wrong.
    pub reason: String,
}

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| {
        let rule = format!("something that JSON can express ({error})");
        Refusal::Invalid { field: "value", value: type_name::<T>().to_owned(), rule }
    })
}

pub(super) fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T, TypeError> {
    let decoded = match &entry.value {
        Value::Register(value) => serde_json::from_slice(value),
        Value::Counter(sum) => serde_json::from_str(&sum.to_string()),
        Value::Set(elements) => {
            let texts: Vec<_> = elements.iter().map(|element| String::from_utf8_lossy(element)).collect();
            serde_json::to_string(&texts).and_then(|texts| serde_json::from_str(&texts))
        }
    };
    decoded.map_err(|error| TypeError {
        key: entry.key.clone(),
        kind: entry.value.kind(),
        wanted: type_name::<T>(),
        reason: error.to_string(),
    })
}
