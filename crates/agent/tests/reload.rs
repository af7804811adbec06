//! Settings that an agent reads again while it runs: by a signal, by command, and with errors in them.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Agent, HASTY, Lines, until_all_know_all};
use tempfile::TempDir;

/// The config file of an agent, which is rewritten while that runs.
struct Config {
    directory: TempDir,
    path: PathBuf,
}

impl Config {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rumor.toml");
        fs::write(&path, text).unwrap();
        Self { directory, path }
    }

    /// An agent with this config, and these flags over it.
    fn agent(&self, name: &str, more: &[&str]) -> Agent {
        Agent::start(name, &[&["--config", self.path.to_str().unwrap()], more].concat())
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    /// A file that only its owner can read.
    fn private(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

/// What a reload by signal says in the log.
fn hang_up(agent: &Agent, log: &Lines) -> String {
    agent.process.signal("HUP");
    next_word(log)
}

fn next_word(log: &Lines) -> String {
    let is_it = |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("the settings "));
    log.wait_for("a word about the settings", is_it)["message"].as_str().unwrap().to_owned()
}

fn own_tags(agent: &Agent) -> Value {
    let members = agent.ask(&["members"]);
    members.as_array().unwrap().iter().find(|member| member["self"] == true).unwrap()["tags"].clone()
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_signal_has_an_agent_take_over_what_can_be_and_name_what_cannot() {
    let config = Config::new("payload_bytes_max = 1000\n[tags]\nrole = \"db\"\nzone = \"a\"\n");
    let agent = config.agent("n1", &[]);
    let other = Agent::join("n2", &agent, &[]);
    until_all_know_all(&[&agent, &other]);
    let log = agent.follow(&["logs", "--level", "info"]);
    agent.ask(&["tags", "set", "by=hand"]);
    assert!(hang_up(&agent, &log).contains("nothing that can be taken over has changed"));
    assert_eq!(own_tags(&agent), json!({ "role": "db", "zone": "a", "by": "hand" }));

    config.write("payload_bytes_max = 4\nprobe_interval = \"2s\"\n[tags]\nrole = \"web\"\n");
    agent.process.signal("HUP");
    log.wait_for("what takes a restart", |line| {
        line["message"] == "probe_interval is 1s and 2s in the settings: that takes a restart"
    });
    log.wait_for("what has changed", |line| {
        line["message"] == "the settings were read again; changed: tags, payload_bytes_max"
    });
    assert_eq!(own_tags(&agent), json!({ "role": "web", "by": "hand" }));
    other.process.wait_for("the tags at the other", |line| line["member"]["tags"]["role"] == "web");
    let (code, _, err) = agent.said(&["publish", "news", "larger"]);
    assert!(code == 1 && err.contains("at most 4 bytes"), "{code}: {err}");
    agent.ask(&["publish", "news", "less"]);

    // It tells again what was not taken over, and only that.
    assert_eq!(agent.ask(&["reload"]), json!({ "changed": [], "kept": ["probe_interval"] }));
    let (code, out, err) = agent.said(&["reload"]);
    assert_eq!((code, out.as_str()), (0, "nothing has changed\n"));
    assert!(err.contains("probe_interval"), "{err}");
}

#[test]
fn settings_with_an_error_change_nothing_and_the_error_is_named() {
    let config = Config::new("fanout = 3\n[tags]\nrole = \"db\"\n");
    let agent = config.agent("n1", &[]);
    let log = agent.follow(&["logs", "--level", "error"]);
    for (text, word) in [
        ("fanout = 65\n[tags]\nrole = \"web\"\n", "fanout is 65, must be from 1 to 64"),
        ("fanuot = 5\n[tags]\nrole = \"web\"\n", "fanuot is 5, must be a setting that exists, perhaps fanout"),
        ("fanout = 5\njoin = [\"host:port\"]\n[tags]\nrole = \"web\"\n", "join is \"host:port\", must be"),
        ("fanout = 5\n[tags\nrole = \"web\"\n", "must be TOML"),
        (
            "fanout = 5\nhttp_token_file = \"/nowhere/token\"\n[tags]\nrole = \"web\"\n",
            "http_token_file is /nowhere/token, must be",
        ),
        ("fanout = 5\n[[on]]\ntopic = \"t\"\n[tags]\nrole = \"web\"\n", "on[0].command is none, must be"),
    ] {
        config.write(text);
        let said = hang_up(&agent, &log);
        assert!(said.starts_with("the settings stay as they are: ") && said.contains(word), "{said}");
        let (code, _, err) = agent.said(&["reload"]);
        assert!(code == 1 && err.contains(word), "{code}: {err}");
        assert_eq!(next_word(&log), said);
    }
    assert_eq!(own_tags(&agent), json!({ "role": "db" }));
    fs::remove_file(&config.path).unwrap();
    assert!(hang_up(&agent, &log).contains("must be a file that can be read"));
    config.write("fanout = 5\n");
    assert_eq!(agent.ask(&["reload"]), json!({ "changed": ["tags", "fanout"], "kept": [] }));
}

#[test]
fn a_new_token_is_asked_for_at_once_and_one_that_cannot_be_read_leaves_the_old() {
    let [old, new] = ["0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"];
    let config = Config::new("");
    let token = config.private("token", old);
    config.write(&format!("http_token_file = \"{}\"\n", token.display()));
    let agent = config.agent("n1", &[]);
    let status = |word: &str, method: &str, path: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {word}");
        let answer = agent.http(&format!("{head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"));
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(status(old, "POST", "/v1/reload"), 422);
    fs::remove_file(&token).unwrap();
    assert_eq!(status(old, "POST", "/v1/reload"), 422);
    assert_eq!(status(old, "GET", "/v1/info"), 200, "the old one is in force");
    config.private("token", new);
    assert_eq!(status(old, "POST", "/v1/reload"), 200);
    assert_eq!((status(old, "GET", "/v1/info"), status(new, "GET", "/v1/info")), (401, 200));
}

/// A certificate for this machine and its key; it vouches for itself.
fn certify(config: &Config) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    config.private("key", &made.signing_key.serialize_pem());
    config.private("cert", &made.cert.pem());
    made.cert.pem()
}

#[test]
fn certificates_that_were_renewed_are_shown_to_the_next_client() {
    let config = Config::new("");
    let first = config.private("first", &certify(&config));
    let path = |name: &str| config.directory.path().join(name).display().to_string();
    config.write(&format!("http_cert_file = \"{}\"\nhttp_key_file = \"{}\"\n", path("cert"), path("key")));
    let agent = config.agent("n1", &[]);
    let reaches = |trusted: &Path| agent.said(&["info", "--ca-file", trusted.to_str().unwrap()]).0 == 0;
    let second = config.private("second", &certify(&config));
    assert!(reaches(&first) && !reaches(&second));
    let reload = ["reload", "--ca-file", first.to_str().unwrap()];
    assert_eq!(agent.ask(&reload), json!({ "changed": ["http_cert_file"], "kept": [] }));
    assert!(!reaches(&first) && reaches(&second));
    fs::write(path("cert"), "no certificate").unwrap();
    let (code, _, err) = agent.said(&["reload", "--ca-file", second.to_str().unwrap()]);
    assert!(code == 1 && err.contains("http_cert_file"), "{code}: {err}");
    assert!(reaches(&second), "what cannot be read changes nothing");
}

#[test]
fn handlers_come_and_go_and_those_that_stay_lose_nothing() {
    let config = Config::new("");
    let told = config.directory.path().join("told");
    let entry = |topic: &str, word: &str| {
        format!("[[on]]\ntopic = \"{topic}\"\ncommand = 'echo \"{word} $(cat)\" >> {}'\n", told.display())
    };
    let stays = entry("a", "stays");
    config.write(&[stays.clone(), entry("b", "goes")].concat());
    let agent = config.agent("n1", &[]);
    let lines = || fs::read_to_string(&told).unwrap_or_default().lines().map(ToOwned::to_owned).collect::<Vec<_>>();
    agent.ask(&["publish", "b", "0"]);
    until("the first entry ran", || lines() == ["goes 0"]);
    config.write(&[entry("c", "came"), stays].concat());
    for number in 1..=5 {
        agent.ask(&["publish", "a", &number.to_string()]);
    }
    assert_eq!(agent.ask(&["reload"])["changed"], json!(["on"]));
    agent.ask(&["publish", "b", "6"]);
    until("all of the entry that stays", || lines().len() >= 6);
    // A subscription takes a moment to be in force; then each message gets there.
    until("what the new entry is for", || {
        agent.ask(&["publish", "c", "7"]);
        lines().contains(&"came 7".to_owned())
    });
    let said = lines();
    let stayed: Vec<&String> = said.iter().filter(|line| line.starts_with("stays")).collect();
    assert_eq!(stayed, ["stays 1", "stays 2", "stays 3", "stays 4", "stays 5"]);
    assert!(!said.contains(&"goes 6".to_owned()), "{said:?}");
}

#[test]
fn the_log_changes_its_form_and_its_level_and_each_line_in_json_is_a_document() {
    let config = Config::new("log = \"text\"\nlog_level = \"error\"\n");
    let mut command =
        support::rumor(&["agent", "--json", "--name", "n1", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.args(["--config", config.path.to_str().unwrap()]);
    let log = config.directory.path().join("log");
    command.stderr(Stdio::from(fs::File::create(&log).unwrap()));
    let agent = Agent::of(command);
    let text = || fs::read_to_string(&log).unwrap();
    config.write("log = \"text\"\nlog_level = \"info\"\n");
    agent.ask(&["reload"]);
    until("a line for people", || text().ends_with("changed: log_level\n"));
    let before = text().len();
    assert_eq!(text().lines().count(), 1, "nothing below an error was logged before: {}", text());

    config.write("log = \"json\"\nlog_level = \"debug\"\n");
    agent.ask(&["reload"]);
    let mut other = Agent::join("n2", &agent, &HASTY);
    until_all_know_all(&[&agent, &other]);
    other.process.kill();
    agent.wait_for("failed", &other);
    until("the failure in the log", || text().contains("n2 is dead"));
    let lines: Vec<Value> = text()[before..].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let level = line["level"].as_str().unwrap();
        assert!(["error", "warn", "info", "debug"].contains(&level), "{line}");
        assert!(line["at"].is_f64() && line["message"].is_string() && line["fields"].is_object(), "{line}");
    }
    assert!(lines.iter().any(|line| line["level"] == "warn"), "{lines:?}");
}

#[test]
fn contacts_come_and_go_with_the_settings() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let join = |contact: &str| format!("join = [\"{contact}\"]\n");
    let config = Config::new(&join(&nobody));
    let agent = config.agent("n1", &[]);
    let log = agent.follow(&["logs"]);
    let tried = |line: &Value| {
        line["message"].as_str().is_some_and(|text| text.contains(&nobody) && text.contains("tried again"))
    };
    log.wait_for("a try", tried);
    let other = Agent::start("n2", &[]);
    config.write(&join(&other.gossip));
    assert_eq!(agent.ask(&["reload"])["changed"], json!(["join"]));
    until_all_know_all(&[&agent, &other]);
    // Without any it goes on as it is.
    config.write("");
    assert_eq!(agent.ask(&["reload"])["changed"], json!(["join"]));
    log.wait_for("that there are none", |line| line["message"] == "contacts are now none");
}
