//! Clusters with a key: who has it belongs to them, whoever has not hears and changes nothing.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rumormill::Keyring;
use rumormill::bench::Insider;
use rumormill_core::NodeId;
use serde_json::Value;
use support::{Agent, HASTY, run, text, until_all_know_all, words};
use tempfile::TempDir;

/// Makes a key file.
fn keygen(directory: &TempDir, name: &str, more: &[&str]) -> String {
    let path = directory.path().join(name).display().to_string();
    let output = run(&[&["keygen", &path], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    path
}

/// The hex digits of all secrets in a key file.
fn secrets(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let secret = |line: &str| {
        line.split_once(' ').filter(|(word, _)| ["secret", "key"].contains(word)).map(|(_, hex)| hex.to_owned())
    };
    let found: Vec<String> = text.lines().filter_map(secret).collect();
    assert!(found.len() >= 2, "{path} is no key file");
    found
}

/// How much of this kind an agent did not open.
fn unsealed(agent: &Agent, cause: &str) -> u64 {
    agent.ask(&["info"])["unsealed"][cause].as_u64().unwrap()
}

fn alive(agent: &Agent) -> Vec<String> {
    let members = agent.ask(&["members", "--state", "alive"]);
    members.as_array().unwrap().iter().map(|member| member["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_key_is_made_once_and_shown_to_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = keygen(&directory, "key", &[]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let before = fs::read(&path).unwrap();
    let (code, said, complaint) = words(&run(&["keygen", &path]));
    assert_eq!((code, said.as_str()), (2, ""));
    assert!(complaint.contains("must be a new file"), "{complaint}");
    assert_eq!(fs::read(&path).unwrap(), before);

    // The next key has the same secret, and another key.
    let next = keygen(&directory, "next", &["--from", &path]);
    assert_eq!(secrets(&path)[0], secrets(&next)[0]);
    assert_ne!(secrets(&path)[1], secrets(&next)[1]);

    // Without a file it goes to stdout, for a store of secrets to take.
    let printed = run(&["keygen"]);
    let copy = directory.path().join("copy");
    fs::write(&copy, &printed.stdout).unwrap();
    assert_eq!(secrets(copy.to_str().unwrap()).len(), 2);
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = keygen(&directory, "key", &[]);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let start = ["agent", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--key-file", &path];
    let (code, said, complaint) = words(&run(&start));
    assert_eq!((code, said.as_str()), (2, ""));
    let command = complaint.split('`').nth(1).unwrap();
    assert!(command.starts_with("chmod 06") && command.ends_with(&path), "{complaint}");
    for secret in secrets(&path) {
        assert!(!complaint.contains(&secret));
    }
    assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
    let mended = Agent::start("n1", &["--key-file", &path]);
    assert_eq!(mended.ask(&["info"])["sealed"], true);

    let (code, _, complaint) = words(&run(&[&start[..6], &["/nowhere/key"]].concat()));
    assert!(code == 2 && complaint.contains("key_file is /nowhere/key"), "{complaint}");
}

#[test]
fn five_with_a_key_are_a_cluster_and_whoever_has_none_hears_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let key = keygen(&directory, "key", &[]);
    let sealed = [&HASTY[..], &["--key-file", &key]].concat();
    let first = Agent::start("n1", &sealed);
    let others: Vec<Agent> = (2..=5).map(|n| Agent::join(&format!("n{n}"), &first, &sealed)).collect();
    let all: Vec<&Agent> = std::iter::once(&first).chain(&others).collect();
    until_all_know_all(&all);
    let news = all[4].follow(&["subscribe", "news", "--count", "1"]);
    first.ask(&["put", "color", "green", "--replicas", "4"]);
    assert_eq!(all[3].ask(&["get", "color"])["value"], "green");

    // Strangers: without a key, with another cluster's, with the next key, which nobody has yet, and of another cluster's name.
    let foreign = keygen(&directory, "foreign", &[]);
    let next = keygen(&directory, "next", &["--from", &key]);
    let strangers: [&[&str]; 4] =
        [&[], &["--key-file", &foreign], &["--key-file", &next], &["--key-file", &key, "--cluster", "elsewhere"]];
    for arguments in strangers {
        let before = unsealed(&first, "handshakes");
        let stranger = Agent::join("stranger", &first, &[arguments, &["--set", "log_level=info"]].concat());
        let log = stranger.follow(&["logs"]);
        log.wait_for("a refusal", |line| {
            let said = line["message"].as_str().unwrap_or_default().to_owned();
            said.contains(&first.gossip) && (arguments.is_empty() || said.contains("no key in common"))
        });
        assert!(unsealed(&first, "handshakes") > before, "{arguments:?}");
        assert_eq!(alive(&stranger), ["stranger"]);
        stranger.ask(&["put", "color", "red"]);
    }
    assert_eq!(all[2].ask(&["get", "color"])["value"], "green");
    for agent in &all {
        assert_eq!(alive(agent), ["n1", "n2", "n3", "n4", "n5"]);
    }
    first.ask(&["publish", "news", "ours alone"]);
    assert_eq!(news.next()["payload"], "ours alone");
}

/// A ping as a node writes it before it is sealed, from a member that nobody knows.
fn ping(target: NodeId) -> Vec<u8> {
    let mut ping = vec![0; 42];
    ping[4..12].copy_from_slice(&STRANGER.0.to_le_bytes());
    ping[12..20].copy_from_slice(&target.0.to_le_bytes());
    (ping[30], ping[31]) = (0x10, 1);
    ping
}

const STRANGER: NodeId = NodeId(0xbad);

#[test]
fn a_sender_without_the_key_gets_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let path = keygen(&directory, "key", &[]);
    let agent = Agent::start("n1", &["--key-file", &path]);
    let id: NodeId = agent.ask(&["info"])["id"].as_str().unwrap().parse().unwrap();
    let mut insider = Insider::new(&Keyring::read(Path::new(&path)).unwrap(), STRANGER);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut buffer = [0; 2_000];

    // Who has the key is answered: what follows is silence for a reason.
    socket.send_to(&insider.seal(&ping(id)), &agent.gossip).unwrap();
    socket.recv(&mut buffer).unwrap();
    let causes = || agent.ask(&["info"])["unsealed"].as_object().unwrap().clone();
    let all = || causes().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    let (before, forged) = (all(), unsealed(&agent, "forged"));
    let genuine = insider.seal(&ping(id));
    let mut sent = 0;
    let mut send = |bytes: &[u8]| {
        socket.send_to(bytes, &agent.gossip).unwrap();
        sent += 1;
    };
    // Every byte bent in turn: cluster, key, session, counter, flags, content and tag.
    for place in 0..genuine.len() {
        let mut bent = genuine.clone();
        bent[place] ^= 1;
        send(&bent);
    }
    for length in [0, 1, 17, 35, genuine.len() - 1] {
        send(&genuine[..length]);
    }
    let unsealed_pings = [ping(id), ping(NodeId::NONE)];
    for ping in &unsealed_pings {
        send(ping);
    }

    // Datagrams are handled in turn: the answer to this one would come after any to those.
    let last = Instant::now() + Duration::from_secs(30);
    while all() < before + sent {
        assert!(Instant::now() < last, "{sent} more than {before}: {:?}", causes());
    }
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut buffer).is_err(), "somebody answered");
    assert!(unsealed(&agent, "forged") > forged + 40, "few got as far as the seal: {:?}", causes());
    assert_eq!(alive(&agent), ["n1"]);
}

#[test]
fn no_key_is_in_logs_documents_or_the_list_of_processes() {
    let directory = tempfile::tempdir().unwrap();
    let key = keygen(&directory, "key", &[]);
    let mut command = Agent::command_line("n1", &["--key-file", &key, "--set", "log_level=trace"]);
    let log = directory.path().join("log");
    command.stderr(fs::File::create(&log).unwrap());
    let agent = Agent::of(command);
    let process = PathBuf::from(format!("/proc/{}", agent.process.child.id()));
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let mut shown = vec![read(&process.join("cmdline")), read(&process.join("environ"))];
    for document in ["info", "members"] {
        shown.push(agent.ask(&[document]).to_string());
    }
    shown.push(text(&run(&["config", "show", "--set", &format!("key_file={key}")]).stdout));
    shown.push(read(&log));
    for secret in secrets(&key) {
        for text in &shown {
            assert!(!text.contains(&secret[..16]), "{text}");
        }
    }
}

#[test]
fn a_cluster_to_try_things_with_is_sealed_with_a_key_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let dev = support::rumor(&["dev", "--nodes", "2", "--http-port", "0", "--data-dir", data, "--json"]);
    let dev = support::Lines::of(dev);
    let ready = dev.wait_for("the cluster", |line| line["event"] == "ready");
    let http = ready["nodes"][1]["http"].as_str().unwrap();
    let info: Value = serde_json::from_str(&text(&run(&["info", "--json", "--agent", http]).stdout)).unwrap();
    assert_eq!(info["sealed"], true);
    assert_eq!(fs::metadata(directory.path().join("cluster.key")).unwrap().mode() & 0o7777, 0o600);
    dev.signal("TERM");
    dev.wait_for_end();
}

