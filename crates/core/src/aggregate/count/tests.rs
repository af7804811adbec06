use proptest::prelude::*;

use super::*;
use crate::aggregate::dialogue::ANSWERS_MAX;
use crate::aggregate::dialogue::script::{self, Averages};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

fn begun(key: u32) -> Count {
    let mut count = Count::default();
    count.begin(key);
    count
}

fn share(key: u32, value: f32) -> Share {
    Share { key, value }
}

/// Asks, whatever the number would have been.
fn ask(count: &mut Count, peer: NodeId, number: u16) -> Vec<Share> {
    let offered = count.ask(peer).1.clone();
    count.dialogue.renumber(number);
    offered
}

fn answer(count: &mut Count, peer: NodeId, number: u16, offered: &[Share]) -> Result<Vec<Share>, Refused> {
    count.answer(peer, number, offered.iter().copied()).map(<[Share]>::to_vec)
}

fn held(count: &Count, key: u32) -> f64 {
    count.shares.iter().find(|share| share.0 == key).map_or(0.0, |share| share.1)
}

#[test]
fn after_an_exchange_both_hold_the_same_and_know_that_they_are_two() {
    let (mut a, mut b) = (begun(10), begun(20));
    let offered = ask(&mut a, B, 1);
    let flows = answer(&mut b, A, 1, &offered).unwrap();
    a.settle(B, 1, flows.into_iter()).unwrap();
    assert_eq!(a.shares, b.shares);
    assert_eq!((a.estimate(), b.estimate()), (Some(2.0), Some(2.0)));
}

#[test]
fn whoever_met_nobody_has_no_estimate() {
    assert_eq!(begun(10).estimate(), None);
}

#[test]
fn a_question_that_comes_twice_is_answered_twice_and_applied_once() {
    let (mut a, mut b) = (begun(10), begun(20));
    let offered = ask(&mut a, B, 1);
    let first = answer(&mut b, A, 1, &offered).unwrap();
    let before = b.shares.clone();
    assert_eq!(answer(&mut b, A, 1, &ask(&mut a, B, 1)), Ok(first.clone()));
    assert_eq!(b.shares, before);
    a.settle(B, 1, first.clone().into_iter()).unwrap();
    let settled = a.shares.clone();
    assert_eq!(a.settle(B, 1, first.into_iter()), Err(Refused::Unexpected), "the answer comes twice");
    assert_eq!(a.shares, settled);
}

#[test]
fn an_older_question_that_comes_late_is_not_applied() {
    let (mut a, mut b) = (begun(10), begun(20));
    let old = ask(&mut a, B, u16::MAX);
    let new = ask(&mut a, B, 0);
    answer(&mut b, A, 0, &new).unwrap();
    assert_eq!(answer(&mut b, A, u16::MAX, &old), Err(Refused::Unexpected), "numbers wrap around");
}

#[test]
fn what_was_offered_is_not_given_to_another_before_the_answer() {
    // A asks B; meanwhile C asks A. C must leave to A what B may take.
    let (mut a, mut b, mut c) = (begun(10), begun(20), begun(30));
    let to_b = ask(&mut a, B, 1);
    let to_a = ask(&mut c, A, 1);
    let to_c = answer(&mut a, C, 1, &to_a).unwrap();
    assert!(held(&a, 10) >= 0.5);
    let back = answer(&mut b, A, 1, &to_b).unwrap();
    a.settle(B, 1, back.into_iter()).unwrap();
    c.settle(A, 1, to_c.into_iter()).unwrap();
    for key in [10, 20, 30] {
        let all = held(&a, key) + held(&b, key) + held(&c, key);
        assert!((all - 1.0).abs() < 1e-6, "{key}: {all}");
    }
}

#[test]
fn whoever_sits_out_answers_nothing() {
    let mut late = Count::default();
    assert_eq!(answer(&mut late, A, 1, &[share(1, 1.0)]), Err(Refused::Unexpected));
    assert!(late.ask(A).1.is_empty());
}

#[test]
fn what_no_honest_node_says_is_refused_and_changes_nothing() {
    let too_many: Vec<Share> = (0..=u32::try_from(INSTANCES).unwrap()).map(|key| share(key, 0.0)).collect();
    let twice = vec![share(1, 0.1), share(1, 0.1)];
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.1, 1.1];
    let lies = values.map(|value| vec![share(1, value)]).into_iter().chain([too_many, twice]);
    for lie in lies {
        let mut count = begun(10);
        assert_eq!(answer(&mut count, A, 1, &lie), Err(Refused::Senseless), "{lie:?}");
        assert_eq!(count.shares, [(10, 1.0)]);
        ask(&mut count, A, 1);
        // Half of an offer of 1 is the most that an answer takes; of what was not offered it takes nothing.
        let answers_lie = lie.iter().any(|share| share.value.is_nan())
            || lie.len() > 1
            || lie[0].value < 1.0
            || lie[0].value.is_infinite();
        if answers_lie {
            assert_eq!(count.settle(A, 1, lie.iter().copied()), Err(Refused::Senseless), "{lie:?}");
        }
        assert_eq!(count.settle(A, 1, [share(10, -0.6)].into_iter()), Err(Refused::Senseless));
        assert_eq!(count.shares, [(10, 1.0)]);
        assert_eq!(count.settle(B, 1, [share(10, -0.5)].into_iter()), Err(Refused::Unexpected), "another was asked");
    }
}

