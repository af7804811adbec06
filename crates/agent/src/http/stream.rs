//! Server-sent events: one document a line, and named events about the stream itself.

use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, KeepAliveStream, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::sync::watch;

/// A source of lines.
pub(super) trait Source: Send + Sized + 'static {
    /// The next line, or `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send;
}

/// A response that sends `first` at once and then what `source` gives, until it ends or the agent does.
pub(super) fn respond<S: Source>(
    first: Option<Event>,
    source: S,
    ending: watch::Receiver<bool>,
) -> Sse<KeepAliveStream<impl Stream<Item = Result<Event, Infallible>> + use<S>>> {
    let lines = unfold((first, source, ending), |(first, mut source, mut ending)| async move {
        if let Some(event) = first {
            return Some((Ok(event), (None, source, ending)));
        }
        let event = tokio::select! {
            event = source.next() => event?,
            _ = ending.wait_for(|is_ending| *is_ending) => return None,
        };
        Some((Ok(event), (None, source, ending)))
    });
    Sse::new(lines).keep_alive(KeepAlive::default())
}

/// A document as a line.
pub(super) fn line(document: &impl Serialize) -> Event {
    Event::default().data(serde_json::to_string(document).unwrap_or_default())
}