/// The id of the first key in a key file.
fn id_of(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    let comment = text.lines().filter_map(|line| line.strip_prefix("# ")).find(|comment| comment.len() == 16);
    comment.unwrap().to_owned()
}

/// How many members accept a key, and how many use it.
fn standing(agent: &Agent, id: &str) -> (u64, u64) {
    let keys = agent.ask(&["keys", "list"]);
    let key = keys.as_array().unwrap().iter().find(|key| key["id"] == id);
    key.map_or((0, 0), |key| (key["members"].as_u64().unwrap(), key["used_by"].as_u64().unwrap()))
}

#[test]
fn a_key_is_changed_under_load_without_a_message_lost_and_who_was_off_finds_back() {
    let directory = tempfile::tempdir().unwrap();
    let first = keygen(&directory, "first", &[]);
    let second = keygen(&directory, "second", &["--from", &first]);
    let (old, new) = (id_of(&first), id_of(&second));
    let data = |name: &str| directory.path().join(name).display().to_string();
    let start = |name: &str, contact: Option<&Agent>, key: &str| {
        let data = data(name);
        let mut arguments = vec!["--key-file", key, "--data-dir", &data, "--set", "log_level=info"];
        arguments.extend(HASTY);
        arguments.extend(["--set", "rejoin_interval=200ms"]);
        contact.map_or_else(|| Agent::start(name, &arguments), |contact| Agent::join(name, contact, &arguments))
    };
    let n1 = start("n1", None, &first);
    let [n2, n3, mut off] = ["n2", "n3", "off"].map(|name| start(name, Some(&n1), &first));
    until_all_know_all(&[&n1, &n2, &n3, &off]);
    off.process.kill();
    n1.wait_for("failed", &off);

    // Nobody has the new key yet.
    let (code, _, complaint) = n1.said(&["keys", "use", &new]);
    assert!(code == 1 && complaint.contains("no key"), "{complaint}");
    let news = [&n2, &n3].map(|agent| agent.follow(&["subscribe", "news", "--history", "1000"]));
    let done = Arc::new(AtomicBool::new(false));
    let load = {
        let (http, done) = (n1.http.clone(), Arc::clone(&done));
        std::thread::spawn(move || publish_until(&http, &done))
    };
    let added = n1.ask(&["keys", "add", &second]);
    assert_eq!((&added["id"], &added["members"], &added["of"]), (&new.as_str().into(), &3.into(), &3.into()));
    assert_eq!((standing(&n2, &old), standing(&n2, &new)), ((3, 3), (3, 0)));
    let (code, _, complaint) = n1.said(&["keys", "remove", &old]);
    assert!(code == 1 && complaint.contains("n1, n2, n3"), "{complaint}");
    n2.ask(&["keys", "use", &new[..6]]);
    assert_eq!((standing(&n3, &old), standing(&n3, &new)), ((3, 0), (3, 3)));
    n3.ask(&["keys", "remove", &old]);
    assert_eq!((standing(&n1, &old), standing(&n1, &new)), ((0, 0), (3, 3)));
    done.store(true, Ordering::Relaxed);
    let published = load.join().unwrap();
    for news in &news {
        for sequence in 1..=published {
            let line = news.next();
            assert_eq!((line["missed"].is_null(), &line["sequence"]), (true, &sequence.to_string().into()), "{line}");
        }
    }

    // It comes back with a key that nobody accepts any more, and says so.
    let mut back = start("off", Some(&n1), &first);
    let log = back.follow(&["logs"]);
    log.wait_for("a refusal", |line| line["message"].as_str().unwrap_or_default().contains("no key in common"));
    assert!(back.ask(&["info"])["sealing"]["refused_by"].is_string());
    assert!(back.said(&["info"]).1.contains("ended the stream before it answered: no key in common"));
    assert_eq!(alive(&n1), ["n1", "n2", "n3"]);
    back.process.kill();

    // The present key file is the way back in; who took part needs none, whatever its key file says.
    let back = start("off", None, &second);
    back.wait_for_each("joined", &[&n1, &n2, &n3]);
    let mut n2 = n2;
    n2.process.kill();
    let n2 = start("n2", None, &first);
    n2.wait_for_each("joined", &[&n1, &n3, &back]);
    assert_eq!(n2.ask(&["info"])["sealing"]["key"], new.as_str());
    assert_eq!(standing(&back, &new), (4, 4));
}

