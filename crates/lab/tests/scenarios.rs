//! A scenario is a command line: what it prints runs it again.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rumormill_lab::jobs::{Unwatched, Watch};
use rumormill_lab::scenario::{Draft, Outcome, Run, run};
use rumormill_lab::{Error, Failure, Scenario, seeds};

/// Reads the line that a scenario prints, as a shell and the command line do.
fn read(line: &str) -> Scenario {
    let words = line.strip_prefix("rumor lab run").unwrap().replace('\'', "");
    let mut words = words.split_whitespace().peekable();
    let mut draft = Draft::default();
    let mut lists = [("fault", Vec::new()), ("publish", Vec::new())];
    while let Some(word) = words.next() {
        let key = word.strip_prefix("--").unwrap().replace('-', "_");
        if key == "check" || key == "diskless" {
            draft.set(&key, "true").unwrap();
            continue;
        }
        let value = words.next().unwrap();
        if let Some((_, list)) = lists.iter_mut().find(|(name, _)| *name == key) {
            list.push(value.to_owned());
        } else if key == "set" {
            let (key, value) = value.split_once('=').unwrap();
            draft.set(key, value).unwrap();
        } else {
            draft.set(&key, value).unwrap();
        }
    }
    for (key, list) in lists {
        draft.set_list(key, &list).unwrap();
    }
    draft.scenario().unwrap()
}

fn outcome(scenario: &Scenario) -> Outcome {
    run(scenario, &Unwatched).unwrap()
}

#[test]
fn a_drawn_scenario_prints_the_line_that_repeats_it() {
    for seed in seeds::chosen(&[3, 8]) {
        let drawn = Scenario::drawn(seed);
        let first = outcome(&drawn);
        let again = read(&first.replay);
        assert_eq!(again.to_string(), first.replay);
        assert_eq!(outcome(&again), first, "{}", first.replay);
    }
}

#[test]
fn every_drawn_scenario_reads_back_as_itself() {
    for seed in 0..300 {
        let drawn = Scenario::drawn(seed);
        assert_eq!(read(&drawn.to_string()), drawn);
    }
}

#[test]
fn shares_drawn_from_the_seed_are_spelt_out_and_take_the_same_course() {
    for start in ["cold", "joined"] {
        let mut draft = Draft::default();
        for (key, value) in [("nodes", "30"), ("loss", "0.05"), ("start", start), ("seed", "9"), ("preset", "local")] {
            draft.set(key, value).unwrap();
        }
        let faults = ["churn:0.02/s:2s@5s", "churn:0/s@15s", "crash:0.2@10s", "slow:0.1:500ms@12s", "add:5:1s@8s"];
        draft.set_list("fault", &faults.map(str::to_owned)).unwrap();
        draft.set_list("publish", &["8:100@9s".to_owned()]).unwrap();
        let scenario = draft.scenario().unwrap();
        let first = outcome(&scenario);
        assert_eq!(first.messages.len(), 8);
        assert!(!first.replay.contains("0.2") && !first.replay.contains("churn"), "{}", first.replay);
        assert_eq!(outcome(&read(&first.replay)), first, "{}", first.replay);
        let checked = outcome(&Scenario { check: true, ..scenario });
        assert_eq!(checked.trace_hash, first.trace_hash, "looking changes nothing");
    }
}

#[test]
fn a_run_that_fails_prints_the_line_that_fails_in_the_same_way() {
    let failure = |scenario: &Scenario| -> Failure {
        match run(scenario, &Unwatched) {
            Err(Error::Broken(failure)) => failure,
            other => panic!("a millisecond of peace is not enough: {other:?}"),
        }
    };
    let drawn = Scenario { settle: Duration::from_millis(1), ..Scenario::drawn(3) };
    let first = failure(&drawn);
    let said = first.to_string();
    let (_, line) = said.split_once("\nreplay: ").unwrap();
    let again = failure(&read(line));
    assert_eq!((again.trace_hash(), again.to_string()), (first.trace_hash(), said.clone()));
    assert!(said.contains(&format!("{:016x}", first.trace_hash())), "{said}");
}

/// Says stop after so many questions.
struct Impatient(AtomicUsize);

impl Watch for Impatient {
    fn on_progress(&self, done: usize, of: usize) {
        assert!(done <= of);
    }

    fn goes_on(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) > 0
    }
}

#[test]
fn a_run_that_is_stopped_reports_what_was_until_then_and_repeats_until_then() {
    let mut draft = Draft::named("split-and-heal").unwrap();
    draft.set("seed", "4").unwrap();
    let mut stopped = Run::start(&draft.scenario().unwrap()).unwrap();
    stopped.go(&Impatient(AtomicUsize::new(199))).unwrap();
    assert_eq!(stopped.ended_early(), Some(Duration::from_secs(20)));
    let first = stopped.outcome();
    assert_eq!((first.messages.len(), first.suspicions > 0), (5, true));
    assert_eq!(outcome(&read(&first.replay)), first, "{}", first.replay);
}

