//! The view without a terminal and without an agent: documents and keys in, text out.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::app::{Act, App};
use super::draw::{Ink, draw};
use super::keys::Key;
use super::link::{Ask, News, Story};
use crate::documents::{Info, MemberDocument, MemberEvent};

const NOW: f64 = 1_000_000.0;
const INK: Ink = Ink { is_coloured: true };

fn info(uptime: f64, sent: u64) -> Box<Info> {
    let info = json!({
        "id": "00000000000000a1", "name": "n1", "cluster": "rumor", "pid": 7, "address": "127.0.0.1:4747",
        "version": "0.1.0", "protocol": { "min": 1, "max": 1 }, "preset": "lan", "view": "full", "mode": "push-pull",
        "dev": false, "lab": false, "fanout": 3, "sealed": true, "durable": false, "uptime": uptime, "health": 0,
        "size_estimate": 3, "members": { "alive": 2, "suspect": 1, "dead": 0, "left": 0 },
        "sent": { "datagrams": sent / 100, "bytes": sent }, "received": { "datagrams": 0, "bytes": 0 },
        "bandwidth_max": 50_000, "dropped": {}, "degraded": false,
        "data": { "updates": 0, "bytes": 0, "bytes_max": 1, "unsaved": 0 },
    });
    serde_json::from_value(info).unwrap()
}

fn member(name: &str, state: &str, since: f64, rtt: Option<f64>) -> MemberDocument {
    let member = json!({
        "id": format!("id of {name}"), "name": name, "address": "10.0.0.1:4747", "state": state, "incarnation": "1",
        "tags": { "role": "db" }, "since": since, "rtt": rtt, "self": name == "n1",
        "protocol": { "min": 1, "max": 1 }, "view": "full",
    });
    serde_json::from_value(member).unwrap()
}

fn change(event: &str, at: f64, member: MemberDocument) -> News {
    News::Happened(MemberEvent::Change { event: event.to_owned(), at, by: "n1".to_owned(), member: Box::new(member) })
}

fn story(name: &str, steps: usize) -> Box<Story> {
    let step =
        |at: usize| json!({ "at": at, "by": "n1", "what": "suspected", "detail": format!("step {at}\u{1b}[2J") });
    let steps: Vec<Value> = (0..steps).map(step).collect();
    let next = json!({ "what": "suspected", "at": null, "detail": "a probe" });
    let why = json!({ "name": name, "id": "a", "state": "suspect", "since": NOW, "steps": steps, "next": next });
    Box::new(Story { member: Some(member(name, "suspect", NOW, None)), why: serde_json::from_value(why).unwrap() })
}

/// Of n1, n2 and n10, of whom n2 is suspect.
fn app() -> App {
    let mut app = App::new("http://127.0.0.1:4748", *info(5.0, 0), NOW);
    let members = [("n10", "alive", 5.0, Some(0.002)), ("n2", "suspect", 9.0, None), ("n1", "alive", 1.0, Some(0.001))];
    let members = members.map(|(name, state, since, rtt)| member(name, state, NOW - since, rtt));
    app.on_news(News::Members(members.into()));
    app.settle(NOW);
    app
}

fn press(app: &mut App, keys: &[Key]) -> Option<Act> {
    let act = keys.iter().fold(None, |_, key| app.on_key(*key));
    app.settle(NOW);
    act
}

fn type_in(app: &mut App, text: &str) {
    press(app, &text.chars().map(Key::Letter).collect::<Vec<_>>());
}

/// The screen as lines.
fn picture(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, INK)).unwrap();
    let cells = terminal.backend().buffer().content.chunks(width.max(1).into());
    cells.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n").collect()
}

/// The names in the order in which they are listed.
fn listed(app: &App) -> Vec<&str> {
    app.listed.iter().map(|id| &*app.known().members[id].name).collect()
}

