//! Leases as an application holds them: what becomes of one that nobody waits for any more, and when one counts as lost.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "one node is enough here")]
mod support;

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use rumormill::Cluster;
use rumormill::leases::{Renewal, Renewing, uptime};
use support::{node, within};
use tempfile::TempDir;

const LONG: Duration = Duration::from_hours(1);
const WAIT: Duration = Duration::from_mins(5);

/// A node that is the only voter, and where it keeps that.
async fn voter() -> (Cluster, TempDir) {
    let kept = tempfile::tempdir().unwrap();
    let cluster = node("a").data_dir(kept.path()).start().await.unwrap();
    cluster.registers().found([cluster.id()]).await.unwrap();
    let started = async {
        while cluster.registers().status().await.unwrap().configuration.is_none() {
            tokio::task::yield_now().await;
        }
    };
    within(started).await;
    (cluster, kept)
}

fn poll(future: std::pin::Pin<&mut impl Future>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

async fn until_held(cluster: &Cluster, name: &str) {
    let held = async {
        while !cluster.lease(name).state().await.unwrap().is_held() {
            tokio::task::yield_now().await;
        }
    };
    within(held).await;
}

/// Somebody gets it, though whoever went had asked for an hour.
async fn assert_is_free(cluster: &Cluster, name: &str) {
    within(cluster.lease(name).acquire(LONG, WAIT)).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn what_is_not_waited_for_any_more_is_not_wanted() {
    let (cluster, _kept) = voter().await;
    let mine = cluster.lease("l").acquire(LONG, WAIT).await.unwrap();
    {
        let mut gone = pin!(cluster.lease("l").acquire(LONG, WAIT));
        poll(gone.as_mut());
        assert!(cluster.lease("l").state().await.unwrap().is_held(), "the request before this one was handed over");
    }
    mine.release().await.unwrap();
    assert_is_free(&cluster, "l").await;
}

#[tokio::test]
async fn what_was_won_and_not_heard_of_is_given_back() {
    let (cluster, _kept) = voter().await;
    {
        let lease = cluster.lease("l");
        let mut gone = pin!(lease.acquire_as(7, "gone".to_owned(), LONG, WAIT));
        poll(gone.as_mut());
        until_held(&cluster, "l").await;
    }
    assert_is_free(&cluster, "l").await;
}

#[tokio::test]
async fn what_was_won_and_not_renewed_for_the_first_time_is_given_back() {
    let (cluster, _kept) = voter().await;
    {
        let mut gone = pin!(cluster.lease("l").acquire(LONG, WAIT));
        poll(gone.as_mut());
        until_held(&cluster, "l").await;
        // It hears that it has won, and asks for its renewal.
        poll(gone.as_mut());
    }
    assert_is_free(&cluster, "l").await;
}

#[tokio::test]
async fn a_lease_counts_as_lost_while_there_is_time_to_end_what_goes_on_under_it() {
    let left = LONG / 50;
    let renewing = Renewing::start(LONG, uptime() + left + Duration::from_millis(50), || async { Renewal::Failed });
    within(renewing.lost()).await;
    assert!(renewing.usable_for().is_zero());
    assert!(renewing.held_for().is_some_and(|held| held <= left), "{:?}", renewing.held_for());
}
