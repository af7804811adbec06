//! Clusters with an authority: who it admits belongs to them, whoever it does not admit or has revoked does not.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs;
use std::path::Path;

use support::place::{Place, borrowed};
use support::{Agent, HASTY, run, text, until_all_know_all, words};

/// Copies the files of a directory.
fn copy(from: &str, to: &str) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, Path::new(to).join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_node_without_a_certificate_is_told_what_to_do_and_one_with_another_s_why_it_is_none() {
    let place = Place::new(&HASTY);
    let start = |arguments: &[String]| {
        words(&Agent::command_line("n1", &borrowed(arguments)).stdin(std::process::Stdio::null()).output().unwrap())
    };
    let (code, _, complaint) = start(&place.arguments("n1", None));
    assert!(code == 2 && complaint.contains("rumor authority admit FILE"), "{complaint}");
    let shown = text(&run(&["identity", "show", "--data-dir", &place.path("n1")]).stdout);
    assert!(complaint.contains(shown.trim()), "{complaint} does not name the key {shown}");

    let other = place.admit("n2", &[]);
    let (code, _, complaint) = start(&place.arguments("n1", Some(&other)));
    assert!(code == 2 && complaint.contains("for another key"), "{complaint}");
    let named = place.admit("n1", &["--name", "db1"]);
    let (code, _, complaint) = start(&place.arguments("n1", Some(&named)));
    assert!(code == 2 && complaint.contains("db1"), "{complaint}");
    let brief = place.admit("n1", &["--for", "1ms"]);
    let (code, _, complaint) = start(&place.arguments("n1", Some(&brief)));
    assert!(code == 2 && complaint.contains("run out"), "{complaint}");
    let strange = Place::new(&HASTY);
    fs::copy(place.path("n1.cert"), strange.path("n1.cert")).unwrap();
    let certificate = place.admit("n1", &[]);
    let mut arguments = strange.arguments("n1", Some(&certificate));
    arguments.extend(["--data-dir".to_owned(), place.path("n1")]);
    arguments.retain(|argument| *argument != strange.path("n1"));
    let first = arguments.iter().position(|argument| argument == "--data-dir").unwrap();
    arguments.remove(first);
    let (code, _, complaint) = start(&arguments);
    assert!(code == 2 && complaint.contains("of another authority"), "{complaint}");
    let (code, _, complaint) = words(&run(&["agent", "--set", "identity=signed"]));
    assert!(code == 2 && complaint.contains("authority is"), "{complaint}");
}

/// Ends an agent, and says what it warned of in its log.
fn warnings_of(mut agent: Agent) -> Vec<String> {
    let log = agent.follow(&["logs"]);
    let first = log.next();
    assert!(first["message"].as_str().unwrap().contains("gossips on"), "the log has what was before: {first}");
    agent.process.signal("INT");
    assert!(agent.process.child.wait().unwrap().success());
    let warnings = log.rest().into_iter().filter(|line| line["level"] == "warn");
    warnings.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_end_of_a_certificate_is_told_ahead() {
    let place = Place::new(&HASTY);
    let metric = |agent: &Agent| {
        let page = agent.metrics();
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix("rumor_certificate_expiry_timestamp_seconds "));
        value.map(|value| value.parse::<f64>().unwrap())
    };
    let mut warned = Vec::new();
    for (name, span) in [("n1", &["--for", "48h"][..]), ("n2", &["--for", "720h"]), ("n3", &[])] {
        let (authority, directory, file) = (place.path("authority"), place.path(name), place.path("cert"));
        let admit = ["authority", "admit", &authority, "--data-dir", &directory, "--out", &file, "--json"];
        let (code, admitted, complaint) = words(&run(&[&admit[..], span].concat()));
        assert_eq!(code, 0, "{complaint}");
        let admitted: serde_json::Value = serde_json::from_str(&admitted).unwrap();
        let agent = Agent::start(name, &borrowed(&place.arguments(name, Some(&file))));
        let end = admitted["until"].as_f64().map(f64::floor);
        assert_eq!((metric(&agent), end.is_some()), (end, !span.is_empty()), "a certificate has whole seconds");
        assert_eq!(agent.ask(&["info"])["certificate_end"].as_f64(), end);
        warned.push(warnings_of(agent));
    }
    assert!(matches!(&warned[0][..], [of_end] if of_end.contains("the certificate runs out in 47 h")), "{warned:?}");
    assert_eq!(warned[1..].concat(), [] as [String; 0]);

    let plain = Agent::start("n4", &HASTY);
    assert_eq!((metric(&plain), &plain.ask(&["info"])["identity"]), (None, &"plain".into()));
}