#[test]
fn members_are_sorted_as_people_count_and_by_what_needs_somebody() {
    let mut app = app();
    let orders = [(); 5].map(|()| {
        let order = listed(&app).join(" ");
        press(&mut app, &[Key::Letter('s')]);
        order
    });
    assert_eq!(orders, ["n1 n2 n10", "n2 n1 n10", "n1 n10 n2", "n10 n1 n2", "n1 n2 n10"]);
}

#[test]
fn the_selection_stays_with_a_member_wherever_it_goes() {
    let mut app = app();
    press(&mut app, &[Key::Move(1)]);
    let story = |id: &str| Some(Act::Ask(Ask::Story(id.to_owned())));
    press(&mut app, &[Key::Letter('s')]);
    assert_eq!(app.at, 0, "n2 is first by state");
    assert_eq!(press(&mut app, &[Key::Enter]), story("id of n2"));
    app.on_news(change("removed", NOW, member("n2", "dead", NOW, None)));
    assert_eq!(press(&mut app, &[Key::Escape, Key::Enter]), None, "it is gone, and nothing else was chosen yet");
    assert_eq!(press(&mut app, &[Key::Enter]), story("id of n1"), "who took its place");
    assert_eq!(press(&mut app, &[Key::Escape, Key::Move(isize::MAX), Key::Enter]), story("id of n10"));
}

#[test]
fn a_filter_takes_letters_as_text_and_leaves_by_escape() {
    let mut app = app();
    press(&mut app, &[Key::Letter('/')]);
    type_in(&mut app, "SUSq");
    press(&mut app, &[Key::Backspace]);
    assert_eq!(listed(&app), ["n2"]);
    assert!(picture(&app, 80, 24).contains("Members 1 of 3 with \"SUS\""));
    assert_eq!(press(&mut app, &[Key::Enter, Key::Letter('q')]), Some(Act::Quit));
    press(&mut app, &[Key::Letter('/'), Key::Control('u')]);
    type_in(&mut app, "role=db");
    assert_eq!(listed(&app).len(), 3);
    type_in(&mut app, "x");
    assert!(picture(&app, 80, 24).contains("no member has that"));
    press(&mut app, &[Key::Escape]);
    assert_eq!(listed(&app).len(), 3);
    assert_eq!(press(&mut app, &[Key::Letter('/'), Key::Control('c')]), Some(Act::Quit));
}

#[test]
fn rates_are_differences_by_the_agents_own_clock_and_begin_anew_with_it() {
    let mut app = app();
    app.on_news(News::Info(info(7.0, 3_000)));
    let picture = picture(&app, 120, 36);
    assert!(picture.contains("sent     1.5 kB/s   15 datagrams/s"), "{picture}");
    assert!(picture.contains("3 % of the 50.0 kB/s that may be sent"), "{picture}");
    let before = app.known().rates.len();
    app.on_news(News::Info(info(1.0, 100)));
    let mut another = info(9.0, 9_000);
    another.pid = 8;
    app.on_news(News::Info(another));
    app.on_news(News::Info(info(1.5, 100)));
    assert_eq!(app.known().rates.len(), before, "a start anew is no rate");
    for second in 2..2_000 {
        app.on_news(News::Info(info(second.into(), 100)));
    }
    assert_eq!(app.known().rates.len(), 600);
}

#[test]
fn what_happens_to_members_is_told_and_changes_the_list() {
    let mut app = app();
    app.on_news(change("suspected", NOW, member("n10", "suspect", NOW, None)));
    app.on_news(change("failed", NOW + 2.5, member("n10", "dead", NOW + 2.5, None)));
    app.on_news(change("joined", NOW + 3.0, member("n11", "alive", NOW + 3.0, None)));
    app.on_news(News::Happened(MemberEvent::Missed { missed: 3 }));
    app.settle(NOW + 4.0);
    let picture = picture(&app, 120, 36);
    for line in ["n10 dead    2.5 s after it was suspected", "n11 alive   joined at", "3 events came too fast"] {
        assert!(picture.contains(line), "{line} in\n{picture}");
    }
    assert!(picture.contains("2.00 ms"), "an event knows no round trip, and takes none away:\n{picture}");
    for at in 0..600 {
        app.on_news(change("refuted", NOW + f64::from(at), member("n11", "alive", NOW, None)));
    }
    assert_eq!(app.known().happenings.len(), 500);
}

