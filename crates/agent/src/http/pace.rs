//! How fast the body of a request has to come, so that whoever says it byte by byte holds nothing up for long.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use tokio::time::{Instant, timeout_at};

use super::problem::Refused;

/// How long a body may take, besides what it takes at the least rate.
const GRACE: Duration = Duration::from_secs(30);
/// The least rate, in bytes a second. Guess: what a poor line from another continent carries.
const RATE_MIN: usize = 64 << 10;

/// Refuses a request whose body does not come in time.
pub(super) async fn keep(request: Request, next: Next) -> Response {
    let is_late = Arc::new(AtomicBool::new(false));
    let response = next.run(request.map(|body| paced(body, Arc::clone(&is_late)))).await;
    // Whoever read the body knows only that it was cut short.
    if is_late.load(Ordering::Relaxed) {
        return Refused::new(StatusCode::REQUEST_TIMEOUT, "slow", Slow.to_string()).into_response();
    }
    response
}

fn paced(body: Body, is_late: Arc<AtomicBool>) -> Body {
    let paced = Paced { body: body.into_data_stream(), due: None, is_late };
    Body::from_stream(unfold(paced, |mut paced| async { Some((paced.next().await?, paced)) }))
}

struct Paced {
    body: BodyDataStream,
    /// Until when the next piece has to be there, once somebody has begun to read.
    due: Option<Instant>,
    is_late: Arc<AtomicBool>,
}

impl Paced {
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        let due = self.due.unwrap_or_else(|| Instant::now() + GRACE);
        let Ok(piece) = timeout_at(due, self.body.next()).await else {
            self.is_late.store(true, Ordering::Relaxed);
            return Some(Err(Error::new(Slow)));
        };
        let bytes = piece.as_ref().and_then(|piece| piece.as_ref().ok()).map_or(0, Bytes::len);
        self.due = Some(due + time_of(bytes));
        piece
    }
}

/// What so many bytes take at the least rate.
fn time_of(bytes: usize) -> Duration {
    Duration::from_secs(bytes as u64) / u32::try_from(RATE_MIN).expect("it is small")
}

#[derive(Debug)]
struct Slow;

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (grace, rate) = (GRACE.as_secs(), RATE_MIN >> 10);
        write!(f, "the body did not come in time: it may take {grace} s, and another for each {rate} KiB")
    }
}

impl std::error::Error for Slow {}

#[cfg(test)]
pub(super) mod tests {
    use axum::Router;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::sleep;

    use super::super::listener::tests::served;
    use super::super::{BODY_BYTES_MAX, bounded};
    use super::*;

    /// The longest that a body of so many bytes takes.
    pub(in super::super) fn longest(bytes: usize) -> Duration {
        GRACE + time_of(bytes)
    }

    /// What is answered to pieces of a body that come in such a rhythm, and how long that took.
    async fn answer_to(length: usize, pieces: &[Vec<u8>], rhythm: Duration) -> (String, Duration) {
        let begun = Instant::now();
        let length_of = |body: Bytes| async move { body.len().to_string() };
        let mut client = served(bounded(Router::new().route("/", post(length_of))));
        let head =
            format!("POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        for piece in pieces {
            sleep(rhythm).await;
            if client.write_all(piece).await.is_err() {
                break;
            }
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        (answer, begun.elapsed())
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_body_that_stalls_is_refused_and_its_connection_closed() {
        let (answer, took) = answer_to(9, &[b"half".to_vec()], Duration::ZERO).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"slow\""), "{answer}");
        assert!(took >= GRACE && took < longest(RATE_MIN), "{took:?}");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_body_that_comes_byte_by_byte_is_refused_as_soon_as_one_that_stalls() {
        let trickle = vec![b"x".to_vec(); 60];
        let (answer, took) = answer_to(60, &trickle, GRACE * 9 / 10).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        // The client hears of it at its next piece.
        assert!(took <= 2 * GRACE, "{took:?}");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn the_largest_body_is_taken_at_the_least_rate_and_not_below_it() {
        let pieces = vec![vec![b'x'; RATE_MIN / 2]; BODY_BYTES_MAX / (RATE_MIN / 2)];
        let count = u32::try_from(pieces.len()).unwrap();
        for (rhythm, status) in [(1_400, 200), (1_600, 408)].map(|(ms, status)| (Duration::from_millis(ms), status)) {
            assert!(rhythm * count > GRACE, "it is by its rate that one is taken");
            let (answer, took) = answer_to(BODY_BYTES_MAX, &pieces, rhythm).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{rhythm:?}, {took:?}: {answer}");
        }
    }
}
