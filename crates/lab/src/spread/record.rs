//! What a run notes while it goes on.

use super::Run;
use crate::summary::count;

/// Who learned it when, and what that took.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) messages: u64,
    known: usize,
    time_sum: f64,
    time_last: f64,
    /// How many learned it up to each round, and since the one before.
    learned: Vec<usize>,
}

impl Default for Record {
    /// The first node knows it from the start.
    fn default() -> Self {
        Self { messages: 0, known: 1, time_sum: 0.0, time_last: 0.0, learned: vec![1] }
    }
}

impl Record {
    /// How many know it.
    pub(super) fn known(&self) -> usize {
        self.known
    }

    /// So many learned it at `time`, in rounds or mean periods; times never fall.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^53 and not negative")]
    pub(super) fn learn(&mut self, time: f64, nodes: usize) {
        assert!(time >= self.time_last, "times do not fall");
        if nodes == 0 {
            return;
        }
        self.known += nodes;
        self.time_sum += time * count(nodes);
        self.time_last = time;
        let round = time.ceil() as usize;
        if self.learned.len() <= round {
            self.learned.resize(round + 1, 0);
        }
        self.learned[round] += nodes;
    }

    /// The run, quiet from when the last node learned it.
    pub(super) fn into_run(self) -> Run {
        let Self { messages, time_sum, time_last, learned, .. } = self;
        let mut known = 0;
        let informed = learned.into_iter().map(|nodes| {
            known += nodes;
            known
        });
        Run { messages, time_sum, time_last, time_quiet: time_last, informed: informed.collect() }
    }
}
