//! `rumor top` on a terminal of the test's own, against real agents.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;
mod terminal;

use std::process::{Command, Stdio};

use rustix::process::Signal;
use rustix::termios::LocalModes;
use serde_json::Value;
use support::{Agent, Lines, rumor, run, words};
use terminal::Terminal;

const ENTER_SCREEN: &str = "\x1b[?1049h";
const LEAVE_SCREEN: &str = "\x1b[?1049l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const DOWN: &str = "\x1b[B";
const ESCAPE: &str = "\x1b";

/// A view of an agent.
fn view(http: &str, columns: u16, rows: u16) -> Terminal {
    Terminal::run(&rumor(&["top", "--agent", http]), columns, rows)
}

/// A `rumor dev` of five agents: the documents of its nodes, and the process, with which they end.
fn dev() -> (Vec<Value>, Lines) {
    let process = Lines::of(rumor(&["dev", "--http-port", "0", "--json"]));
    let mut ready = process.next();
    let Value::Array(nodes) = ready["nodes"].take() else { panic!("{ready}") };
    (nodes, process)
}

/// The last thing that the command wrote left the terminal as it was before.
fn assert_given_back(mut terminal: Terminal) {
    let (status, modes) = terminal.wait_for_end();
    assert!(status.success(), "{status}");
    let said = String::from_utf8_lossy(&terminal.bytes).into_owned();
    let (left, entered) = (said.rfind(LEAVE_SCREEN), said.rfind(ENTER_SCREEN));
    assert!(left.is_some() && left > entered, "the screen is left: {said:?}");
    assert!(said.rfind(SHOW_CURSOR) > left, "the cursor is shown");
    assert!(!terminal.screen().alternate_screen() && !terminal.screen().hide_cursor());
    assert!(modes.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG), "{modes:?}");
}

#[test]
fn five_members_are_shown_in_any_size_with_their_stories_and_the_terminal_is_given_back() {
    let (nodes, _dev) = dev();
    let mut terminal = view(nodes[0]["http"].as_str().unwrap(), 120, 36);
    for name in ["n1 *", "n2", "n3", "n4", "n5"] {
        terminal.wait_for_line(&["●", name, "alive", "dev=true"]);
    }
    terminal.wait_for_text(&[
        "n1 of rumor",
        "live",
        "● 5 alive",
        "sealed",
        "Members 5, by name",
        "q quit",
        "datagrams/s",
    ]);
    assert!(!terminal.modes().local_modes.contains(LocalModes::ECHO), "keys are read as they are pressed");

    terminal.press("/N3");
    terminal.wait_for_text(&["filter: N3", "Members 1 of 5 with \"N3\""]);
    assert!(!terminal.text().contains("n4"));
    terminal.press("\r");
    terminal.wait_for_text(&["q quit"]);
    terminal.press("\r");
    terminal.wait_for_text(&[
        "Story of n3",
        "● alive for",
        "incarnation",
        "Nothing out of the ordinary",
        "Next: a probe",
    ]);
    terminal.press(ESCAPE);
    terminal.wait_for("the story closed", |screen| !screen.contents().contains("Story of"));
    terminal.press(ESCAPE);
    terminal.wait_for_text(&["Members 5, by name"]);

    for (columns, rows) in [(80, 24), (40, 10), (12, 4), (1, 1), (100, 30)] {
        terminal.resize(columns, rows);
        if columns >= 40 {
            terminal.wait_for_text(&["n1 of", "● 5 alive", "Members 5, by name", "n3", "q quit"]);
        }
    }
    terminal.press("q");
    assert_given_back(terminal);
}

#[test]
fn a_member_that_is_killed_is_shown_suspect_and_then_dead() {
    let (nodes, _dev) = dev();
    let mut terminal = view(nodes[0]["http"].as_str().unwrap(), 120, 36);
    terminal.wait_for_text(&["● 5 alive", "n3"]);
    assert!(Command::new("kill").args(["-9", &nodes[2]["pid"].to_string()]).status().unwrap().success());
    terminal.wait_for_line(&["▲", "n3", "suspect"]);
    terminal.wait_for_line(&["✕", "n3", "dead", "s after it was suspected"]);
    terminal.wait_for_text(&["● 4 alive", "✕ 1 dead"]);
    terminal.press("s");
    terminal.wait_for_text(&["by state"]);
    terminal.press("\x1b[H\r");
    terminal.wait_for_text(&["Story of n3", "✕ dead for", "Next: a claim of its own"]);
    terminal.press("\x03");
    assert_given_back(terminal);
}

#[test]
fn an_agent_that_is_gone_is_said_and_so_is_its_return() {
    let mut agent = Agent::start("a", &[]);
    let mut terminal = view(&agent.http, 100, 24);
    terminal.wait_for_line(&["a of rumor", "live"]);
    agent.process.kill();
    terminal.wait_for_line(&["a of rumor", "GONE"]);
    terminal.wait_for_line(&["no answer for", "connection refused"]);
    let address = agent.http.strip_prefix("http://").unwrap();
    let again = rumor(&["agent", "--json", "--name", "b", "--bind", "127.0.0.1:0", "--http", address]);
    let _again = Agent::of(again);
    terminal.wait_for_line(&["b of rumor", "live"]);
    terminal.wait_for_line(&["●", "b *", "alive"]);
    terminal.wait_for_line(&["back", "the agent answers again"]);
    terminal.signal(Signal::TERM);
    assert_given_back(terminal);
}

