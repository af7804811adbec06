//! Documents of registers and of who votes on them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rumormill::registers::{Expected, FoundingStatus, Held, Value};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text_or_base64;

/// What a register holds.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct RegisterDocument {
    pub(crate) register: String,
    /// Text; absent if it holds nothing.
    pub(crate) value: Option<String>,
    /// In place of `value` where that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<String>,
    /// How many operations have changed it.
    pub(crate) version: u64,
    /// Whether it is only what this agent has heard, and later changes may be hidden.
    pub(crate) stale: bool,
}

impl RegisterDocument {
    pub(crate) fn new(register: &str, held: &Held, stale: bool) -> Self {
        let (value, value_base64) = held.value.as_deref().map_or((None, None), text_or_base64);
        Self { register: register.to_owned(), value, value_base64, version: held.version, stale }
    }

    /// The value, if there is one.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let encoded = || BASE64.decode(self.value_base64.as_ref()?).ok();
        self.value.clone().map(String::into_bytes).or_else(encoded)
    }
}

/// A change of a register that is made only if it holds what is expected: one of `expected`, `expected_base64` and
/// `version`, or nothing where all are absent.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SwapDocument {
    /// The value that must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<String>,
    /// The same where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expected_base64: Option<String>,
    /// The version that must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    /// What is to be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// The same where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<String>,
}

/// Which field of a change makes no sense, what it is, and the rule.
pub(crate) type Senseless = (&'static str, String, &'static str);

impl SwapDocument {
    pub(crate) fn new(expected: Option<&[u8]>, value: &[u8]) -> Self {
        let (expected, expected_base64) = expected.map_or((None, None), text_or_base64);
        let (value, value_base64) = text_or_base64(value);
        Self { expected, expected_base64, version: None, value, value_base64 }
    }

    /// What must be there, and what is to be.
    pub(crate) fn read(&self) -> Result<(Expected, Vec<u8>), Senseless> {
        let value = read("value", self.value.as_ref(), self.value_base64.as_ref())?;
        let value = value.ok_or_else(|| ("value", "absent".to_owned(), "given, as value or value_base64"))?;
        let expected = read("expected", self.expected.as_ref(), self.expected_base64.as_ref())?;
        match (expected, self.version) {
            (None, None) => Ok((Expected::Absent, value)),
            (None, Some(version)) => Ok((Expected::Version(version), value)),
            (Some(bytes), None) => Ok((Expected::Value(Value::from(bytes)), value)),
            (Some(_), Some(version)) => Err(("version", version.to_string(), "left out where there is expected")),
        }
    }
}

fn read(field: &'static str, text: Option<&String>, encoded: Option<&String>) -> Result<Option<Vec<u8>>, Senseless> {
    match (text, encoded) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.clone().into_bytes())),
        (None, Some(encoded)) => {
            BASE64.decode(encoded).map(Some).map_err(|_| (field, encoded.clone(), "Base64 where it is not text"))
        }
        (Some(text), Some(_)) => Err((field, text.clone(), "given once")),
    }
}

/// Who votes on registers, as one agent knows it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct AgreementDocument {
    /// Who votes; none before voters were named and have joined.
    pub(crate) voters: Vec<VoterDocument>,
    /// Which configuration of voters this is, from 1; 0 if there is none.
    pub(crate) epoch: u32,
    /// How many registers have votes.
    pub(crate) registers: u64,
    /// How many voters must answer; 0 if there are none.
    pub(crate) quorum: u64,
    /// Whether those who voted before have not all been taken over from yet.
    pub(crate) changing: bool,
    /// Why no register can be used, if so.
    pub(crate) refused: Option<String>,
    /// Whether this agent is a voter that votes no more, because it has said more than its disk remembers; others may.
    #[serde(default)]
    pub(crate) stopped: bool,
    /// All sets of first voters that were ever named.
    pub(crate) foundings: Vec<FoundingDocument>,
}

/// A voter.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct VoterDocument {
    /// As members show it; its id where no member has it.
    pub(crate) name: String,
    pub(crate) id: String,
    /// Whether the agent takes it for alive.
    pub(crate) reachable: bool,
    /// For how many seconds it has not answered this agent; absent if it never has.
    pub(crate) heard_ago: Option<f64>,
}

/// First voters that were named.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct FoundingDocument {
    pub(crate) id: String,
    /// Whom it named, by id.
    pub(crate) voters: Vec<String>,
    /// Who of them has joined it.
    pub(crate) joined: Vec<String>,
    /// Whether an operator has dropped it.
    pub(crate) dropped: bool,
}

impl From<&FoundingStatus> for FoundingDocument {
    fn from(founding: &FoundingStatus) -> Self {
        let FoundingStatus { id, voters, joined, is_dropped } = founding;
        Self {
            id: id.to_string(),
            voters: voters.iter().map(ToString::to_string).collect(),
            joined: joined.iter().map(ToString::to_string).collect(),
            dropped: *is_dropped,
        }
    }
}

/// Whom to name as voters, or how to change them: names or ids of members.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VotersChange {
    /// All that are to vote from the beginning.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) voters: Vec<String>,
    /// Who is to vote as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) add: Vec<String>,
    /// Who is to vote no longer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) remove: Vec<String>,
}
