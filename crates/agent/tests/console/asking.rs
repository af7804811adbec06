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

pub(super) fn the_token_opens_the_page_that_asked_for_it(driver: &Driver, _: &Dev) {
    let word = "0123456789abcdef0123456789abcdef";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, word).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let agent = Agent::start("n1", &["--set", &format!("http_token_file={}", path.display())]);
    for (view, selector, text) in
        [("rumors", ".tail header", "listening"), ("data", ".entries", "The database is empty.")]
    {
        let page = driver.open(&format!("{}/#/{view}", agent.http));
        page.wait_for_text("dialog", "who know its token");
        page.write("dialog input", word);
        page.click("dialog button", "Continue");
        page.wait_for_text(selector, text);
    }
}

pub(super) fn a_list_that_did_not_come_is_asked_for_again(driver: &Driver, dev: &Dev) {
    dev.ask(0, &["put", "config/color", "green"]);
    let page = driver.open("about:blank");
    with_fetch(
        &page,
        &format!(
            "{CUT} if (url.startsWith('/v1/data?')) {{ window.lists = (window.lists ?? 0) + 1; \
                if (window.lists === 1) return Promise.resolve(new Response('', {{ status: 503 }})); \
                if (window.lists === 2) return cut(); }}"
        ),
    );
    page.go(&dev.page(0, "data"));
    page.wait_for_text(".entries .line", "config/color");
    assert_eq!(page.run("return window.lists"), 3);
}

pub(super) fn a_watch_that_broke_is_said_so(driver: &Driver, dev: &Dev) {
    dev.ask(0, &["put", "config/color", "green"]);
    let page = driver.open("about:blank");
    with_fetch(&page, &format!("{CUT} if (url.startsWith('/v1/watch') && !window.isWell) return cut();"));
    page.go(&dev.page(0, "data"));
    page.wait_for_text(".entries .line", "config/color");
    page.wait_for_text(".keys header", "not kept up: ");
    page.run("window.isWell = true");
    page.wait_for("!document.querySelector('.keys header').textContent.includes('not kept up')");
}

pub(super) fn a_page_that_gets_no_connection_says_what_to_do(driver: &Driver, dev: &Dev) {
    let page = driver.open("about:blank");
    with_fetch(&page, "if (url === '/v1/events') return new Promise(() => {});");
    page.go(&dev.page(0, "cluster"));
    page.wait_for_text("#link", "close other windows of this console");
    page.wait_for_text(".members", "close other windows of this console");
    page.resize(360, 900);
    assert_eq!(page.run("return document.documentElement.scrollWidth <= innerWidth"), true);
}

pub(super) fn a_browser_that_keeps_nothing_shows_the_page(driver: &Driver, dev: &Dev) {
    let page = driver.open("about:blank");
    page.before_scripts(
        "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, \
            { get() { throw new DOMException('denied', 'SecurityError'); } });",
    );
    page.go(&dev.page(0, "rumors"));
    page.wait_for_text("#link", "live");
    page.wait_for_text(".tail header", "listening");
    page.click("#tabs a", "Aggregates");
    page.write("input[list=gauges]", "uptime");
    page.click("button", "Add");
    page.wait_for_text(".chart h2", "uptime, avg");
    page.click("#theme", "");
    assert_eq!(page.run("return document.documentElement.dataset.theme"), "light");
}

pub(super) fn a_slow_answer_overwrites_nothing_newer(driver: &Driver, dev: &Dev) {
    let page = driver.open("about:blank");
    with_fetch(
        &page,
        "if (url === '/v1/members' && !window.isDone) return again().then((answer) => \
            new Promise((then) => { window.let = () => { window.isDone = true; then(answer); }; }));",
    );
    page.go(&dev.page(0, "cluster"));
    page.wait_for_text("#link", "live");
    page.wait_for("window.let");
    // The answer was made before this happened, and comes after it was told.
    dev.kill(2);
    page.wait_for_text(".chip[data-state=dead]", "1");
    page.run(
        "window.worst = 1; const chip = document.querySelector('.chip[data-state=dead] b'); \
        new MutationObserver(() => { window.worst = Math.min(window.worst, Number(chip.textContent)); }) \
            .observe(chip, { childList: true, characterData: true, subtree: true }); window.let();",
    );
    let samples = "window.asked.filter((url) => url === '/metrics').length";
    page.run(&format!("window.before = {samples}"));
    page.wait_for(&format!("{samples} > window.before"));
    assert_eq!(page.run("return window.worst"), 1, "the dead one was shown alive");
}
