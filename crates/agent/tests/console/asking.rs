//! What a page asks its agent for: no longer than it shows it, and again when it did not get it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::Dev;
use super::browser::{Driver, Page};
use super::support::Agent;

/// Puts this in the place of `fetch(url, options, real)` of the documents to come.
fn with_fetch(page: &Page<'_>, body: &str) {
    page.before_scripts(&format!(
        "const real = window.fetch.bind(window); window.asked = []; window.fetch = (url, options) => {{ \
            window.asked.push(String(url)); const again = () => real(url, options); {body} return again(); }};"
    ));
}

/// What gives an answer that ends in the middle.
const CUT: &str = "const cut = () => Promise.resolve(new Response(new ReadableStream({ start(body) { \
    body.enqueue(new TextEncoder().encode('[{')); body.error(new TypeError('network error')); } })));";

pub(super) fn a_page_that_was_left_asks_no_more(driver: &Driver, dev: &Dev) {
    let page = driver.open("about:blank");
    // Each page is left while it waits for its answer.
    with_fetch(
        &page,
        "if (/why|topics|aggregates|locks|dev$/.test(url) && window.held) \
            return new Promise((then) => window.held.push(then)).then(again);",
    );
    page.go(&dev.page(0, "cluster"));
    page.wait_for_text("#link", "live");
    let (member, others) = (format!("member/{}", dev.field(1, "id")), ["rumors", "aggregates", "agreement", "faults"]);
    for view in [[&*member; 4].as_slice(), &others].concat() {
        page.run("window.held = []");
        page.run(&format!("location.hash = '#/{view}'"));
        page.wait_for("window.held.length > 0");
        page.run("location.hash = '#/cluster'");
        page.wait_for_text("h1", "Cluster");
        page.run("const held = window.held; window.held = null; held.forEach((then) => then())");
    }
    // What the page measures all the time says how long it is: twice the time after which pages ask again.
    let samples = "window.asked.filter((url) => url === '/metrics').length";
    page.run(&format!("window.before = {samples}"));
    page.wait_for(&format!("{samples} > window.before + 1"));
    page.run(&format!("window.asked = []; window.before = {samples}"));
    page.wait_for(&format!("{samples} > window.before + 3"));
    let more = page.run("return window.asked.filter((url) => !/metrics|members|info|events/.test(url))");
    assert_eq!(more.as_array().map(Vec::len), Some(0), "{more}");
}
