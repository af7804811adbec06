//! Who knows whom: whether a peer can tell who speaks from the session alone, so that ids need not be sent.

use std::collections::BTreeMap;

use rumormill_core::NodeId;

/// Of how many peers this is remembered. Beyond it all are forgotten, and introduce themselves again.
const PEERS_MAX: usize = 1 << 16;

/// A peer, as its last datagram showed it.
#[derive(Clone, Copy, Debug)]
struct Peer {
    session: u64,
    /// It said that it knows this node's session.
    knows_us: bool,
    /// Something was sent to it since.
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
/// A datagram takes the short form only where the last word is the peer's: a second one without an answer introduces this node
/// again. So a peer that has started anew, or has forgotten this node, costs at most one datagram, and nobody has to be told
/// that a datagram could not be read.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<NodeId, Peer>);

impl Peers {
    /// The form of the next datagram to a peer, which is about to be sent.
    pub(super) fn form(&mut self, target: NodeId) -> Form {
        let Some(peer) = self.0.get_mut(&target) else { return Form::Introduction(0) };
        let is_short = peer.knows_us && !peer.is_unanswered;
        peer.is_unanswered = true;
        if is_short { Form::Short(peer.session) } else { Form::Introduction(peer.session) }
    }

    /// A peer has spoken; `knows_us` says whether it knows this node's session.
    pub(super) fn hear(&mut self, sender: NodeId, session: u64, knows_us: bool) {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&sender) {
            self.0.clear();
        }
        self.0.insert(sender, Peer { session, knows_us, is_unanswered: false });
    }

    /// This node has a new session, which nobody knows.
    pub(super) fn forget_us(&mut self) {
        for peer in self.0.values_mut() {
            peer.knows_us = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_left_out_only_where_the_last_word_is_the_peers() {
        let (mut peers, peer) = (Peers::default(), NodeId(1));
        assert_eq!(peers.form(peer), Form::Introduction(0));
        peers.hear(peer, 7, false);
        assert_eq!(peers.form(peer), Form::Introduction(7), "it does not know who speaks");
        peers.hear(peer, 7, true);
        assert_eq!(peers.form(peer), Form::Short(7));
        assert_eq!(peers.form(peer), Form::Introduction(7), "it did not answer: it may have started anew");
        peers.hear(peer, 8, true);
        assert_eq!(peers.form(peer), Form::Short(8));
        peers.hear(peer, 8, true);
        peers.forget_us();
        assert_eq!(peers.form(peer), Form::Introduction(8));
    }
}
