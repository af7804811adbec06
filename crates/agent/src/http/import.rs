//! The database: many keys at once. All lines are read and checked before the first is made; then so many are made at a
//! time that the agent can do other things in between.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use futures_util::StreamExt;
use rumormill::WriteError;
use rumormill::data::Write;
use rumormill_core::Refusal;
use rumormill_core::data::UPDATE_OVERHEAD;
use tokio::sync::OwnedSemaphorePermit;

use super::AppState;
use super::members::Deadline;
use super::problem::Refused;
use super::turn::Turn;
use crate::documents::{EntryDocument, Imported, Misfit, Problem, beginning};

/// An import has at most so many times the bytes that the store may hold: as JSON, values take more room than there.
const BODY_FACTOR: usize = 2;

/// Make keys hold what the lines of the body say, each a document as `get` gives it: none of them if a line is bad
#[utoipa::path(post, path = "/v1/import", request_body(content = EntryDocument, content_type = "application/x-ndjson"),
    description = "The body may have twice as many bytes as the store may hold (the setting `data_bytes_max`). Values that \
        have run out are left out, other keys stay as they are.",
    params(("timeout" = Option<String>, Query)),
    responses((status = 200, body = Imported), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 429, body = Problem), (status = 507, body = Problem)))]
pub(super) async fn import(
    State(app): State<AppState>,
    Query(deadline): Query<Deadline>,
    body: Body,
) -> Result<Json<Imported>, Refused> {
    let begun = Instant::now();
    let timeout = deadline.duration()?;
    let bytes_max = app.agent.cluster.inspect(|node| node.config().data_bytes_max).await?;
    let (_turn, writes, numbers) = read(body, bytes_max, &app.agent.served.imports).await?;
    let keys = numbers.len() as u64;
    let made = app.agent.cluster.data().write(writes).timeout(timeout).in_pieces().await;
    let written = made.map_err(|error| explained(error, &numbers))?;
    Ok(Json(Imported { keys, durable: written.durable, elapsed: begun.elapsed().as_secs_f64() }))
}

/// Takes the turn and reads all that is to be made, with the numbers of the lines. How long the body may take is bounded by
/// the [pace](super::pace) of all bodies, and so is how long others are turned away for it.
async fn read(
    body: Body,
    bytes_max: usize,
    imports: &Turn,
) -> Result<(OwnedSemaphorePermit, Vec<Write>, Vec<u64>), Refused> {
    // Each is held whole before it is made.
    let busy = "another import is going on; try again when it has ended";
    let refused = || Refused::new(StatusCode::TOO_MANY_REQUESTS, "busy", busy);
    let turn = imports.take(Duration::ZERO).await.ok_or_else(refused)?;
    let limit = bytes_max.saturating_mul(BODY_FACTOR);
    let mut reader = Reader { body: body.into_data_stream(), left: limit, limit };
    let mut lines = Lines::of_most(bytes_max / UPDATE_OVERHEAD);
    while let Some(bytes) = reader.next().await? {
        if let Err(refused) = lines.take(&bytes) {
            // A client that is not heard out may not hear the answer. Others need not wait for that.
            drop((turn, lines));
            while reader.next().await?.is_some() {}
            return Err(refused);
        }
    }
    let (writes, numbers) = lines.end()?;
    Ok((turn, writes, numbers))
}

const NOTHING: &str = "nothing was imported";

/// Names the line that an error is about, and says what is imported nevertheless.
fn explained(error: WriteError, numbers: &[u64]) -> Refused {
    match error {
        WriteError::Partly { made, error } => {
            let words = format!("all up to line {} is imported, and may be imported again", numbers[made - 1]);
            in_its_line(*error, numbers).map(|problem| problem.and(&words))
        }
        // It may be imported nevertheless.
        error @ (WriteError::Refused(Refusal::NotConfirmed | Refusal::NotStored { .. }) | WriteError::Closed(_)) => {
            in_its_line(error, numbers)
        }
        error @ (WriteError::Refused(_) | WriteError::Unconfirmed(_)) => {
            in_its_line(error, numbers).map(|problem| problem.and(NOTHING))
        }
    }
}

