//! The database, used from the command line and over HTTP, on agents that are cut off, killed and started again.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Agent, HASTY, Lines, rumor, until_all_know_all, words};

/// Runs a client command with something on its standard input.
fn said_with_input(agent: &Agent, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut command = agent.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who refuses before it has read all closes the pipe.
    child.stdin.take().unwrap().write_all(input).ok();
    words(&child.wait_with_output().unwrap())
}

/// What an agent holds: keys with their kinds and values.
fn held(agent: &Agent) -> Vec<(String, Value)> {
    let list = agent.ask(&["list"]);
    let pair = |entry: &Value| (entry["key"].as_str().unwrap().to_owned(), entry["value"].clone());
    list.as_array().unwrap().iter().map(pair).collect()
}

/// Waits until an agent holds exactly this.
fn until_held(agent: &Agent, expected: &[(&str, Value)]) {
    let expected: Vec<(String, Value)> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut last = Vec::new();
    // Whatever changes after the first look is told here.
    let watch = agent.follow(&["watch", "--since", &position_of_list(agent)]);
    loop {
        let now = held(agent);
        if now == expected {
            return;
        }
        if now == last {
            watch.next();
        }
        last = now;
    }
}

#[test]
fn agents_of_dev_share_what_any_of_them_is_given() {
    let dev = Lines::of(rumor(&["dev", "--nodes", "4", "--http-port", "0", "--json"]));
    let ready = dev.next();
    let agents: Vec<&str> =
        ready["nodes"].as_array().unwrap().iter().map(|node| node["http"].as_str().unwrap()).collect();
    let run = |agent: usize, arguments: &[&str]| {
        words(&rumor(&[arguments, &["--agent", agents[agent]]].concat()).output().unwrap())
    };
    let mut watching = rumor(&["watch", "--json", "--agent", agents[3]]);
    watching.stderr(Stdio::null());
    let watch = Lines::of(watching);
    let (code, out, _) = run(0, &["put", "color", "green", "--replicas", "3"]);
    assert!(code == 0 && out.starts_with("color: held by 3 other nodes after ") && out.ends_with(" ms\n"), "{out}");
    assert_eq!(run(1, &["get", "color"]), (0, "green\n".to_owned(), String::new()));
    assert_eq!(run(2, &["get", "colour"]), (1, String::new(), "rumor: no key \"colour\"\n".to_owned()));
    for (agent, amount, sum) in [(1, "3", "3\n"), (2, "-5", "-2\n"), (0, "7", "5\n")] {
        assert_eq!(run(agent, &["add", "hits", amount, "--replicas", "3"]).1, sum);
    }
    let line = watch.wait_for("the sum at the fourth", |line| line["key"] == "hits" && line["value"] == 5);
    assert_eq!((&line["author"], &line["kind"]), (&"n1".into(), &"counter".into()));
}

