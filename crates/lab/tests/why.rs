//! What nodes tell of why they hold a member for what it is, beside what the laboratory knows.

use std::time::Duration;

use rumormill_core::config::View;
use rumormill_core::io::MemberChange;
use rumormill_core::story::{Happening, Outlook, Step, Story};
use rumormill_core::{ConfigBuilder, NodeId, State, Wall};
use rumormill_lab::{Network, seeds};

const NODES: usize = 20;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn network(seed: u64, config: ConfigBuilder) -> Network {
    let line = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    let mut net = Network::new(seed).nodes(NODES).config(config).replay(line).start_cold(0, secs(1));
    net.run_for(secs(20)).expect("nothing befalls it");
    net
}

/// What a node tells of a member.
fn story(net: &Network, of: usize, member: NodeId) -> Story {
    let story = net.node(of).expect("it is up").story(member);
    story.unwrap_or_else(|| panic!("n{of} knows nothing of {member}, {}", net.replay_line()))
}

fn is_change(step: &Step, wanted: MemberChange) -> bool {
    matches!(step.what, Happening::Changed { change, .. } if change == wanted)
}

fn when(story: &Story, holds: impl Fn(&Step) -> bool) -> Option<Wall> {
    story.steps.iter().find(|step| holds(step)).map(|step| step.at)
}

#[test]
fn of_a_member_that_crashed_every_node_tells_who_missed_it_who_accused_it_and_who_declared_it_dead() {
    for seed in seeds::chosen(&[1, 2]) {
        let mut net = network(seed, ConfigBuilder::lan());
        let (member, crashed_at) = (net.id(7), net.wall(0));
        net.crash(7);
        net.run_until(|net| net.everyone_thinks(member, State::Dead), secs(60)).unwrap();
        let replay = net.replay_line();
        let stories: Vec<_> = net.up().map(|node| (net.id(node), story(&net, node, member))).collect();
        let of = |id: NodeId| &stories.iter().find(|(other, _)| *other == id).expect("whoever did something is up").1;
        let condemned = |story: &Story| when(story, |step| step.what == Happening::Condemned);
        let failed = |story: &Story| when(story, |step| is_change(step, MemberChange::Failed));
        for (node, story) in &stories {
            assert_eq!((&*story.name, story.state), ("n7", Some(State::Dead)));
            assert!(matches!(story.outlook, Outlook::Forgotten { at } if at > crashed_at), "{story:?}");
            assert!(story.steps.iter().all(|step| step.at >= crashed_at), "{replay} {story:?}");
            assert!(story.steps.iter().all(|step| step.by != member), "the dead do nothing: {replay} {story:?}");
            assert!(story.steps.is_sorted_by_key(|step| step.at));
            assert!(is_change(story.steps.last().unwrap(), MemberChange::Failed), "{replay} {story:?}");
            for step in &story.steps {
                match step.what {
                    Happening::ProbeFailed { pings, helpers, nacks } => {
                        assert_eq!(step.by, *node, "each tells of its own probes");
                        assert!(pings == 4 && nacks <= helpers && helpers == 3, "{replay} {step:?}");
                    }
                    Happening::Accused { confirmed, wanted } => {
                        // The accuser has probed it in vain before.
                        let missed = when(of(step.by), |step| matches!(step.what, Happening::ProbeFailed { .. }));
                        assert!(missed.is_some_and(|missed| missed <= step.at), "{replay} {node} {step:?}");
                        assert!(confirmed <= wanted, "{replay} {step:?}");
                    }
                    Happening::Condemned => {
                        assert!(step.by == *node && when(story, |step| step.what == Happening::LastProbe).is_some());
                    }
                    Happening::Suspected | Happening::LastProbe | Happening::Changed { .. } => {}
                    Happening::Answered
                    | Happening::Doubted
                    | Happening::DoubtDismissed
                    | Happening::Contradicted(_) => {
                        panic!("{replay}: it answered nobody, and nobody was surprised: {story:?}");
                    }
                }
            }
            if condemned(story).is_none() {
                // It was told by one who held it for dead before.
                let by = story.steps.last().unwrap().by;
                assert!(failed(of(by)) <= failed(story), "{replay} {story:?}");
            }
        }
        assert!(stories.iter().any(|(_, story)| condemned(story).is_some()), "somebody declared it dead");
        assert_eq!(story(&net, 0, net.id(3)).steps, [], "to others nothing happened");
        assert_eq!(story(&net, 0, net.id(3)).outlook, Outlook::Probed);
    }
}

