//! Agreement: after a network healed, all nodes list the same members in the same states and hold the same updates.

use std::collections::BTreeMap;

use rumormill_core::{Incarnation, Node, NodeId, State};

use super::{Verdict, breach};

/// What one node shows: who it is, its claims about everybody, and the root of all that it holds.
#[derive(Clone, Debug)]
pub struct View {
    /// Who.
    pub node: NodeId,
    /// Its claims.
    pub claims: BTreeMap<NodeId, (Incarnation, State)>,
    /// Its root.
    pub root: u64,
}

impl View {
    /// What a node shows now.
    pub fn of(node: &Node) -> Self {
        let claims = node.claims().map(|(id, incarnation, state)| (id, (incarnation, state))).collect();
        Self { node: node.id(), claims, root: node.root() }
    }
}

const CLAIMS: &str = "all nodes list the same members in the same states";
const ROOTS: &str = "all nodes hold the same updates";

/// Compares nodes with the first of them.
pub(crate) fn check<'a>(mut nodes: impl Iterator<Item = &'a Node>) -> Verdict {
    let Some(first) = nodes.next().map(View::of) else { return Ok(()) };
    nodes.try_for_each(|node| agree(&first, &View::of(node)))
}

/// Compares what nodes hold with what the first of them does: whom they know is of no interest where each knows others.
pub(crate) fn check_roots<'a>(mut nodes: impl Iterator<Item = &'a Node>) -> Verdict {
    let Some(first) = nodes.next() else { return Ok(()) };
    nodes.try_for_each(|node| same_root((first.id(), first.root()), (node.id(), node.root())))
}

/// Compares two views.
pub fn agree(a: &View, b: &View) -> Verdict {
    if a.claims != b.claims {
        let ids = a.claims.keys().chain(b.claims.keys());
        let id = ids.copied().find(|id| a.claims.get(id) != b.claims.get(id)).expect("the maps differ");
        let show = |view: &View| match view.claims.get(&id) {
            Some((incarnation, state)) => format!("{} {incarnation}", state.as_str()),
            None => "not listed".to_owned(),
        };
        return breach(CLAIMS, format!("{id} is {} at {} and {} at {}", show(a), a.node, show(b), b.node));
    }
    same_root((a.node, a.root), (b.node, b.root))
}

fn same_root((a, root_of_a): (NodeId, u64), (b, root_of_b): (NodeId, u64)) -> Verdict {
    if root_of_a == root_of_b {
        return Ok(());
    }
    breach(ROOTS, format!("the root is {root_of_a:016x} at {a} and {root_of_b:016x} at {b}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(node: u64, state: State, root: u64) -> View {
        let claims = BTreeMap::from([(NodeId(9), (Incarnation::of_boot(1), state))]);
        View { node: NodeId(node), claims, root }
    }

    #[test]
    fn equal_views_agree_and_one_member_or_one_update_makes_a_difference() {
        let a = view(1, State::Alive, 7);
        agree(&a, &view(2, State::Alive, 7)).unwrap();
        assert_eq!(agree(&a, &view(2, State::Dead, 7)).unwrap_err().rule, CLAIMS);
        assert_eq!(agree(&a, &View { claims: BTreeMap::new(), ..a.clone() }).unwrap_err().rule, CLAIMS);
        assert_eq!(agree(&a, &view(2, State::Alive, 8)).unwrap_err().rule, ROOTS);
    }
}
