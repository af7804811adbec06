//! Who may speak to an agent over HTTP, and what happens to those who keep still or say too much.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use openmetrics_parser::OpenMetricsValue;
use openmetrics_parser::openmetrics::parse_openmetrics;
use serde_json::Value;
use support::{Agent, rumor, run, words};
use tempfile::TempDir;

const WORD: &str = "0123456789abcdef0123456789abcdef";

fn private(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn setting(key: &str, path: &Path) -> String {
    format!("{key}={}", path.display())
}

/// A request, and the status and the whole of its answer.
fn request(agent: &Agent, head: &str) -> (u16, String) {
    let answer = agent.http(&format!("{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[test]
fn whoever_does_not_know_the_token_is_told_a_word_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let token = private(&directory, "token", WORD);
    let agent = Agent::start("n1", &["--set", &setting("http_token_file", &token)]);
    for path in ["/v1/info", "/metrics", "/v1/openapi.json"] {
        for header in ["", "\r\nauthorization: Bearer 0123", &format!("\r\nauthorization: Basic {WORD}")] {
            let (status, answer) = request(&agent, &format!("GET {path} HTTP/1.1{header}"));
            assert_eq!(status, 401, "{answer}");
            assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
            let problem: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
            assert_eq!(problem["code"], "token", "{answer}");
            assert!(!answer.contains(WORD) && !answer.contains(&agent.id), "{answer}");
        }
        assert_eq!(request(&agent, &format!("GET {path} HTTP/1.1\r\nauthorization: Bearer {WORD}")).0, 200);
    }
    assert_eq!(request(&agent, "GET /health HTTP/1.1").0, 200);
    assert_eq!(request(&agent, "GET /ready HTTP/1.1").0, 200);
    let foreign = format!("GET /v1/info HTTP/1.1\r\norigin: http://evil.example\r\nauthorization: Bearer {WORD}");
    assert_eq!(request(&agent, &foreign).0, 403);

    let (code, out, err) = agent.said(&["info"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("--token-file"), "{err}");
    let info = agent.ask(&["info", "--token-file", token.to_str().unwrap()]);
    assert_eq!(info["name"], "n1");
}

#[test]
fn an_address_that_others_reach_takes_a_token_that_others_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let open = private(&directory, "open", WORD);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let short = private(&directory, "short", "secret");
    let agent = |more: &[&str]| {
        let all = [&["agent", "--bind", "127.0.0.1:0", "--http", "0.0.0.0:0", "--log-level", "error"], more].concat();
        words(&run(&all))
    };
    let (code, _, err) = agent(&[]);
    assert!(
        code == 2 && err.contains("http is 0.0.0.0:0, must be a loopback address, or with http_token_file"),
        "{code}: {err}"
    );
    let (code, _, err) = agent(&["--set", &setting("http_token_file", &open)]);
    assert!(code == 2 && err.contains("chmod 06"), "{code}: {err}");
    let (code, _, err) = agent(&["--set", &setting("http_token_file", &short)]);
    assert!(code == 2 && err.contains("32 to 512") && !err.contains("secret"), "{code}: {err}");
    let (code, _, err) = agent(&["--set", &setting("http_cert_file", &short)]);
    assert!(code == 2 && err.contains("http_key_file is none, must be given where http_cert_file is"), "{code}: {err}");
}

/// A certificate for this machine and its key, as PEM files; it vouches for itself.
fn certificate(directory: &TempDir, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let cert = private(directory, &format!("{name}.cert"), &made.cert.pem());
    (cert, private(directory, &format!("{name}.key"), &made.signing_key.serialize_pem()))
}

#[test]
fn over_tls_an_agent_is_believed_only_with_a_certificate_that_the_client_trusts() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(&directory, "own");
    let (other, other_key) = certificate(&directory, "other");
    let files = |cert: &Path, key: &Path| [setting("http_cert_file", cert), setting("http_key_file", key)];
    let [first, second] = files(&cert, &key);
    let agent = Agent::start("n1", &["--set", &first, "--set", &second]);
    assert!(agent.http.starts_with("https://127.0.0.1:"), "{}", agent.http);
    assert_eq!(agent.ask(&["info", "--ca-file", cert.to_str().unwrap()])["http"], agent.http.as_str());
    let (code, _, err) = agent.said(&["info"]);
    assert!(code == 2 && err.contains("ca_file"), "{code}: {err}");
    let (code, out, err) = agent.said(&["info", "--ca-file", other.to_str().unwrap()]);
    assert!(code == 3 && out.is_empty() && err.contains("certificate"), "{code}: {err}");
    let (code, _, err) = agent.said(&["info", "--agent", &agent.http.replace("https", "http")]);
    assert!(code == 3, "{code}: {err}");
    let [first, second] = files(&cert, &other_key);
    let (code, _, err) =
        words(&run(&["agent", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--set", &first, "--set", &second]));
    assert!(code == 2 && err.contains("must be certificates that fit http_key_file"), "{code}: {err}");
}

#[test]
fn metrics_are_read_by_others_at_their_own_address_without_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let token = private(&directory, "token", WORD);
    let agent = Agent::start("n1", &["--set", &setting("http_token_file", &token), "--set", "metrics=127.0.0.1:0"]);
    let info = agent.ask(&["info", "--token-file", token.to_str().unwrap()]);
    let url = info["metrics"].as_str().unwrap();
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: prometheus.example\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text"), "{head}");
    assert!(page.ends_with("# EOF\n"), "{page}");
    let found = parse_openmetrics(page).unwrap();
    let value = |family: &str, labels: &[&str]| {
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        let sample = found.families[family].get_sample_by_label_values(&labels);
        let value = &sample.unwrap_or_else(|| panic!("{family} of {labels:?} in\n{page}")).value;
        if let OpenMetricsValue::Counter(counter) = value {
            return counter.value.as_f64();
        }
        let OpenMetricsValue::Gauge(value) = value else { panic!("{value:?} in\n{page}") };
        value.as_f64()
    };
    assert_eq!(value("rumor_members", &["alive"]).to_bits(), 1_f64.to_bits());
    assert_eq!(value("rumor_build_info", &[env!("CARGO_PKG_VERSION")]).to_bits(), 1_f64.to_bits());
    assert!(value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(value("process_cpu_seconds", &[]) > 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - value("process_start_time_seconds", &[])) < 120.0);
    for (name, family) in &found.families {
        assert!(family.help.len() > 10 && family.iter_samples().count() > 0, "{name} says what it is");
        assert!(name.starts_with("rumor_") || name.starts_with("process_"), "{name}");
    }
    let (_, answer) = request(&agent, "GET /v1/members HTTP/1.1");
    assert!(answer.contains(" 401 "), "{answer}");
}

/// Reads until the agent closes the connection; what it said.
fn until_closed(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        // What came in was not read to its end.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection stays open: {error}"),
    }
    String::from_utf8(said).unwrap()
}

fn connect(agent: &Agent) -> TcpStream {
    TcpStream::connect(agent.http.strip_prefix("http://").unwrap()).unwrap()
}

/// As in the table of limits.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// The head of a request of so many bytes.
fn head_of(length: usize) -> Vec<u8> {
    let head = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: ";
    format!("{head}{}\r\n\r\n", "x".repeat(length - head.len() - 4)).into_bytes()
}

#[test]
fn whoever_keeps_still_or_says_too_much_is_sent_away() {
    let agent = Agent::start("n1", &[]);
    let silent = connect(&agent);
    let mut slow = connect(&agent);
    slow.write_all(b"GET /health HT").unwrap();
    for (length, status) in [(HEAD_BYTES_MAX - 1, 200), (HEAD_BYTES_MAX + 1, 431)] {
        let mut long = connect(&agent);
        long.write_all(&head_of(length)).unwrap();
        let said = until_closed(long);
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{length} bytes: {said}");
    }
    for still in [silent, slow] {
        let said = until_closed(still);
        assert!(!said.contains("200 OK"), "{said}");
    }
    assert_eq!(request(&agent, "GET /health HTTP/1.1").0, 200);
}

#[test]
fn connections_beyond_the_cap_are_closed_and_room_is_made_again() {
    let agent = Agent::start("n1", &[]);
    let mut held: Vec<TcpStream> = (0..512).map(|_| connect(&agent)).collect();
    // Whoever is let in is not told so: the last of them speaks.
    held.last_mut().unwrap().write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut word = [0; 12];
    held.last_mut().unwrap().read_exact(&mut word).unwrap();
    assert_eq!(&word, b"HTTP/1.1 200");
    assert_eq!(until_closed(connect(&agent)), "");
    drop(held);
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let mut again = connect(&agent);
        again.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok();
        if until_closed(again).starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(Instant::now() < deadline, "no room was made");
    }
}

#[test]
fn the_console_is_given_to_whoever_asks_and_says_nothing_of_the_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let token = private(&directory, "token", WORD);
    let agent = Agent::start("n1", &["--set", &setting("http_token_file", &token)]);
    let (status, page) = request(&agent, "GET / HTTP/1.1");
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("content-type: text/html"), "{page}");
    assert!(!page.contains(&agent.id) && !page.contains(WORD), "{page}");
    for (path, kind) in [("/console/main.js", "text/javascript"), ("/console/style.css", "text/css")] {
        let (status, file) = request(&agent, &format!("GET {path} HTTP/1.1"));
        assert_eq!(status, 200, "{file}");
        assert!(file.contains(&format!("content-type: {kind}")), "{file}");
        assert!(file.contains("content-security-policy: default-src 'self'; "), "{file}");
        assert!(file.contains("x-content-type-options: nosniff"), "{file}");
        let tag = file.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let again = request(&agent, &format!("GET {path} HTTP/1.1\r\nif-none-match: {tag}"));
        assert_eq!(again.0, 304, "{}", again.1);
    }
    // What is no part of the page is asked for a token before anything is said about it.
    for path in ["/console/", "/console/nothing.js", "/console/../v1/info", "//v1/info"] {
        assert_eq!(request(&agent, &format!("GET {path} HTTP/1.1")).0, 401, "{path}");
    }
    assert_eq!(request(&agent, "POST / HTTP/1.1\r\ncontent-length: 0").0, 405);
}

#[test]
fn changes_of_tags_at_the_same_time_are_all_kept() {
    let agent = Agent::start("n1", &[]);
    let keys: Vec<String> = (0..16).map(|number| format!("tag{number}")).collect();
    let setting = |key: &String| {
        let mut command = rumor(&["tags", "set", &format!("{key}=1")]);
        command.env("RUMOR_AGENT", &agent.http).spawn().unwrap()
    };
    let all: Vec<Child> = keys.iter().map(setting).collect();
    for mut child in all {
        assert!(child.wait().unwrap().success());
    }
    let tags = agent.ask(&["members"])[0]["tags"].clone();
    for key in &keys {
        assert_eq!(tags[key], "1", "{key} is lost: {tags}");
    }
}

#[test]
fn a_key_is_not_sent_in_clear() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("next");
    assert!(run(&["keygen", file.to_str().unwrap()]).status.success());
    let (code, _, err) = words(&run(&["keys", "add", file.to_str().unwrap(), "--agent", "http://198.51.100.7:4748"]));
    assert!(code == 2 && err.contains("agent is http://198.51.100.7:4748, must be an agent on this machine"), "{err}");
}