#[test]
fn halves_that_were_cut_off_write_on_and_agree_after_the_cut_heals() {
    let arguments = [&HASTY[..], &["--allow-faults", "--set", "rejoin_interval=200ms"]].concat();
    let a = Agent::start("a", &arguments);
    let b = Agent::join("b", &a, &arguments);
    until_all_know_all(&[&a, &b]);
    a.ask(&["put", "color", "green", "--replicas", "1"]);
    a.ask(&["insert", "tags", "both", "--replicas", "1"]);
    a.ask(&["add", "hits", "1", "--replicas", "1"]);
    let watch = b.follow(&["watch"]);

    a.ask(&["fault", "cut", "a", "b"]);
    a.wait_for("failed", &b);
    b.wait_for("failed", &a);
    a.ask(&["add", "hits", "10"]);
    b.ask(&["add", "hits", "100"]);
    a.ask(&["insert", "tags", "of-a"]);
    b.ask(&["remove-element", "tags", "both"]);
    a.ask(&["delete", "color"]);
    b.ask(&["put", "color", "blue"]);
    // Two kinds of one key: the one written last will show.
    b.ask(&["add", "mixed", "5"]);
    a.ask(&["put", "mixed", "x"]);
    // Neither can promise what needs the other.
    let (code, out, error) = a.said(&["put", "shape", "round", "--replicas", "1", "--timeout", "200ms"]);
    let expected = "rumor: shape: held here, in memory, but only 0 of 1 other nodes confirmed it within 200ms; it goes on spreading\n";
    assert_eq!((code, out, error), (3, String::new(), expected.to_owned()));

    a.ask(&["fault", "heal"]);
    let all = [
        ("color", "blue".into()),
        ("hits", 111.into()),
        ("mixed", "x".into()),
        ("shape", "round".into()),
        ("tags", json!(["of-a"])),
    ];
    until_held(&a, &all);
    until_held(&b, &all);
    assert_eq!(b.ask(&["get", "mixed"])["conflict"], json!(["counter"]));
    let warning =
        "conflict: mixed was also written as a counter elsewhere, which this register hides until the key is deleted\n";
    assert_eq!(b.said(&["get", "mixed"]), (0, "x\n".to_owned(), warning.to_owned()));
    b.ask(&["delete", "mixed"]);
    assert_eq!(b.ask(&["add", "mixed", "1"])["value"], 1, "what was hidden is deleted, too");
    watch.wait_for("what came across", |line| line["key"] == "shape" && line["author"] == "a");
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_what_was_missed_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let a = Agent::start("a", &HASTY);
    let mut b = Agent::join("b", &a, &[&HASTY[..], &data].concat());
    until_all_know_all(&[&a, &b]);
    assert_eq!(b.said(&["put", "color", "green"]).1, "color: durable here\n");
    b.ask(&["add", "hits", "2"]);
    assert_eq!(b.ask(&["insert", "tags", "x"])["durable"], true);
    b.process.kill();
    a.wait_for("failed", &b);
    a.ask(&["add", "hits", "3"]);
    a.ask(&["put", "color", "blue"]);

    let b = Agent::start("b", &[&HASTY[..], &data].concat());
    assert_eq!(b.ask(&["get", "tags"])["value"], json!(["x"]));
    until_held(&b, &[("color", "blue".into()), ("hits", 5.into()), ("tags", json!(["x"]))]);
    // It adds to what it added before, not anew.
    assert_eq!(b.ask(&["add", "hits", "1"])["value"], 6);
    let info = b.ask(&["info"]);
    assert_eq!((&info["durable"], &info["data"]["unsaved"]), (&true.into(), &0.into()));
    assert!(info["data"]["bytes"].as_u64().unwrap() > 0);
    assert!(b.said(&["info"]).1.contains(&format!("durable in {}", directory.path().display())));
    let memory_only = a.said(&["info"]).1;
    assert!(memory_only.contains("in memory only, as there is no --data-dir"), "{memory_only}");
}

#[test]
fn a_damaged_store_is_set_aside_and_filled_again_by_peers() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let a = Agent::start("a", &HASTY);
    let mut b = Agent::join("b", &a, &[&HASTY[..], &data].concat());
    until_all_know_all(&[&a, &b]);
    b.ask(&["put", "color", "green"]);
    b.ask(&["add", "hits", "2"]);
    until_held(&a, &[("color", "green".into()), ("hits", 2.into())]);
    b.process.kill();
    let path = directory.path().join("store.redb");
    let mut store = std::fs::read(&path).unwrap();
    let last = store.iter().rposition(|byte| *byte != 0).unwrap();
    store.truncate(last / 2);
    std::fs::write(&path, &store).unwrap();

    let new = Agent::join("b2", &a, &[&HASTY[..], &data].concat());
    assert_ne!(new.id, b.id, "whose boot is not known does not speak again");
    let aside = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    let aside: Vec<_> = aside.filter(|path| std::fs::read(path).is_ok_and(|bytes| bytes == store)).collect();
    assert_eq!(aside.len(), 1, "the damaged file is kept");
    until_held(&new, &[("color", "green".into()), ("hits", 2.into())]);
    assert_eq!(new.ask(&["add", "hits", "1"])["value"], 3);
    new.process.signal("TERM");
    new.process.wait_for_end();
    drop(new);
    let again = Agent::start("b2", &[&HASTY[..], &data].concat());
    until_held(&again, &[("color", "green".into()), ("hits", 3.into())]);
}

