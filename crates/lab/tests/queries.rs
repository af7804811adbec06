//! Queries and traces where nodes do not know each other: answers go back from neighbour to neighbour.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a few of many events are looked for")]

use std::collections::BTreeMap;
use std::time::Duration;

use rumormill_core::config::{ConfigBuilder, View};
use rumormill_core::io::{QueryId, Ticket};
use rumormill_core::{Command, Event, NodeId, Tags};
use rumormill_lab::{Link, Network, seeds};

const NODES: usize = 200;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Nodes with a partial view that have found each other; one datagram in twenty is lost.
fn network(seed: u64) -> Network {
    let config = ConfigBuilder { view: View::Partial, shuffle_interval: secs(5), ..ConfigBuilder::lan() };
    let line = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    let mut net = Network::new(seed).nodes(NODES).config(config).replay(line).start_cold(0, secs(5));
    net.run_for(secs(60)).unwrap();
    net.set_link(Link { loss: 0.05, ..net.link() });
    net
}

/// Who has answered, with what, and how the query ended: how many were asked, and how many answered.
struct Gathered {
    answers: BTreeMap<NodeId, (String, Vec<u8>)>,
    end: Option<(Option<usize>, bool, usize)>,
}

fn gathered(net: &Network, query: Ticket) -> Gathered {
    let mut gathered = Gathered { answers: BTreeMap::new(), end: None };
    for note in &net.measured().notes {
        match &note.event {
            Event::Answer { ticket, from, name, payload, .. } if *ticket == query => {
                let again = gathered.answers.insert(*from, (name.clone(), payload.clone()));
                assert_eq!(again, None, "each answer is heard once, {}", net.replay_line());
            }
            Event::Trace { ticket, name, step } if *ticket == query => {
                let again = gathered.answers.insert(step.node, (name.clone(), vec![step.hop]));
                assert_eq!(again, None, "each step is told once, {}", net.replay_line());
            }
            Event::Answered { ticket, asked, estimated, answered, .. } if *ticket == query => {
                gathered.end = Some((*asked, *estimated, *answered));
            }
            _ => {}
        }
    }
    gathered
}

fn until_ended(net: &mut Network, query: Ticket) -> Gathered {
    net.run_until(|net| gathered(net, query).end.is_some(), secs(31)).unwrap();
    gathered(net, query)
}

/// The nodes to whose applications a query of that name has come.
fn asked(net: &Network, wanted: &str) -> Vec<(usize, QueryId)> {
    let of = |event: &Event| match event {
        Event::Query { query, name, .. } if name == wanted => Some(*query),
        _ => None,
    };
    net.measured().notes.iter().filter_map(|note| Some((note.node, of(&note.event)?))).collect()
}

#[test]
fn every_node_of_a_partial_view_answers_a_query_by_its_name() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed);
        let query = net.query(3, "ping", Tags::new(), secs(30));
        let gathered = until_ended(&mut net, query);
        assert_eq!(gathered.answers.len(), NODES, "{}", net.replay_line());
        for node in 0..NODES {
            assert_eq!(gathered.answers[&net.id(node)].0, net.node(node).unwrap().member(net.id(node)).unwrap().name);
        }
        let (asked, estimated, answered) = gathered.end.expect("it ended");
        assert_eq!((asked, estimated, answered), (None, true, NODES), "no epoch has ended: nobody knows how many");
    }
}

#[test]
fn a_trace_collects_the_steps_of_all_nodes_and_ends_when_no_more_come() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed);
        // A question that is lost may come by a comparison, later than nodes wait for more.
        net.set_link(Link { loss: 0.0, ..net.link() });
        let news = net.publish(7, "news", vec![1; 100]);
        net.run_until(|net| net.reached_all(news), secs(10)).unwrap();
        let key = net.published(news).unwrap().clone();
        let (topic, timeout) = (key.topic, secs(30));
        let command = Command::Trace { topic, origin: key.origin, sequence: key.sequence, timeout };
        let (asked_at, query) = (net.now(), net.command(120, command));
        let gathered = until_ended(&mut net, query);
        assert_eq!(gathered.answers.len(), NODES, "{}", net.replay_line());
        let origins = gathered.answers.values().filter(|(_, hop)| *hop == [0]).count();
        assert_eq!(origins, 1);
        assert!(net.now() < asked_at + secs(10), "nobody waits for the deadline, {}", net.replay_line());
    }
}

#[test]
fn once_there_is_an_estimate_a_query_says_so_and_ends_early_only_if_so_many_answered() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed);
        // Two epochs of five minutes.
        net.run_for(secs(500)).unwrap();
        net.set_link(Link { loss: 0.0, ..net.link() });
        let (asked_at, query) = (net.now(), net.query(3, "ping", Tags::new(), secs(10)));
        let gathered = until_ended(&mut net, query);
        let size = net.node(3).unwrap().size();
        assert_eq!(gathered.end, Some((Some(size.max(NODES)), true, NODES)), "{}", net.replay_line());
        let is_early = net.now() < asked_at + secs(10);
        assert_eq!(is_early, size <= NODES, "{size} by the estimate, {}", net.replay_line());
    }
}

#[test]
fn those_with_a_tag_answer_and_how_many_there_are_is_not_made_up() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed);
        let tags = Tags::from([("role".to_owned(), "db".to_owned())]);
        for node in (0..NODES).step_by(10) {
            net.set_tags(node, tags.clone());
        }
        net.run_for(secs(5)).unwrap();
        let query = net.query(3, "ping", tags, secs(30));
        let gathered = until_ended(&mut net, query);
        assert_eq!(gathered.end, Some((None, true, NODES / 10)), "{}", net.replay_line());
        let expected: Vec<NodeId> = (0..NODES).step_by(10).map(|node| net.id(node)).collect();
        assert!(expected.iter().all(|id| gathered.answers.contains_key(id)));
    }
}

#[test]
fn large_answers_come_back_over_streams() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed);
        let query = net.query(3, "report", Tags::new(), secs(40));
        net.run_for(secs(15)).unwrap();
        let asked = asked(&net, "report");
        assert_eq!(asked.len(), NODES, "{}", net.replay_line());
        for (node, query) in asked {
            net.command(node, Command::Answer { query, payload: vec![u8::try_from(node).unwrap(); 20_000] });
        }
        net.run_until(|net| gathered(net, query).answers.len() == NODES, secs(25)).unwrap();
        let gathered = gathered(&net, query);
        for node in 0..NODES {
            assert_eq!(gathered.answers[&net.id(node)].1, vec![u8::try_from(node).unwrap(); 20_000]);
        }
    }
}

#[test]
fn answers_find_another_way_when_those_who_brought_the_question_are_gone() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed);
        let query = net.query(3, "load", Tags::new(), secs(45));
        net.run_for(secs(15)).unwrap();
        let (gone, living): (Vec<_>, Vec<_>) = asked(&net, "load").into_iter().partition(|(node, _)| node % 10 == 0);
        assert_eq!(gone.len() + living.len(), NODES, "{}", net.replay_line());
        for (node, _) in gone {
            net.crash(node);
        }
        for &(node, query) in &living {
            net.command(node, Command::Answer { query, payload: b"1".to_vec() });
        }
        net.run_until(|net| gathered(net, query).answers.len() == living.len(), secs(25)).unwrap();
        let sent = net.measured().notes.iter().filter(|note| matches!(note.event, Event::Answer { .. })).count();
        assert_eq!(sent, living.len(), "each is heard once, {}", net.replay_line());
    }
}
