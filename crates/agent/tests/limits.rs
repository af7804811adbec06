//! The table of limits in `docs/protocol.md` is what an agent shows in `/metrics`, name by name and number by number.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use rumormill_core::{ConfigBuilder, Identity, Node, NodeId, Now};
use support::{Agent, run};

/// Those of which the table names the setting that they follow from, and no number.
const FOLLOW_FROM_SETTINGS: [&str; 3] = ["bandwidth", "bandwidth_urgent", "stream_inboxes"];

/// Limits of the library and of the agent, each with the file, from here, and the test in it that fills it. Those of the core are in
/// `crates/core/tests/caps.rs`.
const FILLED: [(&str, &str, &str); 24] = [
    ("changes_of_one_watch", "../../net/src/data/watch.rs", "large_changes_wait_up_to_a_number_of_bytes"),
    ("ciphers", "../../net/src/seal/tests.rs", "ciphers_of_so_many_sessions_are_kept"),
    ("connections", "../../net/src/streams.rs", "connections_beyond_the_limit_are_closed_and_counted"),
    ("datagrams_held_back", "../../net/src/socket.rs", "what_the_fault_table_holds_back_is_bounded"),
    ("datagrams_unsent", "../../net/src/socket.rs", "what_waits_for_the_socket_is_bounded_and_the_rest_counted"),
    ("events", "../../net/src/events.rs", "a_slow_reader_loses_the_oldest_events_and_is_told_how_many"),
    ("events_of_streams", "../../net/src/streams.rs", "events_that_nobody_takes_fill_their_queue"),
    ("handshakes", "../../net/src/streams.rs", "silent_connections_do_not_keep_out_one_that_speaks"),
    ("http_connections", "http.rs", "connections_beyond_the_cap_are_closed_and_room_is_made_again"),
    ("imports", "../src/http/turn.rs", "another_is_turned_away_until_the_first_has_ended"),
    ("keys", "../../net/src/keyring/holder.rs", "what_is_unknown_or_too_much_changes_nothing"),
    ("lab_runs", "lab_page.rs", "one_run_at_a_time_has_the_place_until_nobody_listens"),
    ("lines_of_one_query", "../../net/src/desk.rs", "answers_that_nobody_reads_wait_up_to_a_bound"),
    ("log_lines_followed", "../src/logs.rs", "only_so_many_lines_are_kept_and_wait_for_a_slow_follower"),
    ("log_lines_kept", "../src/logs.rs", "only_so_many_lines_are_kept_and_wait_for_a_slow_follower"),
    ("messages_of_one_subscription", "../../net/src/subscription.rs", "large_messages_wait_up_to_a_number_of_bytes"),
    // The same type as of all other connections of HTTP.
    ("metrics_connections", "http.rs", "connections_beyond_the_cap_are_closed_and_room_is_made_again"),
    ("peers_in_sessions", "../../net/src/seal/peers.rs", "beyond_the_cap_all_peers_are_forgotten"),
    ("questions_of_http", "limits.rs", "questions_that_a_client_of_http_has_got_and_does_not_answer"),
    ("questions_of_one_handler", "../../net/src/desk.rs", "questions_that_nobody_takes_wait_up_to_a_bound"),
    ("recording", "../../net/src/recorder.rs", "a_disk_that_does_not_keep_up_ends_the_recording"),
    ("records", "../../net/src/keeper.rs", "what_waits_for_the_disk_is_bounded"),
    ("requests", "../../net/tests/loopback.rs", "requests_wait_for_the_node_up_to_a_bound"),
    ("sessions", "../../net/src/seal/sessions.rs", "a_session_that_was_forgotten_cannot_be_replayed"),
];

/// The last column of the table: names, each with the limit of its row.
fn documented() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split_once("\n## Limits\n").unwrap().1.split_once("\n## ").unwrap().0;
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut names = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [what, limit, _, shown] = cells[..] else { panic!("four columns: {row}") };
        for name in shown.split(", ").filter(|name| !name.is_empty()) {
            let name = name.trim_matches('`').to_owned();
            let twice = names.insert(name, limit.to_owned());
            assert_eq!(twice, None, "{what}");
        }
    }
    names
}

/// The values of one family by `what`.
fn family(page: &str, name: &str) -> BTreeMap<String, f64> {
    let begin = format!("{name}{{what=\"");
    let lines = page.lines().filter_map(|line| line.strip_prefix(&begin)?.split_once("\"} "));
    lines.map(|(what, value)| (what.to_owned(), value.parse().unwrap())).collect()
}

