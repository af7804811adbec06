//! Nodes that stand still again and again cost no healthy one its place, and do not delay what is known of a real failure.
//!
//! With Lifeguard's settings off there are no false deaths of healthy nodes then either: whoever was away handles what waits for it
//! before any timer, and a timer that came late judges nobody. So no ratio of the two is asserted, but where only messages stand
//! still.

mod stalls;

use stalls::{SLOW, STALL, Trial, WITHOUT, trial};

#[test]
fn no_healthy_node_is_declared_dead_while_others_stand_still_and_a_crash_is_known_as_soon() {
    // The last stand still for longer than suspects have.
    let cases = [(4, 2.0), (32, 2.0), (4, 5.0)];
    let mut firsts = [0.0; 2];
    for (slow, pause) in cases {
        let [without, with]: [Trial; 2] = [WITHOUT, ""].map(|settings| trial((SLOW, slow), pause, 0.0, settings, 1));
        assert_eq!(with.healthy, 0, "{slow} nodes stand still for {pause} s");
        assert_eq!(with.unwell == 0, pause < 2.2, "a pause below suspicion_timeout_min is survived: {with:?}");
        firsts[0] += without.first;
        firsts[1] += with.first;
    }
    // When a probe comes to the crashed one is chance within an interval, which is a second.
    let [without, with] = firsts.map(|sum| sum / 3.0);
    assert!(with <= without + 1.0, "first detection after {with:.2} s with Lifeguard, {without:.2} s without");
}

#[test]
fn nodes_whose_messages_are_late_declare_twenty_times_fewer_healthy_ones_dead() {
    let [without, with]: [Trial; 2] = [WITHOUT, ""].map(|settings| trial((STALL, 4), 5.0, 0.0, settings, 1));
    assert!(without.healthy >= 100 && 20 * with.healthy <= without.healthy, "{without:?} {with:?}");
    assert!(with.first <= without.first + 1.0, "{without:?} {with:?}");
}