fn in_its_line(error: WriteError, numbers: &[u64]) -> Refused {
    let (place, refusal) = match error {
        WriteError::Refused(Refusal::At { place, refusal }) => (place, *refusal),
        // Of a single write it does not say which.
        WriteError::Refused(
            refusal @ (Refusal::Invalid { .. } | Refusal::WrongKind { .. } | Refusal::DataFull { .. }),
        ) if numbers.len() == 1 => (0, refusal),
        WriteError::Refused(refusal) => return refusal.into(),
        WriteError::Closed(closed) => return closed.into(),
        WriteError::Partly { .. } | WriteError::Unconfirmed(_) => {
            unreachable!("parts have no parts, and nobody was to confirm")
        }
    };
    Refused::from(refusal).map(|problem| problem.in_line(numbers[place]))
}

/// A body of bounded length.
#[derive(Debug)]
struct Reader {
    body: BodyDataStream,
    left: usize,
    limit: usize,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<axum::body::Bytes>, Refused> {
        let Some(bytes) = self.body.next().await else { return Ok(None) };
        let bytes = bytes.map_err(|error| Refused::value("body", "cut short", &format!("sent whole ({error})")))?;
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| {
            let rule = format!("at most {} bytes, {BODY_FACTOR} times data_bytes_max", self.limit);
            Refused::problem(StatusCode::PAYLOAD_TOO_LARGE, Problem::value("body", "larger", rule))
        })?;
        Ok(Some(bytes))
    }
}

/// Lines as they come, each read as soon as it is whole.
#[derive(Debug)]
struct Lines {
    /// There are no more than so many entries: more the store could not hold, however small they are.
    most: usize,
    /// The beginning of a line.
    open: Vec<u8>,
    /// How many lines were whole.
    whole: u64,
    writes: Vec<Write>,
    /// The number of the line of each write.
    numbers: Vec<u64>,
    /// In which line each key stands.
    keys: HashMap<String, u64>,
}