#[test]
fn a_pause_keeps_the_picture_and_loses_nothing() {
    let mut app = app();
    press(&mut app, &[Key::Letter('p')]);
    app.on_news(change("joined", NOW, member("n11", "alive", NOW, None)));
    app.settle(NOW);
    let still = picture(&app, 100, 30);
    assert!(still.contains("PAUSED") && !still.contains("n11"), "{still}");
    press(&mut app, &[Key::Letter('p')]);
    assert_eq!(listed(&app), ["n1", "n2", "n10", "n11"]);
}

#[test]
fn an_agent_that_is_gone_is_said_also_in_a_pause_until_it_answers() {
    let mut app = app();
    press(&mut app, &[Key::Letter('p')]);
    app.on_news(News::Gone("refused".to_owned()));
    app.settle(NOW + 3.0);
    app.on_news(News::Gone("refused again".to_owned()));
    let gone = picture(&app, 80, 24);
    assert!(gone.contains(" GONE ") && gone.contains("no answer for 3 s: refused again"), "{gone}");
    app.on_news(News::Info(info(9.0, 0)));
    press(&mut app, &[Key::Letter('p')]);
    let back = picture(&app, 80, 24);
    assert!(back.contains(" live ") && back.contains("back    the agent answers again"), "{back}");
}

#[test]
fn a_story_is_told_scrolled_and_told_again_when_something_happens() {
    let mut app = app();
    press(&mut app, &[Key::Move(1), Key::Enter]);
    assert!(picture(&app, 80, 24).contains("the agent is asked"));
    app.on_news(News::Story("id of n1".to_owned(), Ok(story("n1", 1))));
    assert!(picture(&app, 80, 24).contains("the agent is asked"), "another's story");
    app.on_news(News::Story("id of n2".to_owned(), Ok(story("n2", 40))));
    let told = picture(&app, 80, 24);
    assert!(told.contains("Story of n2") && told.contains("▲ suspect") && told.contains("step 0\\u{1b}[2J"), "{told}");
    press(&mut app, &[Key::Move(isize::MAX)]);
    assert!(picture(&app, 80, 24).contains("Next: a probe"), "{}", picture(&app, 80, 24));
    let again = app.on_news(change("refuted", NOW, member("n2", "alive", NOW, None)));
    assert_eq!(again, Some(Act::Ask(Ask::Story("id of n2".to_owned()))));
    app.on_news(News::Story("id of n2".to_owned(), Err("no member n2".to_owned())));
    assert!(picture(&app, 80, 24).contains("no member n2"));
}

#[test]
fn a_topic_is_followed_again_after_its_agent_was_gone() {
    let mut app = app();
    let topic = json!([{ "topic": "news", "messages": 2, "bytes": 2_048, "last": NOW - 4.0 }]);
    app.on_news(News::Topics(serde_json::from_value(topic).unwrap()));
    let follow = Some(Act::Ask(Ask::Follow("news".to_owned())));
    assert_eq!(press(&mut app, &[Key::PreviousPanel, Key::PreviousPanel, Key::Enter]), follow);
    let message = json!({ "topic": "news", "origin": "n1", "origin_id": "a", "sequence": "7", "payload": "hi\u{7}",
        "hops": 1, "published_at": NOW, "received_at": NOW });
    app.on_news(News::Delivery("news".to_owned(), Ok(serde_json::from_value(message.clone()).unwrap())));
    app.on_news(News::Delivery("other".to_owned(), Ok(serde_json::from_value(message).unwrap())));
    let shown = picture(&app, 100, 30);
    assert_eq!(shown.matches("n1:7  hi\\u{7}").count(), 1, "{shown}");
    app.on_news(News::Delivery("news".to_owned(), Err("the agent has stopped".to_owned())));
    assert!(picture(&app, 100, 30).contains("the agent has stopped"));
    assert_eq!(app.on_news(News::Info(info(6.0, 0))), follow);
    assert_eq!(app.on_news(News::Info(info(7.0, 0))), None, "once");
    assert_eq!(press(&mut app, &[Key::Escape]), Some(Act::Ask(Ask::FollowNone)));
    assert!(picture(&app, 100, 30).contains("news                2   2.0 kB     4 s"), "{}", picture(&app, 100, 30));
}

