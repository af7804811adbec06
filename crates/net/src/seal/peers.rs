//! Who knows whom: whether a peer can tell who speaks from the session alone, so that ids need not be sent.

use std::collections::BTreeMap;

use rumormill_core::NodeId;
use rumormill_core::limits::Limits;

/// Of how many peers this is remembered. Beyond it all are forgotten, and introduce themselves again.
const PEERS_MAX: usize = 1 << 16;

/// A peer, as its last datagram showed it.
#[derive(Clone, Copy, Debug)]
struct Peer {
    session: u64,
    /// It said that it knows this node's session.
    knows_us: bool,
    /// Something was sent to it since that was no answer.
    is_unanswered: bool,
}

/// How to seal a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// Sender and receiver are known from their sessions; this is the receiver's.
    Short(u64),
    /// Both ids go along, and the receiver's session as far as it is known, else zero.
    Introduction(u64),
}

/// What is known of all peers.
///
/// Short forms need somebody at the other end who knows this node's session. So one that is no answer itself has to be
/// answered before the next may be short: a second one introduces this node again. A peer that has started anew, or has
/// forgotten this node, thus costs at most one datagram, and nobody has to be told that a datagram could not be read.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<NodeId, Peer>,
    /// Whose datagram is being handled: the first one to it is the answer, and waits for none.
    heard: Option<NodeId>,
}

impl Peers {
    /// The form of the next datagram to a peer, which is about to be sent. `is_known` says whether this node still knows who
    /// speaks in a session.
    pub(super) fn form(&mut self, target: NodeId, is_known: impl Fn(u64) -> bool) -> Form {
        let answers = self.heard.take_if(|heard| *heard == target).is_some();
        let Some(peer) = self.known.get_mut(&target).filter(|peer| is_known(peer.session)) else {
            return Form::Introduction(0);
        };
        let is_short = peer.knows_us && !peer.is_unanswered;
        peer.is_unanswered |= !answers;
        if is_short { Form::Short(peer.session) } else { Form::Introduction(peer.session) }
    }

    /// A peer has spoken; `knows_us` says whether it knows this node's session.
    pub(super) fn hear(&mut self, sender: NodeId, session: u64, knows_us: bool) {
        if self.known.len() >= PEERS_MAX && !self.known.contains_key(&sender) {
            self.known.clear();
        }
        self.known.insert(sender, Peer { session, knows_us, is_unanswered: false });
        self.heard = Some(sender);
    }

    /// What is sent from now on answers nobody.
    pub(super) const fn settle(&mut self) {
        self.heard = None;
    }

    /// This node has a new session, which nobody knows.
    pub(super) fn forget_us(&mut self) {
        for peer in self.known.values_mut() {
            peer.knows_us = false;
        }
    }

    /// What is bounded here.
    pub(super) fn limits(&self, to: &mut Limits) {
        let Self { known, heard: _ } = self;
        to.entries("peers_in_sessions", known.len(), PEERS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(1);

    fn form(peers: &mut Peers) -> Form {
        peers.form(PEER, |_| true)
    }

    #[test]
    fn ids_are_left_out_while_each_word_that_is_no_answer_is_answered() {
        let mut peers = Peers::default();
        assert_eq!(form(&mut peers), Form::Introduction(0));
        peers.hear(PEER, 7, false);
        assert_eq!(form(&mut peers), Form::Introduction(7), "it does not know who speaks");
        peers.hear(PEER, 7, true);
        assert_eq!(form(&mut peers), Form::Short(7), "an answer");
        assert_eq!(form(&mut peers), Form::Short(7), "a question");
        assert_eq!(form(&mut peers), Form::Introduction(7), "it did not answer: it may have started anew");
        peers.hear(PEER, 8, true);
        assert_eq!(form(&mut peers), Form::Short(8));
        peers.forget_us();
        assert_eq!(form(&mut peers), Form::Introduction(8));
    }

    #[test]
    fn who_has_forgotten_a_peer_does_not_say_that_it_knows_it() {
        let mut peers = Peers::default();
        peers.hear(PEER, 7, true);
        assert_eq!(peers.form(PEER, |session| session != 7), Form::Introduction(0));
    }

    #[test]
    fn beyond_the_cap_all_peers_are_forgotten() {
        let mut peers = Peers::default();
        for peer in 0..PEERS_MAX as u64 {
            peers.hear(NodeId(peer), 7, true);
        }
        let held = |peers: &Peers| {
            let mut limits = Limits::new();
            peers.limits(&mut limits);
            limits.iter().find(|limit| limit.what == "peers_in_sessions").unwrap().held
        };
        assert_eq!(held(&peers), PEERS_MAX as u64);
        peers.hear(PEER, 8, true);
        assert_eq!(held(&peers), PEERS_MAX as u64, "one that is known takes no more room");
        peers.hear(NodeId(u64::MAX), 7, true);
        assert_eq!(held(&peers), 1);
    }

    #[test]
    fn what_is_sent_later_is_no_answer() {
        let mut peers = Peers::default();
        peers.hear(PEER, 7, true);
        peers.settle();
        assert_eq!(form(&mut peers), Form::Short(7));
        assert_eq!(form(&mut peers), Form::Introduction(7));
    }
}
