//! The document of topics.

use rumormill_core::Topic;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What one agent holds of a topic.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct TopicDocument {
    pub(crate) topic: String,
    /// How many messages it still has.
    pub(crate) messages: u64,
    /// What they take, as they are sent.
    pub(crate) bytes: u64,
    /// When the newest came in, Unix seconds.
    pub(crate) last: f64,
}

impl From<Topic<'_>> for TopicDocument {
    fn from(topic: Topic<'_>) -> Self {
        let Topic { name, messages, bytes, last } = topic;
        Self { topic: name.to_owned(), messages: messages as u64, bytes: bytes as u64, last: last.as_secs_f64() }
    }
}
