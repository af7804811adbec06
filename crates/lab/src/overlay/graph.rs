//! The graph of active views: whether it hangs together, how even its degrees are, how far its nodes are apart.

use std::collections::{BTreeMap, VecDeque};

use rumormill_core::rng::Rng;

use crate::summary::count;
use crate::{Network, Summary};

/// Nodes that are up, and the links on which both ends agree.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    links: Vec<Vec<usize>>,
    /// Entries of active views whose other end is up and does not have this one.
    one_sided: usize,
}

/// How far nodes are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paths {
    /// Hops from a node to another, mean over pairs that reach each other.
    pub average: f64,
    /// The longest of the shortest paths that were found.
    pub max: usize,
}

impl Graph {
    /// The nodes of a network that are up now.
    pub fn of(net: &Network) -> Self {
        let places: BTreeMap<_, _> = net.up().enumerate().map(|(place, node)| (net.id(node), place)).collect();
        let views: Vec<Vec<usize>> = net
            .up()
            .filter_map(|node| net.node(node))
            .map(|node| node.neighbours().filter_map(|peer| places.get(&peer).copied()).collect())
            .collect();
        Self::of_views(&views)
    }

    /// From the active view of each node, as places in this list.
    fn of_views(views: &[Vec<usize>]) -> Self {
        let links: Vec<Vec<usize>> = views
            .iter()
            .enumerate()
            .map(|(node, view)| view.iter().copied().filter(|&peer| views[peer].contains(&node)).collect())
            .collect();
        let entries: usize = views.iter().map(Vec::len).sum();
        let one_sided = entries - links.iter().map(Vec::len).sum::<usize>();
        Self { links, one_sided }
    }

    /// How many nodes it has.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether it has no nodes.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// How many entries of active views are not returned: a node is asked, accepts, and its answer is on the way.
    pub const fn one_sided(&self) -> usize {
        self.one_sided
    }

    /// How many nodes have no link.
    pub fn lonely(&self) -> usize {
        self.links.iter().filter(|links| links.is_empty()).count()
    }

    /// Whether each node reaches each other.
    pub fn is_connected(&self) -> bool {
        (self.len() == 1 || self.lonely() == 0) && self.largest_component() == self.len()
    }

    /// How many nodes the largest part has whose nodes reach each other.
    pub fn largest_component(&self) -> usize {
        let mut seen = vec![false; self.len()];
        let mut largest = 0;
        for start in 0..self.len() {
            if seen[start] {
                continue;
            }
            let part = self.distances(start);
            let reached = part.iter().enumerate().filter(|(_, hops)| hops.is_some());
            largest = largest.max(reached.map(|(node, _)| seen[node] = true).count());
        }
        largest
    }

    /// How many links nodes have.
    pub fn degree(&self) -> Option<Summary> {
        let degrees: Vec<f64> = self.links.iter().map(|links| count(links.len())).collect();
        Summary::of(&degrees)
    }

    /// The share of the pairs of a node's neighbours that are neighbours themselves, mean over all nodes; 0 of a node that
    /// has less than two.
    pub fn clustering(&self) -> f64 {
        let local = self.links.iter().map(|links| {
            let pairs = links.len() * links.len().saturating_sub(1) / 2;
            let linked = |(nth, &peer): (usize, &usize)| {
                links[..nth].iter().filter(|&&other| self.links[peer].contains(&other)).count()
            };
            count(links.iter().enumerate().map(linked).sum()) / count(pairs.max(1))
        });
        local.sum::<f64>() / count(self.len().max(1))
    }

    /// Shortest paths from at most `sources` nodes, drawn at random, to all that they reach; `None` if that is nobody.
    pub fn paths(&self, sources: usize, rng: &mut Rng) -> Option<Paths> {
        let mut nodes: Vec<usize> = (0..self.len()).collect();
        rng.shuffle(&mut nodes);
        let (mut sum, mut pairs, mut max) = (0, 0, 0);
        for &source in nodes.iter().take(sources) {
            for hops in self.distances(source).into_iter().flatten().filter(|&hops| hops > 0) {
                (sum, pairs, max) = (sum + hops, pairs + 1, max.max(hops));
            }
        }
        (pairs > 0).then(|| Paths { average: count(sum) / count(pairs), max })
    }

    /// How far each node is from one, breadth first.
    fn distances(&self, from: usize) -> Vec<Option<usize>> {
        let mut hops = vec![None; self.len()];
        hops[from] = Some(0);
        let mut open = VecDeque::from([(from, 0)]);
        while let Some((node, far)) = open.pop_front() {
            for &peer in &self.links[node] {
                if hops[peer].is_none() {
                    hops[peer] = Some(far + 1);
                    open.push_back((peer, far + 1));
                }
            }
        }
        hops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes in a ring, each linked to those beside it.
    fn ring(nodes: usize) -> Graph {
        let views: Vec<Vec<usize>> =
            (0..nodes).map(|node| vec![(node + 1) % nodes, (node + nodes - 1) % nodes]).collect();
        Graph::of_views(&views)
    }

    #[test]
    fn a_ring_is_connected_and_half_of_it_is_the_farthest() {
        let graph = ring(10);
        assert!(graph.is_connected());
        assert_eq!((graph.largest_component(), graph.clustering(), graph.one_sided()), (10, 0.0, 0));
        let paths = graph.paths(10, &mut Rng::new(1)).unwrap();
        assert_eq!(paths, Paths { average: 25.0 / 9.0, max: 5 });
    }

    #[test]
    fn a_triangle_with_a_tail_clusters_as_counted_by_hand() {
        let graph = Graph::of_views(&[vec![1, 2], vec![0, 2], vec![0, 1, 3], vec![2]]);
        assert!((graph.clustering() - (1.0 + 1.0 + 1.0 / 3.0) / 4.0).abs() < 1e-12);
        assert_eq!(graph.degree().map(|degree| (degree.mean, degree.max)), Some((2.0, 3.0)));
    }

    #[test]
    fn a_link_that_only_one_end_knows_of_is_none() {
        let graph = Graph::of_views(&[vec![1], vec![0, 2], vec![], vec![4], vec![3]]);
        assert_eq!((graph.one_sided(), graph.largest_component()), (1, 2));
        assert!(graph.lonely() == 1 && !graph.is_connected());
    }

    #[test]
    fn two_parts_without_lonely_nodes_are_not_connected() {
        let graph = Graph::of_views(&[vec![1], vec![0], vec![3, 4], vec![2, 4], vec![2, 3]]);
        assert!(graph.lonely() == 0 && !graph.is_connected());
        assert_eq!(graph.largest_component(), 3);
    }
}
