//! The SI epidemic in rounds on two sets of bits: who knows, and who has just learned it. A million nodes fit a
//! processor's nearest caches.

use rumormill_core::config::Mode;
use rumormill_core::rng::Rng;

use super::partners::Partners;
use super::record::Record;
use super::{Look, Parameters, Run};
use crate::summary::count;

/// One run to full coverage.
pub(super) fn run(parameters: &Parameters, seed: u64, look: Look<'_>) -> Option<Run> {
    let mut epidemic = Epidemic::new(parameters, Rng::new(seed));
    let mut record = Record::default();
    let mut round = 0;
    while record.known() < parameters.nodes {
        round += 1;
        record.messages += match (parameters.mode, epidemic.partners.are_simple()) {
            (Mode::Push, true) => epidemic.round::<true, true, false>(),
            (Mode::Push, false) => epidemic.round::<false, true, false>(),
            (Mode::Pull, true) => epidemic.round::<true, false, true>(),
            (Mode::Pull, false) => epidemic.round::<false, false, true>(),
            (Mode::PushPull, true) => epidemic.round::<true, true, true>(),
            (Mode::PushPull, false) => epidemic.round::<false, true, true>(),
        };
        record.learn(count(round), epidemic.settle());
        if !look(round, record.known()) {
            return None;
        }
    }
    Some(record.into_run())
}

#[derive(Debug)]
struct Epidemic {
    nodes: u32,
    knows: Vec<u64>,
    learned: Vec<u64>,
    partners: Partners,
}

impl Epidemic {
    fn new(parameters: &Parameters, rng: Rng) -> Self {
        let nodes = u32::try_from(parameters.nodes).expect("checked");
        let words = parameters.nodes.div_ceil(64);
        let mut knows = vec![0; words];
        knows[0] = 1;
        Self { nodes, knows, learned: vec![0; words], partners: Partners::new(parameters, rng) }
    }

    /// One round; says how many update messages it took.
    fn round<const SIMPLE: bool, const PUSH: bool, const PULL: bool>(&mut self) -> u64 {
        let mut messages = 0;
        for word in 0..self.knows.len() {
            let knows = self.knows[word];
            let first = u32::try_from(word * 64).expect("nodes fit 32 bits");
            if PUSH {
                for_each_bit(knows, |bit| messages += self.push::<SIMPLE>(first + bit));
            }
            if PULL {
                let all = if self.nodes - first < 64 { (1 << (self.nodes - first)) - 1 } else { u64::MAX };
                let mut learned = 0;
                for_each_bit(!knows & all, |bit| {
                    let (answers, arrived) = self.pull::<SIMPLE>(first + bit);
                    messages += answers;
                    learned |= arrived << bit;
                });
                self.learned[word] |= learned;
            }
        }
        messages
    }

    /// One that knows tells its partners; says how many.
    #[inline]
    fn push<const SIMPLE: bool>(&mut self, caller: u32) -> u64 {
        if SIMPLE {
            let partner = self.partners.only(caller);
            self.learned[partner as usize / 64] |= 1 << (partner % 64);
            return 1;
        }
        let calls = self.partners.begin();
        for _ in 0..calls {
            let Some(partner) = self.partners.next(caller) else { break };
            self.learned[partner as usize / 64] |= u64::from(self.partners.arrives()) << (partner % 64);
        }
        u64::from(calls)
    }

    /// One that does not know asks its partners: how many answer, and 1 if an answer arrives, else 0.
    #[inline]
    fn pull<const SIMPLE: bool>(&mut self, caller: u32) -> (u64, u64) {
        if SIMPLE {
            let partner = self.partners.only(caller);
            let knew = self.knew(partner);
            return (knew, knew);
        }
        let (mut answers, mut arrived) = (0, 0);
        for _ in 0..self.partners.begin() {
            let Some(partner) = self.partners.next(caller) else { break };
            let knew = self.knew(partner);
            answers += knew;
            arrived |= knew & u64::from(self.partners.arrives());
        }
        (answers, arrived)
    }

    /// 1 if a node knew it at the start of the round.
    #[inline]
    fn knew(&self, node: u32) -> u64 {
        self.knows[node as usize / 64] >> (node % 64) & 1
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