#[test]
fn a_run_that_is_stopped_while_nodes_start_repeats_until_then() {
    for start in ["cold", "joined"] {
        let mut draft = Draft::default();
        for (key, value) in [("nodes", "20"), ("start", start), ("start_within", "40s"), ("duration", "30s")] {
            draft.set(key, value).unwrap();
        }
        let mut stopped = Run::start(&draft.scenario().unwrap()).unwrap();
        stopped.go(&Impatient(AtomicUsize::new(0))).unwrap();
        assert_eq!(stopped.ended_early(), Some(Duration::from_millis(100)), "one step at least");
        let first = stopped.outcome();
        assert_eq!(outcome(&read(&first.replay)), first, "{}", first.replay);
    }
}

#[test]
fn a_run_that_is_stopped_while_it_settles_shows_nothing_that_could_not_be_repeated() {
    let scenario =
        Scenario { nodes: 5, duration: Duration::from_secs(1), settle: Duration::from_mins(1), ..Scenario::default() };
    let stopped = run(&scenario, &Impatient(AtomicUsize::new(9)));
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
}

#[test]
fn a_line_has_no_argument_that_is_too_long_and_is_that_of_the_seed_where_it_would_be_too_long() {
    let mut draft = Draft::default();
    for (key, value) in [("nodes", "20"), ("start", "joined"), ("duration", "300ms"), ("payload_bytes_max", "1024")] {
        draft.set(key, value).unwrap();
    }
    let mut line = |works: usize| {
        draft.set_list("publish", &vec!["10000:1@200ms".to_owned(); works]).unwrap();
        Run::start(&draft.scenario().unwrap()).unwrap().replay()
    };
    let spelt_out = line(2);
    assert!(spelt_out.len() > 60_000 && !spelt_out.contains("10000:1"));
    assert!(spelt_out.split(' ').all(|word| word.len() < 10_000));
    assert_eq!(read(&spelt_out).to_string(), spelt_out);
    let drawn = line(40);
    assert_eq!(drawn.matches(" --publish 10000:1@200ms").count(), 40);
    assert!(drawn.len() < 10_000);
}

#[test]
fn a_network_whose_disks_take_no_time_starts_at_once() {
    let mut draft = Draft::default();
    for (key, value) in
        [("nodes", "5"), ("start", "joined"), ("start_within", "0s"), ("disk_delay", "0s"), ("duration", "1s")]
    {
        draft.set(key, value).unwrap();
    }
    outcome(&draft.scenario().unwrap());
}

#[test]
fn peace_wakes_who_stands_still() {
    let mut draft = Draft::default();
    for (key, value) in [("nodes", "5"), ("start", "joined"), ("duration", "5s"), ("settle", "30s")] {
        draft.set(key, value).unwrap();
    }
    // The shorter pause does not end the longer.
    draft.set_list("fault", &["pause:n1:200h@1s".to_owned(), "pause:n1:1s@2s".to_owned()]).unwrap();
    let outcome = outcome(&draft.scenario().unwrap());
    assert!(outcome.suspicions > 0, "{outcome:?}");
}

#[test]
fn healthy_nodes_that_are_declared_dead_are_counted() {
    let mut draft = Draft::default();
    for (key, value) in [
        ("nodes", "20"),
        ("start", "joined"),
        ("loss", "0.6"),
        ("probe_interval", "300ms"),
        ("probe_timeout", "200ms"),
        ("probe_resends", "0"),
        ("indirect_probes", "0"),
        ("stream_probe", "false"),
        ("suspicion_timeout_min", "200ms"),
        ("suspicion_timeout_log", "0s"),
        ("suspicion_timeout_factor", "1"),
    ] {
        draft.set(key, value).unwrap();
    }
    let hasty = outcome(&draft.scenario().unwrap());
    assert!(hasty.false_positives > 0 && hasty.suspicions > hasty.false_positives, "{hasty:?}");
    assert!(hasty.failures.is_empty() && hasty.deaths_of_unwell == 0);
}

#[test]
fn copies_of_payloads_beyond_the_first_are_counted() {
    let mut draft = Draft::default();
    for (key, value) in [("nodes", "50"), ("start", "joined"), ("fanout", "1"), ("mode", "push")] {
        draft.set(key, value).unwrap();
    }
    draft.set_list("publish", &["10:100@5s".to_owned()]).unwrap();
    let once = outcome(&draft.scenario().unwrap());
    // The same network with each datagram twice brings about as many copies again as there were: one, and the rest.
    draft.set("duplication", "1").unwrap();
    let twice = outcome(&draft.scenario().unwrap());
    let mean = |outcome: &Outcome| {
        let redundancy: Vec<_> = outcome.messages.iter().filter_map(|message| message.redundancy).collect();
        rumormill_lab::Summary::of(&redundancy).unwrap()
    };
    let (once, twice) = (mean(&once), mean(&twice));
    assert!(once.min >= 0.0, "who has it got one copy at least: {once:?}");
    assert!(twice.mean > once.mean + 0.5, "{once:?} {twice:?}");
}
