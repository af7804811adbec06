//! The database: lists of any length, read and sent piece by piece.

use std::convert::Infallible;
use std::mem;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use rumormill::Data;
use rumormill::data::Entry;
use serde::Deserialize;

use super::AppState;
use super::problem::Refused;
use crate::documents::EntryDocument;

/// Says which changes a list contains, so that a watch can go on from there.
pub(super) const POSITION: HeaderName = HeaderName::from_static("rumor-position");
/// A document a line.
pub(crate) const LINES: &str = "application/x-ndjson";

/// What to list.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    keys_only: bool,
}

/// All keys that begin with a prefix, with what they hold, in the order of their bytes
#[utoipa::path(get, path = "/v1/data",
    description = "The header `Rumor-Position` says from where `watch` goes on without a gap. With `Accept: \
        application/x-ndjson` the documents come one a line, as `import` takes them.",
    params(("prefix" = Option<String>, Query), ("after" = Option<String>, Query, description = "begin after this key"),
        ("limit" = Option<usize>, Query), ("keys_only" = Option<bool>, Query, description = "strings in place of documents")),
    responses((status = 200, body = Vec<EntryDocument>, headers(("Rumor-Position" = String)))))]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let data = app.agent.cluster.data();
    // The position is taken first: what changes from here on may show in the list as well as after it.
    let position = data.position().await?.to_string();
    let as_lines = headers.get(ACCEPT).is_some_and(|accept| accept == LINES);
    let (form, content_type) = if as_lines { (Form::Lines, LINES) } else { (Form::Array, "application/json") };
    let Wanted { prefix, after, limit, keys_only } = wanted;
    let rest = Rest::After(after);
    let listing = Listing { data, prefix, keys_only, form, left: limit.unwrap_or(usize::MAX), is_first: true, rest };
    let pieces = unfold(listing, |mut listing| async move {
        // A list may be long, and everything else of this agent has its turn between two pieces.
        tokio::task::yield_now().await;
        let piece = listing.next_piece()?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), listing))
    });
    Ok(([(POSITION, position.as_str()), (CONTENT_TYPE, content_type)], Body::from_stream(pieces)).into_response())
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Array,
    Lines,
}

/// What is still to be read.
#[derive(Debug)]
enum Rest {
    After(Option<String>),
    Nothing,
}

/// A list on its way.
#[derive(Debug)]
struct Listing {
    data: Data,
    prefix: String,
    keys_only: bool,
    form: Form,
    left: usize,
    is_first: bool,
    rest: Rest,
}

impl Listing {
    fn next_piece(&mut self) -> Option<Vec<u8>> {
        let Rest::After(after) = mem::replace(&mut self.rest, Rest::Nothing) else { return None };
        let mut piece = Vec::new();
        let is_start = mem::take(&mut self.is_first);
        if is_start && self.form == Form::Array {
            piece.push(b'[');
        }
        let page = self.data.page(&self.prefix, after.as_deref());
        let is_separated = is_start || page.entries.is_empty();
        for (place, entry) in page.entries.iter().take(self.left).enumerate() {
            if self.form == Form::Array && (place > 0 || !is_separated) {
                piece.push(b',');
            }
            self.write(entry, &mut piece);
            if self.form == Form::Lines {
                piece.push(b'\n');
            }
        }
        self.left -= page.entries.len().min(self.left);
        match page.next.filter(|_| self.left > 0) {
            Some(key) => self.rest = Rest::After(Some(key)),
            None if self.form == Form::Array => piece.push(b']'),
            None => {}
        }
        Some(piece)
    }

    fn write(&self, entry: &Entry, piece: &mut Vec<u8>) {
        let written = if self.keys_only {
            serde_json::to_writer(piece, &entry.key)
        } else {
            serde_json::to_writer(piece, &EntryDocument::from(entry))
        };
        written.expect("a vector takes all, and documents are made of text and numbers");
    }
}
