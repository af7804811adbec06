//! What goes wrong is said in a sentence, and what others say stays text, on whatever page it shows.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;

use serde_json::{Value, json};

use super::browser::Driver;
use super::support::{Agent, rumor};
use super::{Dev, HOSTILE};

/// The same for names that may not hold `>`.
const HOSTILE_NAME: &str = "<img src=x onerror=window.broken=1 \u{202e}";

pub(super) fn an_address_that_leads_nowhere_is_said_so(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "nonsense/%3Cimg%3E"));
    page.wait_for_text("h1", "No such page");
    page.wait_for_text(".banner", "This console has no page #/nonsense/<img>. Choose one of those that are listed.");
    page.click("#tabs a", "Cluster");
    page.wait_for("document.querySelectorAll('.members .line').length === 5");
    assert_eq!(page.complaints(), [] as [&str; 0]);
}

/// A page at an address of its own on this machine.
fn elsewhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&connection).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let page = "<!doctype html><title>elsewhere</title>";
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close";
            write!(connection, "{head}\r\ncontent-length: {}\r\n\r\n{page}", page.len()).ok();
        }
    });
    address
}

pub(super) fn a_page_of_another_origin_gets_nothing_done(driver: &Driver, dev: &Dev) {
    let address = elsewhere();
    let page = driver.open(&address);
    let agent = json!(dev.field(0, "http"));
    // What needs no leave of the agent a browser sends, and keeps the answer from the page: `opaque`.
    let tries = "const done = arguments[arguments.length - 1]; const simple = { method: 'POST', mode: 'no-cors', body: '{}' }; \
        const tries = [fetch(agent + '/v1/members'), fetch(agent + '/v1/data/key', { method: 'PUT', body: 'x' }), \
            fetch(agent + '/v1/topics/news', simple), fetch(agent + '/v1/leave', simple)]; \
        Promise.allSettled(tries).then((all) => done(all.map((one) => one.value?.type ?? 'kept back')));";
    let came = page.run_async(&format!("const agent = {agent}; {tries}"));
    assert_eq!(came, json!(["kept back", "kept back", "opaque", "opaque"]));
    // Somebody who is sent there by a form reads why nothing was done.
    let form = "const form = document.createElement('form'); form.method = 'post'; form.action = agent + '/v1/leave'; \
        document.body.append(form); form.submit();";
    page.run(&format!("const agent = {agent}; {form}"));
    page.wait_for_text("body", &format!("pages of {} may not speak to this agent", address.trim_end_matches('/')));
    assert_eq!(dev.get(0, "/v1/topics"), json!([]));
    assert_eq!(dev.get(0, "/v1/data?prefix="), json!([]));
    let members = dev.get(1, "/v1/members");
    assert!(members.as_array().unwrap().iter().all(|member| member["state"] == "alive"), "{members}");
}

pub(super) fn a_member_that_vanished_meanwhile_is_said_so(driver: &Driver, dev: &Dev) {
    dev.kill(2);
    let page = driver.open(&dev.page(0, &format!("member/{}", dev.field(2, "id"))));
    page.wait_for_text(".story .key", "dead");
    page.click("button", "Remove…");
    page.wait_for_text("dialog h2", "Remove n3?");
    dev.ask(1, &["remove", "n3"]);
    page.wait_for_text(".banner", "n3 is no longer listed.");
    page.click("dialog button", "Remove");
    page.wait_for_text(".toast.bad", "n3 is no longer listed: there is nothing to remove.");
}

pub(super) fn an_agent_alone_has_something_to_say_on_each_page(driver: &Driver, _: &Dev) {
    let agent = Agent::start("n1", &[]);
    let page = driver.open(&agent.http);
    let join = format!("only this agent so far; others join with: rumor agent --join {}", agent.gossip);
    let pages = [
        ("cluster", ".head", &*join),
        ("cluster", ".happened", "Nothing has happened since this page was opened."),
        ("rumors", ".card", "This agent has no messages yet."),
        ("rumors", ".tail", "Nothing was said on news yet. Publish something."),
        ("data", ".entries", "The database is empty. Write the first key."),
        ("agreement", ".card", "No register can be used: no voters were named yet."),
        ("agreement", ".card", "This agent has heard of no register."),
        ("agreement", ".card", "Nobody holds a lock, as far as this agent has heard."),
        ("aggregates", ".chart small", "1 node,"),
        ("traffic", ".card", "Nothing was dropped."),
        ("faults", ".card", "Nothing can be broken here: this agent was not started by rumor dev."),
    ];
    for (view, selector, words) in pages {
        page.go(&format!("{}/#/{view}", agent.http));
        page.wait_for_text(selector, words);
    }
    page.go(&format!("{}/#/rumors", agent.http));
    // Nothing is published as long as nothing is written.
    page.wait_for("[...document.querySelectorAll('button')].find((one) => one.textContent === 'Publish').disabled");
    page.write("input[placeholder='hello, rumor']", "hello");
    page.click("button", "Publish");
    page.wait_for_text(".picture p", "all 1 have it");
}

