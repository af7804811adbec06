//! Agents on machines of their own, as far as one machine can have several: network namespaces, with loss and cuts by nftables, delay
//! by a relay, and somebody without the key in between. It needs root, `ip` and `nft`; where one of them is missing it says so.
//!
//! It has a harness of its own, so that one reads in the output of all tests what was left out, and why.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::print_stdout, reason = "a harness says what it runs")]

#[path = "namespaces/machines.rs"]
mod machines;
#[path = "namespaces/relay.rs"]
mod relay;
mod support;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use machines::{Machine, Network};
use serde_json::{Value, json};
use support::place::{Place, borrowed};
use support::{HASTY, SKIP_NOTHING, may_skip, run, text};
use tempfile::TempDir;

type Test = (&'static str, fn());

const TESTS: [Test; 7] = [
    (
        "messages_get_everywhere_though_a_fifth_of_all_packets_is_lost",
        messages_get_everywhere_though_a_fifth_of_all_packets_is_lost,
    ),
    (
        "who_does_not_hear_one_other_holds_it_for_alive_and_gets_its_messages",
        who_does_not_hear_one_other_holds_it_for_alive_and_gets_its_messages,
    ),
    ("a_cluster_cut_in_two_is_one_again_after_the_cut_heals", a_cluster_cut_in_two_is_one_again_after_the_cut_heals),
    (
        "an_intruder_without_the_key_is_refused_learns_nothing_and_gets_no_answer",
        an_intruder_without_the_key_is_refused_learns_nothing_and_gets_no_answer,
    ),
    (
        "an_intruder_whose_identity_was_revoked_stays_revoked_everywhere_whatever_it_says",
        an_intruder_whose_identity_was_revoked_stays_revoked_everywhere_whatever_it_says,
    ),
    (
        "a_network_that_takes_its_time_is_measured_and_nobody_is_suspected_for_it",
        a_network_that_takes_its_time_is_measured_and_nobody_is_suspected_for_it,
    ),
    ("an_agent_finds_back_after_all_contacts_are_gone", an_agent_finds_back_after_all_contacts_are_gone),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        // Programs for the inside of a namespace.
        ["inside", "relay", delay, pairs @ ..] => return relay::run(delay, pairs),
        ["inside", "shout", to, count] => return relay::shout(to, count),
        ["--list" | "--format", ..] => return list(),
        _ => {}
    }
    let wanted: Vec<&Test> = {
        let filters: Vec<&&str> = words.iter().filter(|word| !word.starts_with('-')).collect();
        TESTS
            .iter()
            .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(**filter)))
            .collect()
    };
    if let Err(missing) = machines::requirements() {
        for (name, _) in &wanted {
            println!("test {name} ... skipped");
        }
        println!("\nnetwork namespaces: nothing was run: {missing}");
        println!("0 passed, 0 failed, {} skipped", wanted.len());
        if !may_skip() && !wanted.is_empty() {
            println!("with {SKIP_NOTHING} that is a failure");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    let failed = wanted.iter().filter(|test| !passes(test)).count();
    println!("\n{} passed, {failed} failed", wanted.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list() -> ExitCode {
    for (name, _) in TESTS {
        println!("{name}: test");
    }
    ExitCode::SUCCESS
}

fn passes((name, test): &Test) -> bool {
    let begun = Instant::now();
    // What a test has made is gone when it has unwound, namespaces included.
    let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
    println!("test {name} ... {} ({:.1} s)", if passed { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
    passed
}

/// A directory with a key file, `key`, and others as they are named.
fn keys(names: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        let path = directory.path().join(name);
        let output = run(&["keygen", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    directory
}

/// Machines with an agent each, all with one key; they know each other.
fn cluster(network: &Network, keys: &TempDir, count: usize, more: &[&str]) -> Vec<Machine> {
    let mut machines: Vec<Machine> = Vec::new();
    for _ in 0..count {
        let contact = machines.first().map(|first| first.ip.clone());
        let mut machine = network.machine();
        let key = keys.path().join("key").display().to_string();
        let join: Vec<&str> = contact.iter().flat_map(|ip| ["--join", ip]).collect();
        machine.start(&[&["--key-file", &key], &join[..], more].concat());
        machines.push(machine);
    }
    for machine in &machines {
        machine.wait_for_all("joined", &machines.iter().collect::<Vec<_>>());
    }
    machines
}

fn messages_get_everywhere_though_a_fifth_of_all_packets_is_lost() {
    let (network, keys) = (Network::new(), keys(&["key"]));
    let machines = cluster(&network, &keys, 5, &[]);
    for machine in &machines {
        machine.nft("add rule inet test in iifname eth0 numgen random mod 100 < 20 counter drop");
    }
    let subscribers: Vec<_> =
        machines.iter().map(|machine| machine.follow(&["subscribe", "news", "--history", "1000"])).collect();
    let mut sent = BTreeSet::new();
    for number in 0..20 {
        for machine in &machines {
            let word = format!("{}-{number}", machine.name);
            machine.ask(&["publish", "news", &word]);
            sent.insert(word);
        }
    }
    for (machine, subscriber) in machines.iter().zip(&subscribers) {
        let mut missing = sent.clone();
        subscriber.wait_for(&format!("all messages at {}", machine.name), |line| {
            assert!(line["missed"].is_null(), "{line}");
            missing.remove(line["payload"].as_str().unwrap_or_default());
            missing.is_empty()
        });
        assert!(machine.dropped() > 0, "nothing was lost on the way to {}", machine.name);
    }
    for machine in &machines {
        assert_eq!(machine.states(), ["n1 alive", "n2 alive", "n3 alive", "n4 alive", "n5 alive"]);
    }
}

fn who_does_not_hear_one_other_holds_it_for_alive_and_gets_its_messages() {
    let (network, keys) = (Network::new(), keys(&["key"]));
    let machines = cluster(&network, &keys, 4, &[]);
    let [deaf, mute, ..] = &machines[..] else { unreachable!("four") };
    let subscriber = deaf.follow(&["subscribe", "news", "--history", "10"]);
    deaf.nft(&format!("add rule inet test in ip saddr {} counter drop", mute.ip));
    let published = mute.ask(&["publish", "news", "around the cut"]);
    let message = subscriber.wait_for("the message", |line| line["topic"] == "news");
    assert_eq!((&message["sequence"], &message["origin"]), (&published["sequence"], &json!(mute.name)));
    // As many packets as several probes take.
    deaf.until("packets that did not get through", || deaf.dropped() >= 30);
    for machine in &machines {
        assert_eq!(machine.states(), ["n1 alive", "n2 alive", "n3 alive", "n4 alive"], "at {}", machine.name);
        machine.nobody_failed();
    }
}

fn a_cluster_cut_in_two_is_one_again_after_the_cut_heals() {
    let (network, keys) = (Network::new(), keys(&["key"]));
    let machines = cluster(&network, &keys, 4, &[&HASTY[..], &["--set", "rejoin_interval=200ms"]].concat());
    let (half, other): (Vec<&Machine>, Vec<&Machine>) =
        (machines[..2].iter().collect(), machines[2..].iter().collect());
    cut(&half, &other);
    for (here, there) in [(&half, &other), (&other, &half)] {
        for machine in here {
            machine.wait_for_all("failed", there);
        }
    }
    let sent = [half[0].ask(&["publish", "news", "here"]), other[0].ask(&["publish", "news", "there"])];
    half[1].ask(&["put", "side", "here"]);
    for machine in &machines {
        machine.nft("flush chain inet test in");
    }
    for (here, there) in [(&half, &other), (&other, &half)] {
        for machine in here {
            machine.wait_for_all("joined", there);
        }
    }
    for machine in &machines {
        let news = machine.follow(&["subscribe", "news", "--history", "10", "--count", "2"]);
        let heard: BTreeSet<String> = (0..2).map(|_| news.next()["sequence"].to_string()).collect();
        assert_eq!(heard, sent.iter().map(|message| message["sequence"].to_string()).collect());
        machine.until("the value of one half", || machine.said(&["get", "side"]).1 == "here\n");
    }
}

fn an_intruder_without_the_key_is_refused_learns_nothing_and_gets_no_answer() {
    let (network, keys) = (Network::new(), keys(&["key", "other"]));
    let machines = cluster(&network, &keys, 3, &[]);
    let mut intruder = network.machine();
    // Counted are datagrams, and what carries anything on streams: that a port is open the system itself tells everybody.
    intruder.nft("add rule inet test in meta l4proto udp counter comment \"answers\"");
    intruder.nft("add rule inet test in tcp flags & psh == psh ip saddr != 127.0.0.1 counter comment \"answers\"");
    let other = keys.path().join("other").display().to_string();
    let contacts = machines.iter().map(|machine| &*machine.ip).collect::<Vec<_>>().join(",");
    intruder.start(&["--key-file", &other, "--join", &contacts, "--set", "join_retry_max=1s"]);
    let refusals = |machine: &Machine| {
        let info = machine.ask(&["info"]);
        let counts = info["unsealed"].as_object().unwrap().clone();
        counts.values().filter_map(Value::as_u64).sum::<u64>()
    };
    for machine in &machines {
        machine.until("refused handshakes", || machine.ask(&["info"])["unsealed"]["handshakes"].as_u64() >= Some(2));
        let before = refusals(machine);
        intruder.inside(&["shout", &format!("{}:4747", machine.ip), "500"]);
        machine.until("refused datagrams", || refusals(machine) >= before + 400);
    }
    assert_eq!(intruder.packets("answers"), 0, "somebody answered");
    assert_eq!(intruder.states(), ["n4 alive"], "it knows itself only");
    for machine in &machines {
        assert_eq!(machine.states(), ["n1 alive", "n2 alive", "n3 alive"]);
        machine.nobody_failed();
    }
    let log = intruder.follow(&["logs"]);
    log.wait_for("why it is alone", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("no key in common"))
    });
}

/// Machines with an agent each that the authority has admitted; they know each other.
fn admitted(network: &Network, place: &Place, more: [&[&str]; 4]) -> [Machine; 4] {
    let mut contact = None;
    let machines = more.map(|more| {
        let mut machine = network.machine();
        let certificate = place.admit(&machine.name, &[]);
        let arguments = place.arguments(&machine.name, Some(&certificate));
        let join: Vec<&str> = contact.iter().flat_map(|ip: &String| ["--join", ip]).collect();
        machine.start(&[&borrowed(&arguments)[..], &join, more].concat());
        contact.get_or_insert_with(|| machine.ip.clone());
        machine
    });
    for machine in &machines {
        machine.wait_for_all("joined", &machines.iter().collect::<Vec<_>>());
    }
    machines
}

/// Nothing gets any more from any of `there` to any of `here`, and back.
fn cut(here: &[&Machine], there: &[&Machine]) {
    for (here, there) in [(here, there), (there, here)] {
        for machine in here {
            let ips: Vec<&str> = there.iter().map(|machine| &*machine.ip).collect();
            machine.nft(&format!("add rule inet test in ip saddr {{ {} }} counter drop", ips.join(", ")));
        }
    }
}

fn an_intruder_whose_identity_was_revoked_stays_revoked_everywhere_whatever_it_says() {
    let (network, place) = (Network::new(), Place::new(&["--set", "rejoin_interval=200ms"]));
    // The intruder holds for alive whom it does not hear, and so goes on talking to them.
    let patient = ["--set", "suspicion_timeout_min=10m"];
    let [first, second, third, mut intruder] = admitted(&network, &place, [&HASTY, &HASTY, &HASTY, &patient]);
    // From now on all hear it, and it hears nobody, its revocation included.
    intruder.nft("add rule inet test in iifname eth0 drop");
    let half = [&first, &second];
    cut(&half, &[&third]);
    for machine in half {
        machine.wait_for_all("failed", &[&third, &intruder]);
    }
    third.wait_for_all("failed", &[&first, &second, &intruder]);
    let (code, _, complaint) = first.said(&["authority", "revoke", &place.path("authority"), &intruder.name]);
    assert_eq!(code, 0, "{complaint}");
    let revoked = ["n1 alive", "n2 alive", "n3 dead", "n4 revoked"];
    for machine in half {
        machine.until("the revocation", || machine.states() == revoked);
    }
    // Who was cut off and does not know yet takes what it writes.
    intruder.ask(&["put", "color", "black"]);
    third.until("a write of the intruder", || third.said(&["get", "color"]).1 == "black\n");

    let honest = [&first, &second, &third];
    for machine in honest {
        machine.nft("flush chain inet test in");
    }
    let states = ["n1 alive", "n2 alive", "n3 alive", "n4 revoked"];
    for machine in honest {
        machine.until("one cluster without the intruder", || machine.states() == states);
        machine.until("that what it wrote since is void", || machine.said(&["get", "color"]).0 == 1);
    }
    let refused = |machine: &Machine| machine.ask(&["info"])["dropped"]["revoked"].as_u64().unwrap();
    let before = honest.map(refused);
    let news: Vec<_> = honest.iter().map(|machine| machine.follow(&["subscribe", "news", "--history", "10"])).collect();
    intruder.ask(&["put", "color", "red"]);
    intruder.ask(&["publish", "news", "from the intruder"]);
    intruder.ask(&["tags", "set", "role=king"]);
    for (machine, before) in honest.iter().zip(before) {
        machine.until("refused words of the intruder", || refused(machine) >= before + 3);
    }
    second.ask(&["put", "shape", "round"]);
    second.ask(&["publish", "news", "from a member"]);
    for (machine, news) in honest.iter().zip(&news) {
        assert_eq!(news.next()["payload"], "from a member", "at {}", machine.name);
        machine.until("what a member wrote", || machine.said(&["get", "shape"]).1 == "round\n");
        assert_eq!((machine.said(&["get", "color"]).0, machine.states()), (1, states.map(str::to_owned).to_vec()));
        assert_eq!(machine.ask(&["members", "--tag", "role=king"]), json!([]), "at {}", machine.name);
    }

    // Once it hears the others it learns what it is.
    intruder.nft("flush chain inet test in");
    assert_eq!(intruder.end_of_agent(), Some(1));
    for machine in honest {
        assert_eq!(machine.states(), states, "at {}", machine.name);
    }
}

fn a_network_that_takes_its_time_is_measured_and_nobody_is_suspected_for_it() {
    let (network, keys) = (Network::new(), keys(&["key"]));
    let key = keys.path().join("key").display().to_string();
    let between = network.machine();
    let mut machines: Vec<Machine> = (0..3).map(|_| network.machine()).collect();
    // Who says that it is at the relay is reached through it, and everybody does.
    let places: Vec<String> = (0..machines.len()).map(|place| format!("{}:{}", between.ip, 5_000 + place)).collect();
    let pairs: Vec<String> =
        machines.iter().zip(&places).map(|(machine, place)| format!("{place}={}:4747", machine.ip)).collect();
    let _relay =
        between.program(&[&["relay", "100"], &pairs.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    for (machine, place) in machines.iter_mut().zip(&places) {
        machine.start(&["--key-file", &key, "--advertise", place, "--join", &places[0], "--preset", "wan"]);
    }
    for machine in &machines {
        machine.wait_for_all("joined", &machines.iter().collect::<Vec<_>>());
    }
    let [first, second, third] = &machines[..] else { unreachable!("three") };
    let subscriber = third.follow(&["subscribe", "news", "--history", "10"]);
    first.ask(&["publish", "news", "slowly"]);
    let message = subscriber.wait_for("the message", |line| line["topic"] == "news");
    let took = message["received_at"].as_f64().unwrap() - message["published_at"].as_f64().unwrap();
    assert!(took >= 0.1, "{message}");
    first.until("a measured round trip", || {
        let (code, out, _) = first.said(&["rtt", &second.name, "--json"]);
        let rtt: Value = serde_json::from_str(&out).unwrap_or_default();
        assert!(code != 0 || rtt["rtt"].as_f64().unwrap() >= 0.2, "{rtt}");
        code == 0 && rtt["kind"] == "measured"
    });
    for machine in &machines {
        machine.nobody_failed();
    }
}

fn an_agent_finds_back_after_all_contacts_are_gone() {
    let (network, keys) = (Network::new(), keys(&["key"]));
    let mut machines = cluster(&network, &keys, 2, &HASTY);
    let contact = machines.remove(0);
    let join = contact.ip.clone();
    let data = tempfile::tempdir().unwrap();
    let key = keys.path().join("key").display().to_string();
    let arguments = ["--key-file", &key, "--data-dir", data.path().to_str().unwrap(), "--join", &join];
    let mut crashed = network.machine();
    crashed.start(&[&arguments[..], &HASTY].concat());
    machines[0].wait_for_all("joined", &[&crashed]);
    crashed.wait_for_all("joined", &[&machines[0]]);
    drop(contact);
    crashed.kill();
    // All at which it was told to join are gone; it knows who else there was.
    crashed.start(&[&arguments[..], &HASTY].concat());
    crashed.wait_for_all("joined", &[&machines[0]]);
}
