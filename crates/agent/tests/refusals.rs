//! What is refused before anything is done, and what happens where no agent answers.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::net::{TcpListener, UdpSocket};

use serde_json::Value;
use support::{Agent, run, text};

/// The exit code and the error of a command that fails with `--json`.
fn failure(arguments: &[&str]) -> (i32, Value) {
    let output = run(&[arguments, &["--json"]].concat());
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    let stderr = text(&output.stderr);
    let document: Value = serde_json::from_str(stderr.trim_end()).unwrap_or_else(|_| panic!("one line: {stderr}"));
    (output.status.code().unwrap(), document["error"].clone())
}

#[test]
fn every_client_command_without_an_agent_says_so_with_exit_code_3() {
    // A port that was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent = format!("http://{nobody}");
    for command in [
        &["members"][..],
        &["members", "--watch"],
        &["join", "127.0.0.1:1"],
        &["leave"],
        &["reload"],
        &["remove", "n1"],
        &["publish", "news", "hello"],
        &["trace", "news", "n1:1"],
        &["subscribe", "news"],
        &["query", "ping"],
        &["get", "color"],
        &["put", "color", "green"],
        &["delete", "color"],
        &["add", "hits", "1"],
        &["insert", "tags", "a"],
        &["remove-element", "tags", "a"],
        &["list"],
        &["watch"],
        &["export"],
        &["import", "-"],
        &["tags", "set", "a=b"],
        &["info"],
        &["logs"],
        &["fault", "heal"],
    ] {
        let (code, error) = failure(&[command, &["--agent", &agent]].concat());
        assert_eq!((code, &error["code"], &error["outcome"]), (3, &"no_agent".into(), &"none".into()), "{command:?}");
    }
    let output = run(&["members", "--agent", &agent]);
    assert_eq!(
        text(&output.stderr),
        format!(
            "rumor: no agent answers at {agent} (connection refused). Start one with `rumor dev` or `rumor agent`, or \
             name one with --agent or RUMOR_AGENT.\n"
        )
    );
}

#[test]
fn a_command_line_without_sense_is_refused_with_exit_code_2() {
    for arguments in [&["bogus"][..], &["publish"], &["members", "--state", "asleep"], &["fault", "loss", "2"]] {
        let (code, error) = failure(arguments);
        assert_eq!((code, &error["code"]), (2, &"usage".into()), "{arguments:?}");
    }
}

#[test]
fn settings_without_sense_are_refused_with_field_value_and_rule() {
    for (arguments, field, value) in [
        (&["agent", "--set", "fanuot=3"][..], "fanuot", "3"),
        (&["agent", "--set", "probe_timeout=3s"], "probe_timeout", "3s"),
        (&["agent", "--mode", "sideways"], "mode", "sideways"),
        (&["agent", "--bind", "0.0.0.0:4747"], "bind", "0.0.0.0:4747"),
        (&["agent", "--http", "0.0.0.0:4748"], "http", "0.0.0.0:4748"),
        (&["agent", "--insecure", "--allow-faults", "--bind", "0.0.0.0:0"], "allow_faults", "true"),
        (&["dev", "--fanout", "0"], "fanout", "0"),
        (&["config", "show", "--set", "mtu_bytes=1"], "mtu_bytes", "1"),
        (&["config", "show", "--set", "stop=median-counter:3"], "stop", "median-counter:3"),
        (&["lab", "spread", "--loss", "1"], "loss", "1"),
        (&["lab", "spread", "--loss", "-0.1"], "loss", "-0.1"),
        (&["lab", "spread", "--fanout", "0"], "fanout", "0"),
        (&["lab", "spread", "--fanout", "-1"], "fanout", "-1"),
        (&["lab", "sweep", "detection", "--over", "seed=1..2", "--loss", "-1"], "loss", "-1"),
        (&["lab", "plan", "--nodes", "9", "--loss", "-0.1", "--deadline", "1s"], "loss", "-0.1"),
        (&["lab", "spread", "--fanout", "NaN"], "fanout", "NaN"),
        (&["lab", "spread", "--nodes", "1"], "nodes", "1"),
        (&["lab", "spread", "--runs", "0"], "runs", "0"),
        (&["lab", "spread", "--connection-limit", "0"], "connection-limit", "0"),
        (&["lab", "spread", "--hunt", "1"], "hunt", "1"),
        (&["lab", "spread", "--mode", "push", "--stop", "median-counter:3"], "stop", "median-counter:3"),
    ] {
        let (code, error) = failure(arguments);
        let said = [&error["code"], &error["field"], &error["value"]].map(|text| text.as_str().unwrap_or("null"));
        assert_eq!((code, said), (2, ["value", field, value]), "{arguments:?}");
        assert!(error["rule"].is_string(), "{arguments:?}");
    }
}