#[test]
fn every_signal_that_ends_it_gives_the_terminal_back() {
    let agent = Agent::start("a", &[]);
    for signal in [Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut terminal = view(&agent.http, 100, 24);
        terminal.wait_for_line(&["●", "a *", "alive"]);
        terminal.signal(signal);
        assert_given_back(terminal);
    }
}

#[test]
fn stopped_it_leaves_the_terminal_to_the_shell_and_comes_back() {
    let agent = Agent::start("a", &[]);
    let view = rumor(&["top", "--agent", &agent.http]);
    // A shell that says when it has the terminal, and goes on with the view when it is told to.
    let script = "\"$0\" \"$@\"; echo the shell; read word; fg";
    let mut shell = Command::new("bash");
    shell.args(["-mc", script]).arg(view.get_program()).args(view.get_args());
    let mut terminal = Terminal::run(&shell, 100, 24);
    terminal.wait_for_line(&["●", "a *", "alive"]);
    terminal.press("\x1a");
    terminal.wait_for("the shell", |screen| !screen.alternate_screen() && screen.contents().contains("the shell"));
    assert!(!terminal.screen().hide_cursor());
    assert!(terminal.modes().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    terminal.press("\n");
    terminal.wait_for("the view", |screen| screen.alternate_screen() && screen.contents().contains("a *"));
    assert!(!terminal.modes().local_modes.contains(LocalModes::ECHO), "keys are read as they are pressed");
    terminal.press("q");
    terminal.wait_for("the end", |screen| !screen.alternate_screen() && !screen.hide_cursor());
}

#[test]
fn what_others_say_stays_text() {
    let agent = Agent::start("a", &[]);
    let name = "\u{202e}evil 名前名前 שלום";
    let flags = ["--tag", "role=\x1b]0;owned\x07", "--tag", "note=two\nlines"];
    let hostile = Agent::join(name, &agent, &flags);
    agent.wait_for("joined", &hostile);
    let published = hostile.said(&["publish", "\x1b[2Jtopic", "payload\x1b[31m\x07"]);
    assert_eq!(published.0, 0, "{published:?}");
    let mut terminal = view(&agent.http, 180, 36);
    terminal.wait_for_line(&["\\u{202e}evil 名前名前", "alive", "note=two\\nlines"]);
    terminal.wait_for_line(&["\\u{1b}[2Jt", "1"]);
    terminal.press("\t\t\r");
    terminal.wait_for_text(&["Messages on \\u{1b}[2Jtopic", "payload\\u{1b}[31m\\u{7}"]);
    terminal.press("q");
    terminal.wait_for("the messages closed", |screen| !screen.contents().contains("Messages on"));
    terminal.press(&format!("\x1b[Z\x1b[Z{DOWN}\r"));
    terminal.wait_for_text(&["Story of \\u{202e}evil", "role=\\u{1b}]0;owned\\u{7}"]);
    for hostile in ["\x1b[2Jtopic", "\x1b]0;", "\x07", "\u{202e}"] {
        assert!(!String::from_utf8_lossy(&terminal.bytes).contains(hostile), "{hostile:?}");
    }
}

#[test]
fn messages_of_a_topic_are_followed() {
    let agent = Agent::start("a", &[]);
    assert_eq!(agent.said(&["publish", "news", "first"]).0, 0);
    let mut terminal = view(&agent.http, 100, 24);
    terminal.wait_for_line(&["news", "1", "s"]);
    terminal.press("\t\t\r");
    terminal.wait_for_line(&["a:1", "first"]);
    assert_eq!(agent.said(&["publish", "news", "second"]).0, 0);
    terminal.wait_for_line(&["a:2", "second"]);
    assert!(terminal.text().contains("first"));
}

#[test]
fn without_colours_nothing_is_coloured() {
    let agent = Agent::start("a", &[]);
    let mut command = rumor(&["top", "--agent", &agent.http]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::run(&command, 100, 24);
    terminal.wait_for_line(&["●", "a *", "alive"]);
    let cells = (0..24).flat_map(|row| (0..100).map(move |column| (row, column)));
    for cell in cells.filter_map(|(row, column)| terminal.screen().cell(row, column)) {
        assert_eq!((cell.fgcolor(), cell.bgcolor()), (vt100::Color::Default, vt100::Color::Default), "{cell:?}");
    }
    let selected = (0..100).filter_map(|column| terminal.screen().cell(4, column)).filter(|cell| cell.inverse());
    assert!(selected.count() > 50, "the selected row is seen without colours:\n{}", terminal.text());
}

#[test]
fn a_view_needs_a_terminal_and_an_agent() {
    let agent = Agent::start("a", &[]);
    let (code, out, err) = words(&run(&["top", "--agent", &agent.http]));
    assert_eq!((code, &*out), (2, ""));
    assert!(err.contains("draws on a terminal") && err.contains("members --watch"), "{err}");
    let (code, out, err) = words(&run(&["top", "--json", "--agent", &agent.http]));
    let error: Value = serde_json::from_str(&err).unwrap();
    assert_eq!((code, &*out, &error["error"]["code"]), (2, "", &Value::from("usage")));

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut terminal = view(&format!("http://{nobody}"), 80, 24);
    let (status, _) = terminal.wait_for_end();
    assert_eq!(status.code(), Some(3));
    assert!(terminal.text().contains("no agent answers at"), "{}", terminal.text());
    assert!(!String::from_utf8_lossy(&terminal.bytes).contains(ENTER_SCREEN));

    let mut dumb = rumor(&["top", "--agent", &agent.http]);
    dumb.env("TERM", "dumb").stdin(Stdio::null());
    let mut terminal = Terminal::run(&dumb, 80, 24);
    assert_eq!(terminal.wait_for_end().0.code(), Some(2));
}