/// Publishes one message after the other, and says how many.
fn publish_until(http: &str, done: &AtomicBool) -> usize {
    let mut published = 0;
    while !done.load(Ordering::Relaxed) || published == 0 {
        let output = run(&["publish", "news", &published.to_string(), "--agent", http]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        published += 1;
    }
    published
}

#[test]
fn a_key_is_used_only_once_all_have_it_and_another_clusters_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let first = keygen(&directory, "first", &[]);
    let second = keygen(&directory, "second", &["--from", &first]);
    let (old, new) = (id_of(&first), id_of(&second));
    // A member that has no place for one more.
    let mut keys = fs::read_to_string(&first).unwrap();
    let mut ids = vec![old[..2].to_owned(), new[..2].to_owned()];
    while ids.len() < 9 {
        let more = text(&run(&["keygen", "--from", &first]).stdout);
        let path = directory.path().join("more").display().to_string();
        fs::write(&path, &more).unwrap();
        let id = id_of(&path)[..2].to_owned();
        if !ids.contains(&id) {
            keys.push_str(more.lines().find(|line| line.starts_with("key ")).unwrap());
            keys.push('\n');
            ids.push(id);
        }
    }
    let full = directory.path().join("full");
    fs::write(&full, keys).unwrap();
    fs::set_permissions(&full, Permissions::from_mode(0o600)).unwrap();
    let n1 = Agent::start("n1", &["--key-file", &first]);
    let n2 = Agent::join("n2", &n1, &["--key-file", full.to_str().unwrap()]);
    until_all_know_all(&[&n1, &n2]);

    let (code, said, complaint) = n1.said(&["keys", "add", &second]);
    assert_eq!((code, said), (1, format!("1 of 2 members accept key {new}\n")));
    assert!(complaint.contains("n2 does not: it accepts 8 keys already"), "{complaint}");
    let (code, _, complaint) = n1.said(&["keys", "use", &new]);
    assert!(code == 1 && complaint.contains(&format!("not known to have key {new}: n2")), "{complaint}");
    assert_eq!(standing(&n1, &old), (2, 2));
    n2.ask(&["keys", "remove", &ids[8]]);
    n1.ask(&["keys", "add", &second]);
    n1.ask(&["keys", "use", &new]);
    let (code, _, complaint) = n1.said(&["keys", "remove", &new, "--force"]);
    assert!(code == 1 && complaint.contains("n1, n2"), "{complaint}");

    let (code, _, complaint) = n1.said(&["keys", "add", &keygen(&directory, "foreign", &[])]);
    assert!(code == 1 && complaint.contains("a key of this cluster"), "{complaint}");
    let plain = Agent::start("plain", &[]);
    let (code, _, complaint) = plain.said(&["keys", "list"]);
    assert!(code == 1 && complaint.contains("nothing is sealed"), "{complaint}");
}
