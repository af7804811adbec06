//! The SI epidemic in rounds on two sets of bits: who knows, and who has just learned it.

use rumormill_core::config::Mode;
use rumormill_core::rng::Rng;

use super::partners::Draws;
use super::{Parameters, Run};
use crate::summary::count;

/// One run to full coverage.
pub(super) fn run(parameters: &Parameters, seed: u64) -> Run {
    let nodes = u32::try_from(parameters.nodes).expect("checked");
    let mut epidemic = Epidemic::new(nodes, Rng::new(seed));
    let mut run = Run { messages: 0, time_sum: 0.0, time_last: 0.0, informed: vec![1] };
    let mut known = 1;
    while known < parameters.nodes {
        run.messages += epidemic.round(parameters.mode);
        let learned = epidemic.settle();
        known += learned;
        run.time_sum += count(learned * run.informed.len());
        if learned > 0 {
            run.time_last = count(run.informed.len());
        }
        run.informed.push(known);
    }
    run
}

#[derive(Debug)]
struct Epidemic {
    nodes: u32,
    knows: Vec<u64>,
    learned: Vec<u64>,
    draws: Draws,
}

impl Epidemic {
    fn new(nodes: u32, rng: Rng) -> Self {
        let words = (nodes as usize).div_ceil(64);
        let mut knows = vec![0; words];
        knows[0] = 1;
        Self { nodes, knows, learned: vec![0; words], draws: Draws::new(rng, nodes - 1) }
    }

    /// One round; says how many update messages it took.
    fn round(&mut self, mode: Mode) -> u64 {
        let (pushes, pulls) = (mode != Mode::Pull, mode != Mode::Push);
        let mut messages = 0;
        for word in 0..self.knows.len() {
            let knows = self.knows[word];
            let first = u32::try_from(word * 64).expect("nodes fit 32 bits");
            let all = if self.nodes - first < 64 { (1 << (self.nodes - first)) - 1 } else { u64::MAX };
            if pushes {
                messages += u64::from(knows.count_ones());
                for_each_bit(knows, |bit| {
                    let partner = self.draws.take();
                    let partner = partner + u32::from(partner >= first + bit);
                    self.learned[partner as usize / 64] |= 1 << (partner % 64);
                });
            }
            if pulls {
                let mut learned = 0;
                for_each_bit(!knows & all, |bit| {
                    let partner = self.draws.take();
                    let partner = partner + u32::from(partner >= first + bit);
                    learned |= (self.knows[partner as usize / 64] >> (partner % 64) & 1) << bit;
                });
                messages += u64::from(learned.count_ones());
                self.learned[word] |= learned;
            }
        }
        messages
    }

    /// Those who learned it in this round know it from now on; says how many.
    fn settle(&mut self) -> usize {
        let mut new = 0;
        for (knows, learned) in self.knows.iter_mut().zip(&mut self.learned) {
            new += (*learned & !*knows).count_ones() as usize;
            *knows |= *learned;
            *learned = 0;
        }
        new
    }
}

#[inline]
fn for_each_bit(mut bits: u64, mut visit: impl FnMut(u32)) {
    while bits != 0 {
        visit(bits.trailing_zeros());
        bits &= bits - 1;
    }
}