#[test]
fn of_a_member_that_stood_still_it_is_told_that_it_contradicted_and_it_tells_the_same() {
    for seed in seeds::chosen(&[1]) {
        let patient = ConfigBuilder { suspicion_timeout_min: secs(60), ..ConfigBuilder::lan() };
        let mut net = network(seed, patient);
        let member = net.id(7);
        net.pause(7, secs(20));
        net.run_for(secs(19)).unwrap();
        let suspected = story(&net, 0, member);
        assert_eq!(suspected.state, Some(State::Suspect), "{}", net.replay_line());
        assert!(matches!(suspected.outlook, Outlook::Dead { at } if at > net.wall(0)), "{suspected:?}");
        net.run_until(|net| net.everyone_thinks(member, State::Alive), secs(20)).unwrap();
        for node in net.up().filter(|node| *node != 7) {
            let told = story(&net, node, member);
            let suspected = when(&told, |step| step.what == Happening::Suspected).expect("all had heard of it");
            let refuted = when(&told, |step| is_change(step, MemberChange::Refuted)).expect("and that it is well");
            assert!(suspected < refuted, "{told:?}");
            assert_eq!((told.state, told.outlook), (Some(State::Alive), Outlook::Probed));
            assert_eq!(when(&told, |step| is_change(step, MemberChange::Failed)), None);
        }
        let own = story(&net, 7, member);
        assert_eq!(own.outlook, Outlook::Myself);
        assert!(own.steps.iter().any(|step| step.what == Happening::Contradicted(State::Suspect)), "{own:?}");
    }
}

#[test]
fn that_a_member_left_or_was_removed_is_told_with_who_said_so() {
    let mut net = network(1, ConfigBuilder::lan());
    let (left, removed) = (net.id(4), net.id(5));
    net.leave(4);
    net.crash(5);
    net.run_until(|net| net.everyone_thinks(left, State::Left) && net.everyone_thinks(removed, State::Dead), secs(60))
        .unwrap();
    net.remove(2, removed, false);
    net.run_until(|net| net.up().all(|node| net.opinion(node, removed).is_none()), secs(60)).unwrap();
    for node in net.up() {
        let told = story(&net, node, left);
        assert!(is_change(told.steps.last().unwrap(), MemberChange::Left), "{told:?}");
        assert_eq!((told.state, told.steps.len()), (Some(State::Left), 1));
        let told = story(&net, node, removed);
        assert_eq!((&*told.name, told.state), ("n5", None), "it is not listed any more");
        assert!(is_change(told.steps.last().unwrap(), MemberChange::Removed), "{told:?}");
        assert_eq!(net.node(node).unwrap().story_named("n5"), Some(removed));
    }
    assert_eq!(story(&net, 2, removed).steps.last().unwrap().by, net.id(2), "whose operator did it");
}

#[test]
fn of_members_on_the_other_side_of_a_partition_it_is_told_that_they_were_held_for_dead_and_came_back() {
    for seed in seeds::chosen(&[1]) {
        let mut net = network(seed, ConfigBuilder::lan());
        let member = net.id(15);
        net.partition(&[(10..NODES).collect()]);
        net.run_until(|net| (0..10).all(|node| net.opinion(node, member) == Some(State::Dead)), secs(120)).unwrap();
        net.heal();
        net.run_until(Network::everyone_agrees, secs(180)).unwrap();
        for node in 0..10 {
            let told = story(&net, node, member);
            let failed = when(&told, |step| is_change(step, MemberChange::Failed)).expect("it was cut off");
            let back = when(&told, |step| is_change(step, MemberChange::Joined)).expect("it is back");
            assert!(failed < back, "{told:?}");
            assert_eq!((told.state, told.outlook), (Some(State::Alive), Outlook::Probed));
        }
        let own = story(&net, 15, member);
        assert!(own.steps.iter().any(|step| matches!(step.what, Happening::Contradicted(_))), "{own:?}");
    }
}

#[test]
fn with_partial_views_those_who_lost_a_neighbour_tell_why_and_others_know_nothing() {
    let mut net = network(1, ConfigBuilder { view: View::Partial, ..ConfigBuilder::lan() });
    let member = net.id(7);
    let knew: Vec<usize> =
        net.up().filter(|node| net.node(*node).unwrap().neighbours().any(|id| id == member)).collect();
    assert!(!knew.is_empty());
    let calm = |node: usize| net.node(node).unwrap().neighbours().all(|id| story(&net, node, id).steps.is_empty());
    assert!(net.up().all(calm), "nothing has happened yet");
    let crashed_at = net.wall(0);
    net.crash(7);
    net.run_until(|net| knew.iter().all(|node| net.node(*node).unwrap().neighbours().all(|id| id != member)), secs(60))
        .unwrap();
    // Whoever let it go before it was missed, or never had it, tells nothing.
    let stories: Vec<Story> = net.up().filter_map(|node| net.node(node).unwrap().story(member)).collect();
    assert!((1..=knew.len()).contains(&stories.len()), "{stories:?}");
    for told in stories {
        assert_eq!((&*told.name, told.state, told.outlook), ("n7", None, Outlook::Gone));
        assert!(when(&told, |step| matches!(step.what, Happening::ProbeFailed { .. })) >= Some(crashed_at), "{told:?}");
        assert!(is_change(told.steps.last().unwrap(), MemberChange::Failed), "{told:?}");
    }
}