pub(super) fn a_partial_view_says_that_it_is_one(driver: &Driver, _: &Dev) {
    let dev = Dev::of(&["--view", "partial"]);
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for_text(".head small", "a partial view: ");
    page.wait_for_text(".head small", "that it has heard of, of about");
    page.go(&dev.page(0, "rumors"));
    page.write("input[placeholder='hello, rumor']", "hello");
    page.click("button", "Publish");
    page.wait_for_text(".picture p", "have it after");
    assert_eq!(page.complaints(), [] as [&str; 0]);
}

pub(super) fn what_is_not_text_is_shown_with_its_length(driver: &Driver, dev: &Dev) {
    for arguments in [["publish", "sensors", "-"], ["put", "raw", "-"]] {
        let mut command = rumor(&arguments);
        let mut child = command.env("RUMOR_AGENT", dev.field(0, "http")).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"\xff\xfe\x00abc").unwrap();
        assert!(child.wait().unwrap().success());
    }
    let page = driver.open(&dev.page(1, "rumors"));
    page.click(".chip", "sensors");
    page.wait_for_text(".messages .payload", "6 bytes that are not text, as base64: //4AYWJj");
    page.wait_for("document.querySelector('.chip').getAttribute('aria-pressed') === 'true'");
    page.go(&dev.page(1, "data"));
    page.wait_for_text(".entries .line", "6 bytes that are not text, as base64: //4AYWJj");
    page.click(".entries .line", "raw");
    page.wait_for_text(".side .card", "Not text: shown as base64, and changed on the command line only.");
    assert_eq!(page.complaints(), [] as [&str; 0]);
}

pub(super) fn hostile_names_stay_text_on_every_page(driver: &Driver, dev: &Dev) {
    dev.ask(0, &["agree", "init", "--voters", "n1,n2,n3"]);
    dev.ask(0, &["register", "set", HOSTILE, HOSTILE]);
    dev.ask(0, &["publish", HOSTILE_NAME, HOSTILE]);
    dev.ask(0, &["gauge", HOSTILE_NAME, "3"]);
    let page = driver.open(&dev.page(0, "agreement"));
    let lock = json!({ "holder": "0000000000000007", "label": HOSTILE_NAME, "ttl": 3600 }).to_string();
    let acquire = format!(
        "const done = arguments[arguments.length - 1]; fetch('/v1/locks/' + encodeURIComponent({}), \
        {{ method: 'POST', headers: {{ 'content-type': 'application/json' }}, body: {} }}).then((answer) => done(answer.status));",
        json!(HOSTILE),
        json!(lock)
    );
    assert_eq!(page.run_async(&acquire), 200);
    page.wait_for_text("td.name", HOSTILE);
    page.wait_for_text("td.name + td.name", HOSTILE_NAME);
    page.wait_for_text("td.mono", HOSTILE);
    page.go(&dev.page(0, "rumors"));
    page.click(".chip", HOSTILE_NAME);
    page.wait_for_text(".messages .payload", HOSTILE);
    page.go(&dev.page(0, "aggregates"));
    page.write("input[list=gauges]", HOSTILE_NAME);
    page.click("button", "Add");
    page.wait_for_text(".chart h2", HOSTILE_NAME);
    page.go(&dev.page(0, &format!("member/{HOSTILE_NAME}")));
    page.wait_for_text(".banner", HOSTILE_NAME);
    page.go(&dev.page(0, &format!("data/{HOSTILE_NAME}")));
    page.wait_for_text(".entries", "No key begins like that.");
    assert_eq!(page.run("return window.broken ?? null"), Value::Null);
    assert_eq!(page.run("return document.querySelectorAll('main img, main script').length"), 0);
}