#[test]
fn a_liar_with_all_keys_moves_the_estimate_to_its_bounds_and_no_further() {
    let mut count = begun(1_000);
    let nothing: Vec<Share> = (0..8).map(|key| share(key, 0.0)).collect();
    answer(&mut count, A, 1, &nothing).unwrap();
    assert_eq!(count.estimate(), Some(SIZE_MAX));
    let everything: Vec<Share> = (0..8).map(|key| share(key, 1.0)).collect();
    for number in 2..100 {
        answer(&mut count, A, number, &everything).unwrap();
    }
    assert!((1.0..1.01).contains(&count.estimate().unwrap()));
    assert_eq!(
        [f64::NAN, f64::INFINITY, -1.0].map(|value| bounded(value).to_bits()),
        [1.0, SIZE_MAX, 1.0].map(f64::to_bits)
    );
}

#[test]
fn questions_of_many_peers_take_no_more_room_than_those_of_neighbours() {
    let mut count = begun(10);
    for peer in 0..1_000 {
        answer(&mut count, NodeId(peer), 1, &[share(1, 0.5)]).unwrap();
    }
    assert!(count.dialogue.remembered() <= ANSWERS_MAX);
    (0..=CYCLES + AFTERWARDS).for_each(|_| assert!(!count.end_cycle() || !count.is_asking()));
    assert!(count.dialogue.remembered() == 0, "and none once the epoch is at rest");
}

#[test]
fn asking_ends_once() {
    let mut count = begun(10);
    assert_eq!((0..3 * CYCLES).filter(|_| count.end_cycle()).count(), 1);
    assert!(!count.is_asking() && count.takes_part());
}

impl Averages for Count {
    type Said = Vec<Share>;

    fn waits_for(&self) -> Option<NodeId> {
        self.waits_for()
    }

    fn ask(&mut self, peer: NodeId) -> (u16, Vec<Share>) {
        let (number, offered) = self.ask(peer);
        (number, offered.clone())
    }

    fn answer(&mut self, peer: NodeId, number: u16, offered: &Vec<Share>) -> Result<Vec<Share>, Refused> {
        answer(self, peer, number, offered)
    }

    fn settle(&mut self, peer: NodeId, number: u16, flows: &Vec<Share>) -> Result<(), Refused> {
        self.settle(peer, number, flows.iter().copied())
    }
}

proptest! {
    #[test]
    fn the_sums_of_the_lowest_instances_are_kept_however_exchanges_overlap_and_repeat(
        steps in script::steps()
    ) {
        let mut nodes: Vec<Count> = (0..).take(script::NODES).map(begun).collect();
        script::carry_out(&mut nodes, &steps);
        for key in 0..u32::try_from(INSTANCES).unwrap() {
            let all: f64 = nodes.iter().map(|node| held(node, key)).sum();
            prop_assert!((all - 1.0).abs() < 1e-6, "{key}: {all}");
        }
        for (_, share) in nodes.iter().flat_map(|node| &node.shares) {
            prop_assert!((0.0..=1.0).contains(share));
        }
    }

    #[test]
    fn nothing_that_comes_in_panics_or_leaves_a_share_out_of_bounds(
        frames in proptest::collection::vec((any::<bool>(), 0_u64..4, any::<u16>(), proptest::collection::vec((0_u32..20, any::<f32>()), 0..12)), 0..50)
    ) {
        let mut count = begun(10);
        for (is_question, peer, number, shares) in frames {
            let shares: Vec<Share> = shares.into_iter().map(|(key, value)| share(key, value)).collect();
            if is_question {
                let _refused = answer(&mut count, NodeId(peer), number, &shares);
            } else {
                ask(&mut count, NodeId(peer), number);
                let _refused = count.settle(NodeId(peer), number, shares.into_iter());
            }
            prop_assert!(count.shares.len() <= INSTANCES);
            prop_assert!(count.shares.iter().all(|(_, share)| (0.0..=1.0).contains(share)));
            prop_assert!(count.estimate().is_none_or(|estimate| (1.0..=SIZE_MAX).contains(&estimate)));
        }
    }
}