/// Linux knows how to lower and raise what a running process may write.
#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_writes_are_refused_and_all_else_goes_on_until_there_is_space() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let a = Agent::start("a", &HASTY);
    let line = Agent::command_line("b", &[&HASTY[..], &data, &["--join", &a.gossip]].concat());
    let mut command = Command::new("sh");
    // A write that the limit stops is then an error rather than the end.
    command.args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#]).arg(line.get_program()).args(line.get_args());
    let b = Agent::of(command);
    until_all_know_all(&[&a, &b]);
    b.ask(&["put", "kept", "1"]);
    let limit = |bytes: &str| {
        let process = b.process.child.id().to_string();
        let limited = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]).status().unwrap();
        assert!(limited.success());
    };
    limit("4096");
    let long = "x".repeat(60_000);
    let (code, out, error) = b.said(&["put", "refused", &long]);
    assert_eq!((code, out.as_str()), (3, ""), "{error}");
    assert!(error.contains("File too large"), "{error}");
    // Gossip and reads go on, with what could not be stored.
    a.ask(&["put", "from a", &long]);
    until_held(&b, &[("from a", long.as_str().into()), ("kept", "1".into())]);
    assert_ne!(b.ask(&["info"])["data"]["unsaved"], 0);
    limit("unlimited");
    b.ask(&["put", "taken", "2"]);
    while b.ask(&["info"])["data"]["unsaved"] != 0 {}
    let mut b = b;
    b.process.kill();
    let b = Agent::start("b", &[&HASTY[..], &data].concat());
    assert_eq!(
        held(&b),
        [("from a", long.as_str().into()), ("kept", "1".into()), ("taken", "2".into())]
            .map(|(key, value): (&str, Value)| (key.to_owned(), value))
    );
}

#[test]
fn a_watch_goes_on_from_a_position_or_says_that_all_must_be_read_again() {
    let (a, b) = (Agent::start("a", &[]), Agent::start("b", &[]));
    a.ask(&["put", "flags/one", "on"]);
    let first = a.follow(&["watch", "flags/", "--since", &position_of_list(&a)]);
    a.ask(&["put", "flags/two", "on", "--ttl", "1s"]);
    a.ask(&["put", "other", "x"]);
    let put = first.next();
    assert_eq!((&put["event"], &put["key"], &put["author"]), (&"put".into(), &"flags/two".into(), &"a".into()));
    let expired = first.next();
    assert_eq!(
        (&expired["event"], &expired["key"], &expired["kind"]),
        (&"expire".into(), &"flags/two".into(), &"register".into())
    );
    assert!(
        [&expired["value"], &expired["version"], &expired["author"]].iter().all(|field| field.is_null()),
        "{expired}"
    );
    drop(first);

    a.ask(&["delete", "flags/one"]);
    let since = put["position"].as_str().unwrap();
    let again = a.follow(&["watch", "flags/", "--since", since]);
    assert_eq!(again.next(), expired);
    assert_eq!(again.next()["event"], "delete");

    let elsewhere = b.follow(&["watch", "--since", since]);
    let reload = elsewhere.next();
    assert_eq!(reload["event"], "reload");
    assert!(reload["key"].is_null() && reload["position"].is_string(), "{reload}");
}

fn position_of_list(agent: &Agent) -> String {
    let answer = get(agent, "/v1/data");
    let header = answer.lines().find_map(|line| line.strip_prefix("rumor-position: ")).unwrap();
    header.to_owned()
}

