//! Lifeguard's experiment: some of 128 nodes stand still again and again, or their messages do, and a healthy one loses power meanwhile.

use rumormill_lab::jobs::Unwatched;
use rumormill_lab::scenario::{Draft, Run};

/// Without Lifeguard: no slower probing by nodes that are not well, and no more time for suspects until others confirm.
pub(crate) const WITHOUT: &str = "health_max = 0\nconfirmations = 0\nsuspicion_timeout_factor = 1\n";

/// What is not well about a node, as faults name it: its process stands still, or only what it sends and is sent waits.
pub(crate) type Ailment = &'static str;
pub(crate) const SLOW: Ailment = "slow";
pub(crate) const STALL: Ailment = "stall";

/// What a run showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trial {
    /// How often a node declared a healthy one dead.
    pub(crate) healthy: usize,
    /// How often one that was not well.
    pub(crate) unwell: usize,
    /// How soon somebody knew of the crash, in seconds.
    pub(crate) first: f64,
}

/// So many nodes ail for so many seconds and are well for as many, from the 5th second to the 125th; n100 crashes in the 65th.
pub(crate) fn trial((ailment, ill): (Ailment, usize), pause: f64, loss: f64, settings: &str, seed: u64) -> Trial {
    let whom: Vec<String> = (0..ill).map(|node| format!("n{node}")).collect();
    let whom = whom.join(",");
    let text = format!(
        "nodes = 128\nstart = \"joined\"\nduration = \"130s\"\nloss = {loss}\nseed = {seed}\n{settings}\
         fault = [\"{ailment}:{whom}:{pause}s@5s\", \"crash:n100@65s\", \"{ailment}:{whom}:0s@125s\"]\n"
    );
    let scenario = Draft::of_text(&text, "stalls").and_then(|draft| draft.scenario()).expect("a scenario");
    let mut run = Run::start(&scenario).expect("a possible one");
    run.go(&Unwatched).expect("nothing breaks");
    let outcome = run.outcome();
    let first = outcome.failures.first().and_then(|failure| failure.first).expect("the crash is noticed");
    Trial { healthy: outcome.false_positives, unwell: outcome.deaths_of_unwell, first }
}
