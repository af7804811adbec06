//! Real processes on real sockets: agents that are killed, restarted and cut off from each other.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use support::{Agent, HASTY, Lines, rumor, until_all_know_all};

#[test]
fn the_contact_dies_first_and_later_agents_join_through_any_other() {
    let mut contact = Agent::start("n1", &HASTY);
    let second = Agent::join("n2", &contact, &HASTY);
    let third = Agent::join("n3", &contact, &HASTY);
    until_all_know_all(&[&contact, &second, &third]);

    contact.process.kill();
    second.wait_for("failed", &contact);
    third.wait_for("failed", &contact);

    let late = Agent::join("n4", &third, &HASTY);
    late.wait_for("joined", &second);
    second.wait_for("joined", &late);
    let states: Vec<String> = second.ask(&["members"]).as_array().unwrap().iter().map(name_and_state).collect();
    assert_eq!(states, ["n1 dead", "n2 alive", "n3 alive", "n4 alive"]);
}

fn name_and_state(member: &serde_json::Value) -> String {
    format!("{} {}", member["name"].as_str().unwrap(), member["state"].as_str().unwrap())
}

#[test]
fn an_agent_that_was_killed_comes_back_from_its_data_directory_without_a_contact() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let arguments = [&HASTY[..], &data].concat();
    let stays = Agent::start("n1", &HASTY);
    let mut killed = Agent::join("n2", &stays, &arguments);
    until_all_know_all(&[&stays, &killed]);

    killed.process.kill();
    stays.wait_for("failed", &killed);
    let back = Agent::start("n2", &arguments);
    assert_eq!(back.id, killed.id);
    let joined = stays.wait_for("joined", &back);
    assert_eq!((&joined["member"]["incarnation"], &joined["member"]["name"]), (&"2".into(), &"n2".into()));
    back.wait_for("joined", &stays);
}

#[test]
fn an_agent_that_restarts_at_once_does_not_fail() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let stays = Agent::start("n1", &[]);
    let mut killed = Agent::join("n2", &stays, &data);
    until_all_know_all(&[&stays, &killed]);

    killed.process.kill();
    let back = Agent::start("n2", &data);
    let news = stays.process.wait_for("the second incarnation", |line| {
        assert_ne!(line["event"], "failed");
        line["member"]["id"] == back.id.as_str() && line["member"]["incarnation"] == "2"
    });
    assert_eq!(news["member"]["state"], "alive");
}

#[test]
fn a_cluster_that_was_cut_in_two_is_one_again_after_the_cut_heals() {
    let arguments = [&HASTY[..], &["--allow-faults", "--set", "rejoin_interval=200ms"]].concat();
    let a = Agent::start("a", &arguments);
    let b = Agent::join("b", &a, &arguments);
    let c = Agent::join("c", &a, &arguments);
    let d = Agent::join("d", &a, &arguments);
    until_all_know_all(&[&a, &b, &c, &d]);
    let halves = [[&a, &b], [&c, &d]];

    for here in halves[0] {
        for there in halves[1] {
            here.ask(&["fault", "cut", &here.name, &there.name]);
        }
    }
    for here in halves[0] {
        for there in halves[1] {
            here.wait_for("failed", there);
            there.wait_for("failed", here);
        }
    }
    let message = a.ask(&["publish", "news", "from one half"]);
    for here in halves[0] {
        here.command(&["fault", "heal", "--timeout", "1s", "--json"]).output().unwrap();
    }
    for here in halves[0] {
        for there in halves[1] {
            here.wait_for("joined", there);
            there.wait_for("joined", here);
        }
    }
    let news = d.follow(&["subscribe", "news", "--history", "10", "--count", "1"]);
    assert_eq!(news.next()["sequence"], message["sequence"]);
}

#[test]
fn an_agent_that_leaves_is_left_and_not_dead() {
    let stays = Agent::start("n1", &HASTY);
    let leaves = Agent::join("n2", &stays, &HASTY);
    until_all_know_all(&[&stays, &leaves]);
    assert_eq!(leaves.ask(&["leave"]), serde_json::json!({}));
    stays.wait_for("left", &leaves);
    leaves.process.wait_for_end();
    assert_eq!(stays.ask(&["remove", "n2"]), serde_json::json!({}));
    stays.wait_for("removed", &leaves);
}

#[test]
fn ctrl_c_leaves_and_a_terminated_agent_just_stops() {
    let stays = Agent::start("n1", &HASTY);
    let interrupted = Agent::join("n2", &stays, &HASTY);
    let terminated = Agent::join("n3", &stays, &HASTY);
    until_all_know_all(&[&stays, &interrupted, &terminated]);
    interrupted.process.signal("INT");
    stays.wait_for("left", &interrupted);
    terminated.process.signal("TERM");
    stays.wait_for("failed", &terminated);
}

#[test]
fn a_contact_that_does_not_answer_leaves_an_agent_alone_and_trying() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let alone = Agent::start("n1", &["--join", &nobody]);
    let log = alone.follow(&["logs"]);
    log.wait_for("a word about the contact", |line| {
        line["message"].as_str().is_some_and(|text| text.contains(&nobody) && text.contains("tried again"))
    });
    let members: Vec<String> = alone.ask(&["members"]).as_array().unwrap().iter().map(name_and_state).collect();
    assert_eq!(members, ["n1 alive"]);
}

#[test]
fn the_agents_of_dev_end_with_it_however_it_ends() {
    let mut dev = Lines::of(rumor(&["dev", "--nodes", "2", "--http-port", "0", "--json"]));
    let ready = dev.next();
    let nodes = ready["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().map(|node| node["name"].as_str().unwrap()).collect::<Vec<_>>(), ["n1", "n2"]);
    let watches: Vec<Lines> = nodes
        .iter()
        .map(|node| {
            let http = node["http"].as_str().unwrap();
            let watch = Lines::of(rumor(&["members", "--watch", "--json", "--agent", http]));
            assert_eq!(watch.next()["members"].as_array().unwrap().len(), 2);
            watch
        })
        .collect();
    dev.kill();
    for watch in &watches {
        watch.wait_for_end();
    }
}