#[test]
fn three_are_admitted_one_is_not_and_one_is_revoked_while_it_runs() {
    let place = Place::new(&HASTY);
    let start = |name: &str, contact: Option<&Agent>| {
        let certificate = place.admit(name, &[]);
        let mut arguments = place.arguments(name, Some(&certificate));
        arguments.extend(contact.into_iter().flat_map(|contact| ["--join".to_owned(), contact.gossip.clone()]));
        Agent::start(name, &borrowed(&arguments))
    };
    let first = start("n1", None);
    let mut second = start("n2", Some(&first));
    let mut third = start("n3", Some(&first));
    until_all_know_all(&[&first, &second, &third]);
    third.ask(&["put", "color", "green", "--replicas", "2"]);
    assert_eq!(first.ask(&["get", "color"])["value"], "green");

    // One that has the cluster's key, but nobody's word: both sides say why.
    let log = first.follow(&["logs"]);
    let plain = [&HASTY[..], &["--key-file", &place.path("key"), "--join", &first.gossip, "--set", "log_level=warn"]];
    let stranger = Agent::start("stranger", &plain.concat());
    let told = stranger.follow(&["logs"]);
    told.wait_for("the reason", |line| {
        line["message"].as_str().is_some_and(|said| said.contains("identity, authority"))
    });
    log.wait_for("whom it turned away", |line| {
        line["message"].as_str().is_some_and(|said| said.contains("was not let in"))
    });
    assert_eq!(stranger.ask(&["members"]).as_array().unwrap().len(), 1);

    copy(&place.path("n3"), &place.path("backup"));
    let authority = place.path("authority");
    let (code, _, complaint) = second.said(&["authority", "revoke", &authority, "n3"]);
    assert_eq!(code, 0, "{complaint}");
    for agent in [&first, &second] {
        agent.wait_for("revoked", &third);
        let shown = agent.ask(&["members", "--state", "revoked"]);
        assert_eq!(shown[0]["name"], "n3", "{shown}");
        assert_eq!(agent.ask(&["why", "n3"])["state"], "revoked");
    }
    third.process.wait_for_end();
    assert_eq!(third.process.child.wait().unwrap().code(), Some(1));

    // It does not come back, neither as it was left nor as it was before it heard of it.
    let certificate = place.path("n3.cert");
    for directory in ["n3", "backup"] {
        let mut arguments = place.arguments(directory, Some(&certificate));
        arguments.extend(["--join".to_owned(), first.gossip.clone()]);
        let mut command = Agent::command_line("n3", &borrowed(&arguments));
        let (code, _, complaint) = words(&command.stdin(std::process::Stdio::null()).output().unwrap());
        assert!(code != 0 && complaint.contains("revoked"), "{code}: {complaint}");
    }
    let (code, _, complaint) = first.said(&["authority", "revoke", &place.path("key"), "n2"]);
    assert!(code == 2 && complaint.contains("rumor authority new"), "{complaint}");
    let states = |agent: &Agent| {
        let members = agent.ask(&["members"]);
        let state = |member: &serde_json::Value| format!("{} {}", member["name"], member["state"]).replace('"', "");
        members.as_array().unwrap().iter().map(state).collect::<Vec<_>>()
    };
    for agent in [&first, &second] {
        assert_eq!(states(agent), ["n1 alive", "n2 alive", "n3 revoked"]);
        assert_eq!(agent.ask(&["get", "color"])["value"], "green", "what it wrote before stays");
    }
    // Who knows of it does so after a restart, too, and by itself.
    second.process.kill();
    first.wait_for("failed", &second);
    drop(first);
    let second = Agent::start("n2", &borrowed(&place.arguments("n2", Some(&place.path("n2.cert")))));
    let shown = second.ask(&["members", "--state", "revoked"]);
    assert_eq!(shown[0]["name"], "n3", "{shown}");
    assert_eq!(second.ask(&["get", "color"])["value"], "green");
}

#[test]
fn a_recording_of_an_agent_that_signs_is_run_again_without_its_key() {
    let place = Place::new(&HASTY);
    let life = place.path("life");
    let start = |name: &str, more: &[&str]| {
        let certificate = place.admit(name, &[]);
        Agent::start(name, &[&borrowed(&place.arguments(name, Some(&certificate))), more].concat())
    };
    let mut first = start("n1", &["--record", &life]);
    let second = start("n2", &["--join", &first.gossip]);
    until_all_know_all(&[&first, &second]);
    first.ask(&["put", "color", "green", "--replicas", "1"]);
    second.ask(&["put", "shape", "round", "--replicas", "1"]);
    let (code, _, complaint) = first.said(&["authority", "revoke", &place.path("authority"), "n2"]);
    assert_eq!(code, 0, "{complaint}");
    first.wait_for("revoked", &second);
    second.process.wait_for_end();
    let is_told = |_: &Agent| {
        let output = run(&["lab", "replay", &life, "--json", "--why", "n2"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok_and(|told| told["why"]["state"] == "revoked")
    };
    first.until("the recording", is_told);
    first.process.kill();
    let (code, said, complaint) = words(&run(&["lab", "replay", &life, "--json", "--why", "n2"]));
    assert_eq!((code, complaint.as_str()), (0, ""), "{said}");
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&document["name"], &document["identical"]), (&"n1".into(), &true.into()), "{document}");
    assert_eq!(document["why"]["state"], "revoked");
}