fn get(agent: &Agent, path: &str) -> String {
    agent.http(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
}

#[test]
fn documents_have_their_documented_fields() {
    let a = Agent::start("a", &[]);
    let keys = |document: &Value| document.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let written = a.ask(&["put", "color", "green"]);
    assert_eq!(keys(&written), "conflict durable elapsed in_memory key replicas version");
    assert_eq!(
        (&written["key"], &written["durable"], &written["replicas"]),
        (&"color".into(), &false.into(), &0.into())
    );
    let got = a.ask(&["get", "color"]);
    assert_eq!(keys(&got), "conflict expires_at key kind value version");
    assert_eq!(got["version"], written["version"]);
    assert_eq!(a.ask(&["add", "hits", "2"])["value"], 2);
    a.ask(&["insert", "tags", "b"]);
    a.ask(&["insert", "tags", "a"]);
    assert_eq!(a.ask(&["get", "tags"])["value"], json!(["a", "b"]));
    assert_eq!(a.ask(&["list", "--keys-only"]), json!(["color", "hits", "tags"]));
    assert_eq!(a.ask(&["list", "nothing"]), json!([]));
    assert_eq!(a.ask(&["list", "ta"])[0]["kind"], "set");
    assert_eq!(a.ask(&["delete", "color"])["version"], Value::Null);

    assert_eq!(said_with_input(&a, &["put", "bytes", "-"], &[0xff, 0]).0, 0);
    let bytes = a.ask(&["get", "bytes"]);
    assert_eq!((&bytes["value_base64"], bytes.get("value")), (&"/wA=".into(), None));
    assert_eq!(a.command(&["get", "bytes", "--raw"]).output().unwrap().stdout, [0xff, 0]);

    for amount in ["9223372036854775807", "9223372036854775807", "9223372036854775807"] {
        // What one node adds stays below 2^64.
        a.command(&["add", "huge", amount]).output().unwrap();
    }
    assert_eq!(a.said(&["get", "huge"]).1, "18446744073709551614\n");
}

#[test]
fn what_people_see() {
    let a = Agent::start("a", &[]);
    assert_eq!(a.said(&["put", "color", "green"]), (0, "color: held here, in memory\n".to_owned(), String::new()));
    assert_eq!(a.said(&["put", "a/b c", "two\nlines"]).0, 0);
    assert_eq!(a.said(&["add", "hits", "-2"]).1, "-2\n");
    assert_eq!(a.said(&["put", "temperature", "-5"]).0, 0);
    assert_eq!(a.said(&["insert", "tags", "-1"]).0, 0);
    assert_eq!(a.said(&["insert", "tags", "x"]).0, 0);
    assert_eq!(a.said(&["get", "tags"]).1, "-1\nx\n");
    assert_eq!(
        a.said(&["list"]),
        (
            0,
            [
                "KEY          KIND      VALUE       EXPIRES",
                "a/b c        register  two\\nlines",
                "color        register  green",
                "hits         counter   -2",
                "tags         set       {-1, x}",
                "temperature  register  -5",
                "",
            ]
            .join("\n"),
            "5 keys\n".to_owned()
        )
    );
    assert_eq!(a.said(&["list", "t", "--keys-only"]).1, "tags\ntemperature\n");
    assert_eq!(a.said(&["remove-element", "tags", "x"]).1, "tags: removed, held here, in memory\n");
    assert_eq!(a.said(&["delete", "color"]).1, "color: deleted, held here, in memory\n");
}

#[test]
fn an_export_is_imported_elsewhere_and_a_bad_line_changes_nothing() {
    let (a, b) = (Agent::start("a", &[]), Agent::start("b", &[]));
    for number in 0..3 {
        a.ask(&["put", &format!("app/{number}"), "x"]);
    }
    a.ask(&["add", "app/hits", "-3"]);
    a.ask(&["insert", "app/tags", "x"]);
    a.ask(&["put", "other", "x"]);
    a.ask(&["put", "app/session", "ann", "--ttl", "1h"]);
    let (code, export, note) = a.said(&["export", "app/"]);
    assert_eq!((code, export.lines().count(), note.as_str()), (0, 6, "exported 6 keys\n"));

    b.ask(&["add", "app/hits", "100"]);
    b.ask(&["add", "count", "1"]);
    let before = held(&b);
    let good: Vec<&str> = export.lines().collect();
    for (line, expected) in [
        (
            "{",
            "line 4: line is {, must be a JSON document with key, kind and value (EOF while parsing an object at column 1)",
        ),
        (r#"{"key": "k", "kind": "list", "value": 1}"#, "line 4: kind is \"list\", must be register, counter or set"),
        (r#"{"key": "", "kind": "counter", "value": 1}"#, "line 4: key is 0 bytes, must be 1 to 512 bytes"),
        (r#"{"key": "k", "kind": "set", "value": [""]}"#, "line 4: element is 0 bytes, must be 1 to 512 bytes"),
        (
            r#"{"key": "count", "kind": "register", "value": "x"}"#,
            "line 4: \"count\" is a counter, which is no register; delete it first",
        ),
        (good[0], "line 4: key is \"app/0\", must be given once (it stands in line 1)"),
    ] {
        let bad = [&good[..2], &["", line], &good[2..]].concat().join("\n");
        let (code, out, error) = said_with_input(&b, &["import", "-"], bad.as_bytes());
        assert_eq!((code, out, error), (1, String::new(), format!("rumor: {expected}; nothing was imported\n")));
        assert_eq!(held(&b), before);
    }
    let (code, _, error) = said_with_input(&b, &["import", "-", "--json"], b"\n{}\n");
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!((code, &error["error"]["line"], &error["error"]["field"]), (1, &2.into(), &"line".into()));

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &export).unwrap();
    let (code, out, _) = b.said(&["import", file.path().to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (0, "imported 6 keys, held here, in memory\n"));
    let without_versions = |agent: &Agent| {
        let mut list = agent.ask(&["list", "app/"]);
        for entry in list.as_array_mut().unwrap() {
            entry["version"].take();
        }
        list
    };
    assert_eq!(without_versions(&b), without_versions(&a));
    assert_eq!(held(&b).len(), 7, "and nothing else");
    let (code, _, error) = b.said(&["import", "/nowhere/at/all"]);
    assert!(
        code == 2 && error.starts_with("rumor: file is /nowhere/at/all, must be a file that can be read"),
        "{error}"
    );
}

#[test]
fn what_breaks_a_rule_is_refused_by_name() {
    let a = Agent::start("a", &["--set", "value_bytes_max=1000", "--set", "data_bytes_max=3000"]);
    a.ask(&["put", "color", "green"]);
    let (long_key, long_value) = ("k".repeat(513), "v".repeat(1_001));
    let before = held(&a);
    for (arguments, code, expected) in [
        (&["put", &*long_key, "v"][..], 1, "key is 513 bytes, must be 1 to 512 bytes"),
        (&["put", "", "v"], 1, "key is 0 bytes, must be 1 to 512 bytes"),
        (&["put", "k", &*long_value], 1, "value is 1001 bytes, must be 0 to 1000 bytes"),
        (&["add", "color", "1"], 1, "\"color\" is a register, which is no counter; delete it first"),
        (&["insert", "color", "x"], 1, "\"color\" is a register, which is no set; delete it first"),
        (&["insert", "tags", &*long_key], 1, "element is 513 bytes, must be 1 to 512 bytes"),
        (&["remove-element", "tags", "x"], 1, "no element \"x\""),
        (&["delete", "colour"], 1, "no key \"colour\""),
        (&["put", "k", "v", "--ttl", "0s"], 1, "ttl is 0s, must be above zero and at most ten years"),
        (&["watch", "--since", "then"], 1, "since is then, must be a position as a list or a line of a watch gives it"),
    ] {
        assert_eq!(a.said(arguments), (code, String::new(), format!("rumor: {expected}\n")), "{arguments:?}");
    }
    let (code, _, error) = said_with_input(&a, &["put", "k", "-"], &vec![0; (1 << 20) + 1]);
    assert_eq!((code, error.as_str()), (2, "rumor: value is 1048577 bytes, must be at most 1048576 bytes\n"));
    let (code, _, error) = a.said(&["add", "hits", "many"]);
    assert!(code == 2 && error.contains("many"), "{error}");
    assert_eq!(held(&a), before);

    let fill = "v".repeat(1_000);
    let codes = [1, 2, 3].map(|number| a.said(&["put", &format!("k{number}"), &fill]));
    assert_eq!(codes.each_ref().map(|(code, ..)| *code), [0, 0, 1]);
    assert!(codes[2].2.starts_with("rumor: the database is full ("), "{}", codes[2].2);
    assert_eq!(a.said(&["delete", "k1"]).0, 0, "deletions are still taken");
}

/// The status, the header fields and the body of an answer.
fn request(agent: &Agent, method: &str, path: &str, fields: &str, body: &str) -> (u16, String, Value) {
    let length = body.len();
    let answer = agent.http(&format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{fields}\r\n{body}"
    ));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn over_http_a_version_is_an_entity_tag_and_a_path_is_a_key() {
    let a = Agent::start("a", &[]);
    let send = |method: &str, path: &str, fields: &str, body: &str| request(&a, method, path, fields, body);
    let (status, head, written) = send("PUT", "/v1/data/x/y", "", "one");
    let tag = format!("\"{}\"", written["version"].as_str().unwrap());
    assert!(status == 200 && head.contains(&format!("etag: {tag}")), "{head}");
    let (status, head, entry) = send("GET", "/v1/data/x%2fy", "", "");
    assert_eq!((status, &entry["key"], &entry["value"]), (200, &"x/y".into(), &"one".into()));
    assert!(head.contains(&format!("etag: {tag}")), "{head}");
    assert_eq!(send("GET", "/v1/data/x/y", &format!("if-none-match: {tag}\r\n"), "").0, 304);

    let if_match = |tag: &str, body: &str| send("PUT", "/v1/data/x/y", &format!("if-match: {tag}\r\n"), body);
    let (status, _, written) = if_match(&tag, "two");
    assert_eq!(status, 200);
    let (status, _, problem) = if_match(&tag, "three");
    assert_eq!((status, &problem["code"], &problem["value"]), (409, &"mismatch".into(), &written["version"]));
    assert_eq!(if_match("1", "three").2["field"], "If-Match");
    assert_eq!(send("PUT", "/v1/data/x/y", "if-none-match: *\r\n", "three").0, 409);
    assert_eq!(send("PUT", "/v1/data/new", "if-none-match: *\r\n", "one").0, 200);
    assert_eq!(send("DELETE", "/v1/data/new", &format!("if-match: {tag}\r\n"), "").0, 409);

    // The last piece of a posted path is the action, whatever the key ends in.
    assert_eq!(send("POST", "/v1/data/x/add/add", "", "4").2["value"], 4);
    assert_eq!(send("GET", "/v1/data/x/add", "", "").2["value"], 4);
    assert_eq!(send("POST", "/v1/data/x%2Fadd", "", "4").2["field"], "action");
    assert_eq!(send("POST", "/v1/data/s/insert", "", "e/1").0, 200);
    assert_eq!(send("GET", "/v1/data/s", "", "").2["value"], json!(["e/1"]));
    assert_eq!(send("POST", "/v1/data/s/remove", "", "e/1").0, 200);
    assert_eq!(send("DELETE", "/v1/data/x/add", "", "").2["version"], Value::Null);
}

#[test]
fn over_http_every_refusal_has_its_status_field_and_rule() {
    let a = Agent::start("a", &["--set", "data_bytes_max=1100000"]);
    a.ask(&["put", "color", "green"]);
    let large = "x".repeat((1 << 20) + 1);
    for (method, path, fields, body, status, code, field) in [
        ("GET", "/v1/data/colour", "", "", 404, "absent", None),
        ("PUT", "/v1/data/%ff", "", "x", 422, "value", Some("key")),
        ("PUT", "/v1/data/a%2", "", "x", 422, "value", Some("key")),
        ("PUT", "/v1/data/", "", "x", 422, "value", Some("key")),
        ("PUT", "/v1/data/k", "", &*large, 413, "value", Some("body")),
        ("PUT", "/v1/data/k", "", &large[1..], 200, "", None),
        ("PUT", "/v1/data/l", "", &large[1..], 507, "full", None),
        ("PUT", "/v1/data/k?ttl=soon", "", "x", 422, "value", Some("ttl")),
        ("PUT", "/v1/data/k?replicas=-1", "", "x", 422, "value", Some("replicas")),
        ("PUT", "/v1/data/k?timeout=2d", "", "x", 422, "value", Some("timeout")),
        ("PUT", "/v1/data/color?replicas=1&timeout=10ms", "", "x", 504, "unconfirmed", Some("replicas")),
        ("DELETE", "/v1/data/color?ttl=1s", "", "", 422, "value", Some("ttl")),
        ("POST", "/v1/data/color/add", "", "1", 409, "wrong_kind", None),
        ("POST", "/v1/data/hits/add", "", "many", 422, "value", Some("amount")),
        ("POST", "/v1/data/hits/multiply", "", "2", 422, "value", Some("action")),
        ("GET", "/v1/watch?since=then", "", "", 422, "value", Some("since")),
        ("GET", "/v1/watch", "last-event-id: then\r\n", "", 422, "value", Some("since")),
        ("POST", "/v1/import", "", "nonsense", 422, "value", Some("line")),
        ("POST", "/v1/import", "", &"\n".repeat(2_200_001), 413, "value", Some("body")),
    ] {
        let (got, _, problem) = request(&a, method, path, fields, body);
        let what = format!("{method} {path}: {problem}");
        assert_eq!((got, problem["code"].as_str().unwrap_or_default()), (status, code), "{what}");
        assert_eq!(problem["field"].as_str(), field, "{what}");
    }
    assert_eq!(a.ask(&["get", "color"])["value"], "x", "what is not confirmed is written nevertheless");
}