impl Lines {
    fn of_most(most: usize) -> Self {
        Self { most, open: Vec::new(), whole: 0, writes: Vec::new(), numbers: Vec::new(), keys: HashMap::new() }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.open.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.read_line()?;
        }
        self.open.extend_from_slice(bytes);
        Ok(())
    }

    fn read_line(&mut self) -> Result<(), Refused> {
        self.whole += 1;
        let line = mem::take(&mut self.open);
        if !line.trim_ascii().is_empty() {
            if self.writes.len() == self.most {
                let rule = format!("at most {} entries: more do not fit data_bytes_max. {NOTHING}", self.most);
                let problem = Problem::value("body", "longer", rule);
                return Err(Refused::problem(StatusCode::PAYLOAD_TOO_LARGE, problem));
            }
            let write = self.read(&line);
            let write = write.map_err(|refused| refused.map(|problem| problem.in_line(self.whole).and(NOTHING)))?;
            self.writes.push(write);
            self.numbers.push(self.whole);
        }
        Ok(())
    }

    fn read(&mut self, line: &[u8]) -> Result<Write, Refused> {
        let document: EntryDocument = serde_json::from_slice(line).map_err(|error| {
            // There is one line only; which it is others say.
            let what = error.to_string().replace(" at line 1 column ", " at column ");
            let rule = format!("a JSON document with key, kind and value ({what})");
            Refused::value("line", beginning(&String::from_utf8_lossy(line)), &rule)
        })?;
        if let Some(before) = self.keys.insert(document.key.clone(), self.whole) {
            let rule = format!("given once (it stands in line {before})");
            return Err(Refused::value("key", format!("{:?}", document.key), &rule));
        }
        document.restore().map_err(|Misfit { field, value, rule }| Refused::value(field, value, rule))
    }

    /// All writes, with the numbers of their lines.
    fn end(mut self) -> Result<(Vec<Write>, Vec<u64>), Refused> {
        self.read_line()?;
        Ok((self.writes, self.numbers))
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::DefaultBodyLimit;
    use axum::routing::post;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::{Instant, sleep};

    use super::super::bounded;
    use super::super::listener::tests::served;
    use super::super::pace::tests::longest;
    use super::*;

    const LINE: &str = r#"{"key": "a", "kind": "counter", "value": 1}"#;
    const BYTES_MAX: usize = 1 << 20;

    /// Reads imports, and makes nothing of them.
    fn reading(imports: &Turn) -> Router {
        let imports = imports.clone();
        let import = move |body: Body| {
            let imports = imports.clone();
            async move { read(body, BYTES_MAX, &imports).await.map(|(_turn, _, numbers)| numbers.len().to_string()) }
        };
        bounded(Router::new().route("/", post(import).layer(DefaultBodyLimit::disable())))
    }

    /// A client that says so much of an import.
    async fn beginning_of(imports: &Turn, length: usize, text: &str) -> DuplexStream {
        let mut client = served(reading(imports));
        let head =
            format!("POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(text.as_bytes()).await.unwrap();
        client
    }

    async fn whole(imports: &Turn) -> String {
        let mut answer = String::new();
        beginning_of(imports, LINE.len(), LINE).await.read_to_string(&mut answer).await.unwrap();
        assert!(["HTTP/1.1 200", "HTTP/1.1 429"].iter().any(|status| answer.starts_with(status)), "{answer}");
        answer
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn an_import_that_comes_byte_by_byte_does_not_keep_out_others_for_long() {
        let imports = Turn::default();
        let mut slow = beginning_of(&imports, BODY_FACTOR * BYTES_MAX, LINE).await;
        let begun = Instant::now();
        let trickled = tokio::spawn(async move {
            while slow.write_all(b" ").await.is_ok() {
                sleep(Duration::from_secs(5)).await;
            }
        });
        while imports.take(Duration::ZERO).await.is_some() {
            tokio::task::yield_now().await;
        }
        assert!(whole(&imports).await.starts_with("HTTP/1.1 429"));
        while !whole(&imports).await.starts_with("HTTP/1.1 200") {
            assert!(begun.elapsed() < longest(BODY_FACTOR * BYTES_MAX), "nobody else has a turn");
            sleep(Duration::from_secs(1)).await;
        }
        trickled.await.unwrap();
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn others_do_not_wait_for_the_rest_of_an_import_that_is_refused() {
        let imports = Turn::default();
        let mut refused = beginning_of(&imports, BYTES_MAX, "nonsense\n").await;
        let mut attempts = 0;
        while !whole(&imports).await.starts_with("HTTP/1.1 200") {
            attempts += 1;
            assert!(attempts < 100, "the turn is kept until all is heard out");
        }
        refused.write_all(&vec![b'\n'; BYTES_MAX - "nonsense\n".len()]).await.unwrap();
        let mut answer = String::new();
        refused.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("line 1: "), "{answer}");
    }

    #[test]
    fn lines_are_read_however_they_are_cut_and_blank_ones_count_but_say_nothing() {
        let [b, c] = ["b", "c"].map(|key| LINE.replace("\"a\"", &format!("\"{key}\"")));
        let text = format!("{LINE}\n\n{b}\r\n{c}");
        for cut in 0..text.len() {
            let mut lines = Lines::of_most(9);
            let (head, tail) = text.as_bytes().split_at(cut);
            lines.take(head).unwrap();
            lines.take(tail).unwrap();
            let (writes, numbers) = lines.end().unwrap();
            assert_eq!((writes.len(), numbers), (3, vec![1, 3, 4]), "{cut}");
        }
    }

    #[test]
    fn more_entries_than_a_store_holds_are_not_read() {
        let mut lines = Lines::of_most(1);
        lines.take(format!("{LINE}\n\n").as_bytes()).unwrap();
        let refused = lines.take(format!("{}\n", LINE.replace("\"a\"", "\"b\"")).as_bytes()).unwrap_err();
        assert!(format!("{refused:?}").contains("at most 1 entries"), "{refused:?}");
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(place in 0..LINE.len(), length in 0_usize..9, said: Vec<u8>, bytes: Vec<u8>) {
            let mut line = LINE.as_bytes().to_vec();
            line.splice(place..(place + length).min(LINE.len()), said);
            for text in [line, bytes] {
                let mut lines = Lines::of_most(9);
                if lines.take(&text).is_ok() && let Ok((writes, numbers)) = lines.end() {
                    prop_assert_eq!(writes.len(), numbers.len());
                }
            }
        }
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let mut lines = Lines::of_most(9);
        lines.take(format!("{LINE}\n").as_bytes()).unwrap();
        for (number, line) in [(2, "{\"key\": 7}"), (3, LINE)] {
            let refused = lines.take(format!("{line}\n").as_bytes()).unwrap_err();
            assert!(format!("{refused:?}").contains(&format!("line {number}: ")), "{refused:?}");
        }
    }
}
