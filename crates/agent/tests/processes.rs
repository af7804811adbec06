//! Real processes on real sockets: agents that are killed, restarted and cut off from each other.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use support::{Agent, HASTY, Lines, rumor, until_all_know_all};

#[test]
fn a_cluster_outlives_its_contact_and_knows_who_comes_back_from_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let mut contact = Agent::start("n1", &[]);
    let mut killed = Agent::join("n2", &contact, &data);
    let third = Agent::join("n3", &contact, &[]);
    until_all_know_all(&[&contact, &killed, &third]);

    // The contact dies first: it was needed only for joining.
    contact.process.kill();
    killed.wait_for("failed", &contact);
    third.wait_for("failed", &contact);
    let late = Agent::join("n4", &third, &[]);
    until_all_know_all(&[&late, &killed]);

    // One is killed and comes back, alone with its data directory, as the same member.
    killed.process.kill();
    third.wait_for("failed", &killed);
    late.wait_for("failed", &killed);
    let mut back = Agent::start("n2", &data);
    assert_eq!(back.id, killed.id);
    assert_eq!(third.wait_for("joined", &back)["member"]["incarnation"], "2");
    assert_eq!(late.wait_for("joined", &back)["member"]["incarnation"], "2");
    back.wait_for_each("joined", &[&third, &late]);

    // It is faster the second time: nobody has suspected it for long enough to call it dead.
    back.process.kill();
    let again = Agent::start("n2", &data);
    third.process.wait_for("the third incarnation", |line| {
        assert_ne!(line["event"], "failed", "{line}");
        line["member"]["id"] == again.id.as_str() && line["member"]["incarnation"] == "3"
    });
    let states: Vec<String> = third.ask(&["members"]).as_array().unwrap().iter().map(name_and_state).collect();
    assert_eq!(states, ["n1 dead", "n2 alive", "n3 alive", "n4 alive"]);
}

fn name_and_state(member: &serde_json::Value) -> String {
    format!("{} {}", member["name"].as_str().unwrap(), member["state"].as_str().unwrap())
}

#[test]
fn a_cluster_that_was_cut_in_two_is_one_again_after_the_cut_heals() {
    let arguments = [&HASTY[..], &["--allow-faults", "--set", "rejoin_interval=200ms"]].concat();
    let a = Agent::start("a", &arguments);
    let [b, c, d] = ["b", "c", "d"].map(|name| Agent::join(name, &a, &arguments));
    until_all_know_all(&[&a, &b, &c, &d]);
    let (half, other) = ([&a, &b], [&c, &d]);

    for here in half {
        for there in other {
            here.ask(&["fault", "cut", &here.name, &there.name]);
        }
    }
    for (here, there) in [(half, other), (other, half)] {
        for agent in here {
            agent.wait_for_each("failed", &there);
        }
    }
    let message = a.ask(&["publish", "news", "from one half"]);

    for here in half {
        here.ask(&["fault", "heal"]);
    }
    for (here, there) in [(half, other), (other, half)] {
        for agent in here {
            agent.wait_for_each("joined", &there);
        }
    }
    let news = d.follow(&["subscribe", "news", "--history", "10", "--count", "1"]);
    assert_eq!(news.wait_for("the message", |line| line["topic"] == "news")["sequence"], message["sequence"]);
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

#[test]
fn an_agent_tells_why_a_member_that_was_killed_is_dead() {
    let mut killed = Agent::start("n1", &[]);
    let [second, third, fourth] = ["n2", "n3", "n4"].map(|name| Agent::join(name, &killed, &[]));
    until_all_know_all(&[&killed, &second, &third, &fourth]);
    let calm = second.ask(&["why", "n1"]);
    assert_eq!((&calm["state"], &calm["steps"]), (&"alive".into(), &serde_json::json!([])));
    assert_eq!(calm["next"]["what"], "suspected");
    assert!(second.said(&["why", "n1"]).1.contains("nothing out of the ordinary"), "{calm}");

    killed.process.kill();
    let mut accusers = std::collections::BTreeSet::new();
    for agent in [&second, &third, &fourth] {
        agent.wait_for("failed", &killed);
        let why = agent.ask(&["why", "n1"]);
        assert_eq!(
            (&why["name"], &why["state"], &why["id"]),
            (&"n1".into(), &"dead".into(), &killed.id.as_str().into())
        );
        assert_eq!(why["next"]["what"], "forgotten", "{why}");
        let steps = why["steps"].as_array().unwrap();
        let at: Vec<f64> = steps.iter().map(|step| step["at"].as_f64().unwrap()).collect();
        assert!(at.is_sorted() && !at.is_empty(), "{why}");
        assert_eq!(steps.last().unwrap()["what"], "failed", "{why}");
        let of = |what: &'static str| steps.iter().filter(move |step| step["what"] == what);
        assert!(of("suspected").count() >= 1, "{why}");
        assert!(of("probe_failed").all(|step| step["by"] == agent.name.as_str()), "{why}");
        accusers.extend(of("probe_failed").chain(of("accused")).map(|step| step["by"].as_str().unwrap().to_owned()));
        let (code, told, _) = agent.said(&["why", "n1"]);
        assert!(code == 0 && told.starts_with("n1 is dead for ") && told.contains("suspect, by "), "{told}");
    }
    assert!(!accusers.is_empty() && accusers.iter().all(|name| ["n2", "n3", "n4"].contains(&&**name)), "{accusers:?}");
    assert_eq!(second.said(&["why", "nobody"]).0, 1);
}

#[test]
fn any_agent_tells_how_long_it_takes_between_members_and_asks_those_nearest() {
    let a = Agent::start("a", &[]);
    let [b, c] = ["b", "c"].map(|name| Agent::join(name, &a, &[]));
    until_all_know_all(&[&a, &b, &c]);
    // Each pings all others in its first seconds.
    let measured = loop {
        let (code, out, _) = a.said(&["rtt", "b", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&out).unwrap_or_default();
        if document["kind"] == "measured" {
            break document;
        }
        assert!([0, 3].contains(&code), "before the first pings it is not known where they are");
    };
    assert_eq!((&measured["from"], &measured["to"]), (&"a".into(), &"b".into()));
    assert!((1e-6..1.0).contains(&measured["rtt"].as_f64().unwrap()), "{measured}");
    let between = loop {
        let (code, out, _) = a.said(&["rtt", "b", c.id.as_str(), "--json"]);
        if code == 0 {
            break serde_json::from_str::<serde_json::Value>(&out).unwrap();
        }
    };
    assert_eq!((&between["from"], &between["to"], &between["kind"]), (&"b".into(), &"c".into(), &"estimated".into()));
    assert!((1e-6..1.0).contains(&between["rtt"].as_f64().unwrap()), "{between}");
    let (code, line, _) = a.said(&["rtt", "b", "c"]);
    assert!(code == 0 && line.contains("between b and c (estimated)"), "{line}");
    assert_eq!(a.said(&["rtt", "nobody"]).0, 1);
    assert_eq!(a.said(&["rtt", "a"]).0, 1, "from itself to itself");

    let (code, out, _) = a.said(&["query", "ping", "--nearest", "1", "--json"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [answer, end] = &lines[..] else { panic!("one answer and the end: {out}") };
    assert!(code == 0 && ["b", "c"].contains(&answer["from"].as_str().unwrap()), "{out}");
    assert_eq!((&end["asked"], &end["answered"]), (&1.into(), &1.into()));
    assert_eq!(a.said(&["query", "ping", "--nearest", "65"]).0, 2);
}
