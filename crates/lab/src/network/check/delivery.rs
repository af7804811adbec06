//! Delivery: nothing acknowledged is lost while one node that holds it lives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rumormill_core::NodeId;

use super::{Verdict, breach};
use crate::network::measure::{MessageKey, Spread};

/// The present life of a node that is up.
#[derive(Clone, Debug)]
pub struct Life {
    /// The node's number.
    pub node: usize,
    /// Which of its lives.
    pub life: u64,
    /// When it began.
    pub since: Duration,
    /// Whose messages it was told to have missed, by topic: a final gap is told, and no fault.
    pub missed: BTreeSet<(String, NodeId)>,
}

const RULE: &str = "an acknowledged message that a live node holds comes to all that were there";

/// Checks that each message that was acknowledged, and that one of these lives holds, came to all of them that began
/// before it was published.
pub fn check(messages: &BTreeMap<MessageKey, Spread>, lives: &[Life]) -> Verdict {
    messages.iter().try_for_each(|(key, spread)| reached(key, spread, lives))
}

fn reached(key: &MessageKey, spread: &Spread, lives: &[Life]) -> Verdict {
    let Some(acknowledged) = spread.acknowledged else { return Ok(()) };
    let holders: BTreeSet<_> = spread.arrivals.iter().map(|arrival| (arrival.node, arrival.life)).collect();
    let has = |life: &&Life| holders.contains(&(life.node, life.life));
    let Some(holder) = lives.iter().find(has) else { return Ok(()) };
    let told = |life: &Life| life.missed.contains(&(key.topic.clone(), key.origin));
    let lacks = lives.iter().find(|life| life.since < acknowledged && !has(life) && !told(life));
    let Some(lacks) = lacks else { return Ok(()) };
    let MessageKey { origin, sequence, topic } = key;
    breach(RULE, format!("n{} holds {topic} {origin} {sequence}, and n{} never got it", holder.node, lacks.node))
}

#[cfg(test)]
mod tests {
    use rumormill_core::Sequence;

    use super::*;
    use crate::network::measure::Arrival;

    fn life(node: usize, since: u64) -> Life {
        Life { node, life: 1, since: Duration::from_secs(since), missed: BTreeSet::new() }
    }

    /// A message that was published at second 5 and came to these nodes in their first lives.
    fn messages(reached: &[usize]) -> BTreeMap<MessageKey, Spread> {
        let at = Duration::from_secs(5);
        let key = MessageKey { origin: NodeId(1), sequence: Sequence::new(1, 1), topic: "news".to_owned() };
        let arrivals = reached.iter().map(|&node| Arrival { node, life: 1, at, hops: 1 }).collect();
        BTreeMap::from([(key, Spread { acknowledged: Some(at), arrivals })])
    }

    #[test]
    fn a_message_that_somebody_holds_and_another_lacks_is_caught() {
        assert_eq!(check(&messages(&[0]), &[life(0, 0), life(1, 0)]).unwrap_err().rule, RULE);
        check(&messages(&[0, 1]), &[life(0, 0), life(1, 0)]).unwrap();
    }

    #[test]
    fn who_came_later_or_was_told_of_a_gap_may_lack_it_and_so_may_all_when_no_holder_lives() {
        check(&messages(&[0]), &[life(0, 0), life(1, 6)]).unwrap();
        check(&messages(&[7]), &[life(0, 0), life(1, 0)]).unwrap();
        let told = Life { missed: BTreeSet::from([("news".to_owned(), NodeId(1))]), ..life(1, 0) };
        check(&messages(&[0]), &[life(0, 0), told]).unwrap();
    }
}
