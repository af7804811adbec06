//! Independent pieces of work on all cores, with results as if they had been done one after the other.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;
use rumormill_core::rng::Rng;

/// Who looks on while long work is done: a progress bar, somebody who may press Ctrl-C.
pub trait Watch: Sync {
    /// So many of so many pieces are done.
    fn on_progress(&self, done: usize, of: usize);

    /// Whether work that was not begun shall be begun.
    fn goes_on(&self) -> bool;
}

/// Nobody looks on.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn on_progress(&self, _: usize, _: usize) {}

    fn goes_on(&self) -> bool {
        true
    }
}

/// Does each job on some core; results come in the order of the jobs, `None` for those that were not begun because the
/// watch said stop. A job must depend on nothing but its own description, so that the number of cores changes nothing.
/// Jobs within a job are done one after the other: a core that waited for them would begin others meanwhile, and whoever
/// said stop would find all of them half done.
pub fn run_each<J: Sync, R: Send>(jobs: &[J], watch: &dyn Watch, work: impl Fn(&J) -> R + Sync) -> Vec<Option<R>> {
    let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let one = |job: &J| {
        let result = watch.goes_on().then(|| on_this_thread(|| work(job)));
        if result.is_some() {
            watch.on_progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
        }
        result
    };
    if WITHIN_A_JOB.get() {
        return jobs.iter().map(one).collect();
    }
    // Whoever is free takes the next one, so that what is done when somebody says stop is the first of them.
    let next = |_| {
        let nth = begun.fetch_add(1, Ordering::Relaxed);
        (nth, one(&jobs[nth]))
    };
    let mut results: Vec<_> = (0..jobs.len()).into_par_iter().with_max_len(1).map(next).collect();
    results.sort_unstable_by_key(|(nth, _)| *nth);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The results of the jobs before the first that was not begun. Of runs that share a seed these are what is kept: as many
/// runs with that seed repeat them.
pub fn first_done<R>(results: Vec<Option<R>>) -> Vec<R> {
    results.into_iter().map_while(|result| result).collect()
}

/// A watch over jobs within a job: it passes on that somebody says stop, remembers it, and keeps their progress to itself.
pub(crate) struct Within<'a> {
    watch: &'a dyn Watch,
    was_stopped: AtomicBool,
}

impl<'a> Within<'a> {
    pub(crate) fn new(watch: &'a dyn Watch) -> Self {
        Self { watch, was_stopped: AtomicBool::new(false) }
    }

    /// Whether somebody who asked was told to stop: what it did may be the half of it.
    pub(crate) fn was_stopped(&self) -> bool {
        self.was_stopped.load(Ordering::Relaxed)
    }
}

impl Watch for Within<'_> {
    fn on_progress(&self, _: usize, _: usize) {}

    fn goes_on(&self) -> bool {
        let goes_on = self.watch.goes_on();
        if !goes_on {
            self.was_stopped.store(true, Ordering::Relaxed);
        }
        goes_on
    }
}

thread_local! {
    /// Whether this thread does a job just now.
    static WITHIN_A_JOB: Cell<bool> = const { Cell::new(false) };
}

/// Does work whose jobs are done one after the other, on this thread alone.
pub fn on_this_thread<R>(work: impl FnOnce() -> R) -> R {
    let before = WITHIN_A_JOB.replace(true);
    let result = work();
    WITHIN_A_JOB.set(before);
    result
}

/// How many jobs are done at the same time.
pub fn at_once() -> usize {
    rayon::current_num_threads()
}

/// The seed of the nth of several runs that share one: each run can be repeated alone, on any core.
pub fn seed_of_run(seed: u64, run: u64) -> u64 {
    Rng::new(Rng::new(seed).bits() ^ run.wrapping_mul(0x9e37_79b9_7f4a_7c15)).bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let jobs: Vec<u64> = (0..1_000).collect();
        let results = run_each(&jobs, &Unwatched, |job| seed_of_run(7, *job));
        let one_by_one: Vec<_> = jobs.iter().map(|job| Some(seed_of_run(7, *job))).collect();
        assert_eq!(results, one_by_one);
    }

    #[test]
    fn a_job_that_has_jobs_is_ended_before_another_begins() {
        let begun = AtomicUsize::new(0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let alone = pool.install(|| {
            run_each(&[(); 50], &Unwatched, |()| {
                let at_work = begun.fetch_add(1, Ordering::Relaxed) + 1;
                run_each(&[(); 20], &Unwatched, |()| seed_of_run(1, 1));
                begun.fetch_sub(1, Ordering::Relaxed);
                at_work
            })
        });
        assert!(alone.into_iter().flatten().all(|at_work| at_work <= 2), "more jobs at work than threads");
    }

    #[test]
    fn work_that_is_kept_to_its_thread_stays_there() {
        let here = std::thread::current().id();
        let threads = on_this_thread(|| run_each(&[(); 100], &Unwatched, |()| std::thread::current().id()));
        assert!(threads.into_iter().all(|thread| thread == Some(here)));
    }

    #[test]
    fn who_says_stop_keeps_what_is_done() {
        struct Once(AtomicUsize);
        impl Watch for Once {
            fn on_progress(&self, _: usize, _: usize) {}
            fn goes_on(&self) -> bool {
                self.0.fetch_add(1, Ordering::Relaxed) < 3
            }
        }
        let results = run_each(&[(); 100], &Once(AtomicUsize::new(0)), |()| ());
        assert_eq!(results.iter().flatten().count(), 3);
    }

    #[test]
    fn what_is_kept_are_the_first_jobs_without_a_gap() {
        struct Until(AtomicUsize);
        impl Watch for Until {
            fn on_progress(&self, done: usize, _: usize) {
                self.0.fetch_max(done, Ordering::Relaxed);
            }
            fn goes_on(&self) -> bool {
                self.0.load(Ordering::Relaxed) < 500
            }
        }
        assert_eq!(first_done(vec![Some(1), Some(2), None, Some(4)]), [1, 2]);
        let jobs: Vec<u64> = (0..10_000).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let kept = pool.install(|| first_done(run_each(&jobs, &Until(AtomicUsize::new(0)), |job| *job)));
        assert_eq!(kept, jobs[..kept.len()]);
        // At most one job of each other thread was passed over by one that was begun.
        assert!(kept.len() >= 500 - 3, "{} of 500 are kept", kept.len());
    }
}