#[test]
fn a_whole_number_below_zero_or_beyond_its_kind_is_refused_with_the_range() {
    for (flag, value, most) in [("--nodes", "-1", "18446744073709551615"), ("--connection-limit", "65536", "65535")] {
        let (code, error) = failure(&["lab", "spread", flag, value]);
        let said = error["message"].as_str().unwrap();
        assert_eq!(code, 2);
        for part in [flag, value, &format!("must be a whole number from 0 to {most}")] {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    let (code, error) =
        failure(&["agent", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--name", &"x".repeat(129)]);
    assert_eq!((code, &error["field"]), (2, &"name".into()));
}

#[test]
fn a_port_in_use_is_refused_by_name() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = udp.local_addr().unwrap().to_string();
    let (code, error) = failure(&["agent", "--bind", &taken, "--http", "127.0.0.1:0"]);
    assert_eq!((code, &error["field"], &error["code"]), (2, &"bind".into(), &"in_use".into()));

    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap().to_string();
    let (code, error) = failure(&["agent", "--bind", "127.0.0.1:0", "--http", &taken]);
    assert_eq!((code, &error["field"], &error["value"]), (2, &"http".into(), &taken.into()));
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let _holder = Agent::start("holder", &["--data-dir", path]);
    let (code, error) = failure(&["agent", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", path]);
    assert_eq!((code, &error["field"], &error["code"]), (2, &"data_dir".into(), &"in_use".into()));
}

#[test]
fn config_check_tells_good_files_from_bad_ones() {
    let directory = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let path = directory.path().join("rumor.toml");
        std::fs::write(&path, text).unwrap();
        run(&["config", "check", path.to_str().unwrap(), "--json"]).status.code().unwrap()
    };
    assert_eq!(check("fanout = 4\n[tags]\nrack = \"7\"\n"), 0);
    assert_eq!(check("fanout = 400\n"), 2);
    assert_eq!(check("fanout = = 4\n"), 2);
    assert_eq!(check(&text(&run(&["config", "default", "--preset", "wan"]).stdout)), 0);
}

#[test]
fn config_show_says_where_each_value_comes_from() {
    let output = run(&["config", "show", "--set", "fanout=4", "--json"]);
    let settings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let fanout = settings.iter().find(|setting| setting["key"] == "fanout").unwrap();
    let said = ["value", "default", "unit", "set_by"].map(|key| fanout[key].to_string());
    assert_eq!(said, ["4", "3", "\"peers\"", "\"flag\""]);
}

#[test]
fn a_contact_of_another_cluster_is_refused_and_both_sides_say_why() {
    for view in ["full", "partial"] {
        let contact = Agent::start("n1", &["--view", view]);
        let stranger = Agent::join("n2", &contact, &["--view", view, "--cluster", "other"]);
        for agent in [&contact, &stranger] {
            agent.follow(&["logs"]).wait_for("a word about another cluster", |line| {
                line["level"] == "warn" && line["message"].as_str().unwrap().contains("belongs to another cluster")
            });
            assert_eq!(agent.ask(&["members"]).as_array().unwrap().len(), 1, "{}", agent.name);
        }
    }
}