/// Whatever the core does not have is filled by a test that is there.
fn each_is_filled<'a>(shown: impl Iterator<Item = &'a String>) {
    let config = ConfigBuilder { bandwidth_max: 1_000_000, ..ConfigBuilder::lan() }.build().unwrap();
    let core = Node::new(Identity::new(NodeId(1), "n1", ([127, 0, 0, 1], 1), 1), config, 1, Now::default());
    let of_core: BTreeSet<&str> = core.limits().iter().map(|limit| limit.what).collect();
    let beyond: BTreeSet<&str> = shown.map(String::as_str).filter(|what| !of_core.contains(what)).collect();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut filled = BTreeSet::new();
    for (what, file, test) in FILLED {
        let text = std::fs::read_to_string(tests.join(file)).unwrap();
        assert!(text.contains(&format!("fn {test}")), "{what}: {test} in {file}");
        filled.insert(what);
    }
    assert_eq!(beyond, filled);
}

/// An answer of events that goes on, once the first line of it is there.
fn begun(agent: &Agent, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(agent.http.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(format!("{request}\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut word = [0; 12];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"HTTP/1.1 200");
    stream
}

#[test]
fn questions_that_a_client_of_http_has_got_and_does_not_answer() {
    let agent = Agent::start("n1", &[]);
    let _handler = begun(&agent, "GET /v1/queries/load/questions HTTP/1.1");
    let level = |page: &str| family(page, "rumor_held_entries")["questions_of_http"];
    let most = family(&agent.metrics(), "rumor_capacity_entries")["questions_of_http"];
    // Each is asked for a moment, and nobody waits for its end.
    let mut asking = Vec::new();
    agent.until("as many as may", |agent| {
        asking.push(begun(agent, "POST /v1/queries/load?timeout=1s HTTP/1.1\r\ncontent-length: 0"));
        let held = level(&agent.metrics());
        assert!(held <= most, "{held} of {most}");
        held >= most
    });
    for _ in 0..20 {
        asking.push(begun(&agent, "POST /v1/queries/load?timeout=1s HTTP/1.1\r\ncontent-length: 0"));
        assert!(level(&agent.metrics()) >= most, "the oldest stay unanswered, and no others");
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|three| str::from_utf8(three).unwrap()).collect();
    groups.join(",")
}

/// As the table writes so many bytes.
fn in_bytes(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", grouped(bytes >> 20)),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", grouped(bytes >> 10)),
        _ => grouped(bytes),
    }
}

fn has_number(limit: &str, number: &str) -> bool {
    let is_alone = |(place, _): (usize, &str)| {
        let (before, after) = (&limit[..place], &limit[place + number.len()..]);
        let goes_on = |rest: Option<char>| rest.is_some_and(|c| c.is_ascii_digit());
        !before.ends_with(|c: char| c.is_ascii_digit() || c == ',')
            && !goes_on(after.strip_prefix(',').unwrap_or(after).chars().next())
    };
    limit.match_indices(number).any(is_alone)
}

#[test]
fn whatever_is_bounded_is_in_the_table_and_in_the_metrics_with_the_same_number() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    assert!(run(&["keygen", key.to_str().unwrap()]).status.success());
    let recording = directory.path().join("recording");
    let files = ["--key-file", key.to_str().unwrap(), "--record", recording.to_str().unwrap()];
    let page = Agent::start("n1", &[&files[..], &["--set", "bandwidth_max=1000000"]].concat()).metrics();
    let documented = documented();
    let mut shown = BTreeMap::new();
    for (unit, written) in [("entries", grouped as fn(u64) -> String), ("bytes", in_bytes)] {
        let (held, most) =
            (family(&page, &format!("rumor_held_{unit}")), family(&page, &format!("rumor_capacity_{unit}")));
        assert!(held.len() > 5 && held.keys().eq(most.keys()), "{held:?} {most:?}");
        for (what, most) in most {
            assert!(held[&what] <= most, "{what}: {} of {most}", held[&what]);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number")]
            let number = written(most as u64);
            let limit = documented.get(&what).unwrap_or_else(|| panic!("{what} is not in the table"));
            let follows = FOLLOW_FROM_SETTINGS.contains(&&*what);
            assert!(follows || has_number(limit, &number), "{what} is {number}, and {limit:?} in the table");
            shown.insert(what, number);
        }
    }
    each_is_filled(shown.keys());
    assert!(documented.keys().eq(shown.keys()), "in the table only: {:?}", {
        documented.keys().filter(|name| !shown.contains_key(*name)).collect::<Vec<_>>()
    });
}