#[test]
fn every_size_is_drawn_with_everything_open() {
    let mut app = app();
    app.on_news(News::Info(info(7.0, 3_000)));
    app.on_news(change("suspected", NOW, member("n10", "suspect", NOW, None)));
    let topic = json!([{ "topic": "news", "messages": 2, "bytes": 2_048, "last": NOW }]);
    app.on_news(News::Topics(serde_json::from_value(topic).unwrap()));
    for keys in [vec![], vec![Key::Letter('?')], vec![Key::Escape, Key::Enter], vec![Key::Escape, Key::Letter('/')]] {
        press(&mut app, &keys);
        app.on_news(News::Story("id of n1".to_owned(), Ok(story("n1", 3))));
        for _panel in 0..4 {
            for (width, height) in [(0, 0), (1, 1), (2, 3), (7, 4), (12, 40), (40, 10), (80, 24), (300, 5), (300, 100)]
            {
                let lines = picture(&app, width, height).lines().count();
                assert_eq!(lines, if width == 0 { 0 } else { height.into() });
            }
            press(&mut app, &[Key::NextPanel]);
        }
    }
}

#[test]
fn where_there_is_little_room_only_the_chosen_panel_is_drawn() {
    let mut app = app();
    let members = picture(&app, 40, 10);
    assert!(members.contains("Members 3") && members.contains("n10") && !members.contains("Traffic"), "{members}");
    press(&mut app, &[Key::NextPanel]);
    assert!(picture(&app, 40, 10).contains("Traffic of this agent"));
    press(&mut app, &[Key::NextPanel, Key::NextPanel]);
    assert!(picture(&app, 40, 10).contains("nothing has happened"));
}

#[test]
fn wide_and_hostile_names_stay_in_their_column() {
    let mut app = app();
    for name in ["名前名前名前名前名前名前", "a\u{202e}b", "e\u{301}e\u{301}", "x\ny"] {
        app.on_news(change("joined", NOW, member(name, "alive", NOW, None)));
    }
    app.settle(NOW);
    let picture = picture(&app, 100, 40);
    let row = |name: &str| picture.lines().find(|line| line.contains(name)).unwrap().to_owned();
    for name in ["a\\u{202e}b", "e\u{301}e\u{301}", "x\\ny", "n10"] {
        let row = row(name);
        let before = row.split("alive").next().unwrap();
        assert_eq!(ratatui::text::Span::raw(before).width(), 3 + 19 + 1, "{name}: {picture}");
    }
    assert!(row("名").contains("… alive"), "{picture}");
}

#[test]
fn ten_thousand_members_cost_only_the_rows_that_are_seen() {
    let mut app = app();
    let members: Vec<MemberDocument> = (0..10_000).map(|i| member(&format!("node-{i}"), "alive", NOW, None)).collect();
    app.on_news(News::Members(members));
    app.settle(NOW);
    press(&mut app, &[Key::Move(5_000)]);
    let picture = picture(&app, 80, 24);
    assert!(picture.contains("Members 10,000") && picture.contains("node-5000"), "{picture}");
    assert_eq!(picture.matches("node-").count(), 5, "{picture}");
}
