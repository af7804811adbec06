//! Everybody can use the console: what axe-core finds on each page, and what the keyboard reaches.

use serde_json::{Value, json};

use super::Dev;
use super::browser::{DOWN, Driver, ENTER, ESCAPE, Page, RIGHT, TAB};

const AXE: &str = include_str!("../assets/axe-core/axe.min.js");
const FIND: &str = "const done = arguments[arguments.length - 1]; \
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']; \
    const line = (rule) => rule.nodes.map((node) => `${rule.id} (${rule.help}): ${node.target.join(' ')}: ${node.failureSummary}`); \
    axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] }) \
        .then((found) => done(found.violations.flatMap(line)), (error) => done([String(error)]));";

/// What each page shows once it has something to show.
fn pages(dev: &Dev) -> Vec<(String, &'static str)> {
    vec![
        ("cluster".to_owned(), "document.querySelector('.members .state.dead')"),
        (format!("member/{}", dev.field(0, "id")), "document.querySelector('.tag button')"),
        (format!("member/{}", dev.field(4, "id")), "document.querySelector('.story .key')"),
        ("rumors".to_owned(), "document.querySelector('.messages .payload') && document.querySelector('.chip')"),
        ("data".to_owned(), "document.querySelectorAll('.entries .line').length === 3"),
        ("agreement".to_owned(), "document.querySelector('td .state') && document.querySelector('.registers button')"),
        ("aggregates".to_owned(), "document.querySelectorAll('.chart').length === 4"),
        ("traffic".to_owned(), "document.querySelector('.chart path.line0')"),
        ("faults".to_owned(), "document.querySelector('tr[data-node]')"),
        ("laboratory".to_owned(), "document.querySelector('.lab [name=nodes]')"),
        ("nonsense".to_owned(), "document.querySelector('.banner')"),
    ]
}

/// A cluster in which every page has something to show.
fn fill(dev: &Dev) {
    dev.ask(0, &["tags", "set", "zone=a"]);
    dev.ask(0, &["put", "config/color", "green"]);
    dev.ask(0, &["add", "hits", "3"]);
    dev.ask(0, &["insert", "names", "ann"]);
    dev.ask(0, &["publish", "news", "hello"]);
    dev.ask(0, &["agree", "init", "--voters", "n1,n2,n3"]);
    dev.ask(0, &["register", "set", "leader", "ann"]);
    dev.kill(4);
}

pub(super) fn nothing_on_any_page_shuts_anybody_out(driver: &Driver, dev: &Dev) {
    fill(dev);
    let mut found = Vec::new();
    for width in [1_280, 360] {
        let page = driver.open(&dev.page(0, "cluster"));
        page.resize(width, 900);
        page.run(AXE);
        for (view, is_shown) in pages(dev) {
            page.go(&dev.page(0, &view));
            page.wait_for(is_shown);
            open_more(&page, &view);
            for theme in ["light", "dark"] {
                page.run(&format!("while (document.documentElement.dataset.theme !== '{theme}') document.getElementById('theme').click()"));
                let Value::Array(here) = page.run_async(FIND) else { panic!("axe-core gives a list") };
                found.extend(here.iter().map(|line| format!("{view}, {theme}, {width} px: {line}")));
            }
            let is_narrow = page.run("return document.documentElement.scrollWidth <= innerWidth");
            assert_eq!(is_narrow, true, "{view} is wider than {width} px");
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What shows only once somebody asks for it.
fn open_more(page: &Page<'_>, view: &str) {
    match view {
        "rumors" => {
            page.click(".messages button", "hello");
            page.wait_for_text(".picture p", "have it");
        }
        "data" => {
            page.click(".entries .line", "names");
            page.wait_for_text(".side .tag", "ann");
        }
        "laboratory" => {
            page.click(".lab button", "Run");
            page.wait_for_text(".lab [role=status]", "Everybody knew after");
        }
        _ => {}
    }
}

/// What can be worked with, and is there to be seen. Rows of tables are chosen by arrow keys once the first has the focus.
const REACHABLE: &str = "const list = document.querySelectorAll('a[href], button, input, select, textarea, [tabindex]'); \
    return [...list].filter((one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility())";

pub(super) fn the_keyboard_reaches_everything_and_shows_where_it_is(driver: &Driver, dev: &Dev) {
    fill(dev);
    for (view, is_shown) in pages(dev) {
        let page = driver.open(&dev.page(0, &view));
        page.wait_for(is_shown);
        page.run(
            "window.seen = new Set(); window.unseen = new Set(); \
            addEventListener('focusin', ({ target }) => { window.seen.add(target); \
                if (getComputedStyle(target).outlineStyle === 'none') window.unseen.add(target.outerHTML); })",
        );
        let count = page.run(&format!("{REACHABLE}.length")).as_u64().unwrap();
        page.press(&vec![TAB; usize::try_from(count).unwrap() + 5]);
        let missed = format!("{REACHABLE}.filter((one) => !window.seen.has(one)).map((one) => one.outerHTML)");
        assert_eq!(page.run(&missed), json!([]), "on {view} the keyboard does not reach these");
        assert_eq!(page.run("return [...window.unseen]"), json!([]), "on {view} these do not show that they have it");
    }
}

pub(super) fn a_dialog_keeps_the_keyboard_and_gives_it_back(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, &format!("member/{}", dev.field(1, "id"))));
    page.wait_for_text("h1", "n2");
    let has_focus = |selector: &str| page.wait_for(&format!("document.activeElement.matches('{selector}')"));
    page.run("document.querySelector('button.danger:not(.hidden)').focus()");
    page.press(&[ENTER]);
    page.wait_for_text("dialog h2", "Remove n2?");
    for _ in 0..6 {
        page.press(&[TAB]);
        // Between the last and the first of a dialog lies the browser's own window, for which the body stands.
        has_focus("dialog *, body");
    }
    page.press(&[ESCAPE]);
    page.wait_for("!document.querySelector('dialog')");
    has_focus("button.danger");
    page.press(&[ENTER]);
    page.wait_for_text("dialog h2", "Remove n2?");
    page.click("dialog button", "Cancel");
    page.wait_for("!document.querySelector('dialog')");
    has_focus("button.danger");
    assert_eq!(dev.ask(0, &["members"]).as_array().unwrap().len(), 5, "nobody was removed");
}

pub(super) fn the_picture_and_the_table_are_worked_with_keys(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for("document.querySelectorAll('.members .line').length === 5");
    page.run("document.querySelector('.picture canvas[tabindex]').focus()");
    page.press(&[RIGHT, RIGHT]);
    page.wait_for_text(".tip", "n2");
    page.press(&[ENTER]);
    page.wait_for_text("h1", "n2");
    page.go(&dev.page(0, "cluster"));
    page.wait_for("document.querySelectorAll('.members .line').length === 5");
    page.run("document.querySelector('.members .line').focus()");
    page.press(&[DOWN, DOWN, ENTER]);
    page.wait_for_text("h1", "n3");
}

pub(super) fn a_page_whose_agent_is_gone_shuts_nobody_out(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "traffic"));
    page.wait_for("document.querySelector('.chart path.line0')");
    page.run(AXE);
    dev.kill(0);
    page.wait_for_text("#link", "the agent is gone");
    let mut found = Vec::new();
    for view in ["traffic", "cluster", "agreement"] {
        page.run(&format!("location.hash = '#/{view}'"));
        page.wait_for(&format!("document.querySelector('#tabs a[aria-current]').dataset.name === '{view}'"));
        for theme in ["light", "dark"] {
            page.run(&format!(
                "while (document.documentElement.dataset.theme !== '{theme}') document.getElementById('theme').click()"
            ));
            let Value::Array(here) = page.run_async(FIND) else { panic!("axe-core gives a list") };
            found.extend(here.iter().map(|line| format!("{view}, {theme}: {line}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    // How long it is gone changes each second, and is not read out each time.
    let live = "[...document.querySelectorAll('.bar [role=status]')].map((one) => one.textContent).join()";
    page.wait_for("/ for \\d+ s/.test(document.querySelector('.bar').textContent)");
    assert_eq!(page.run(&format!("return {live}")), "the agent is gone");
}

pub(super) fn a_dialog_ends_with_its_page(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for_text(".members .line", "n2");
    page.click(".members .line", "n2");
    page.wait_for_text("h1", "n2");
    page.click("button.danger:not(.hidden)", "Remove…");
    page.wait_for_text("dialog h2", "Remove n2?");
    page.run("history.back()");
    page.wait_for_text("h1", "Cluster");
    page.wait_for("!document.querySelector('dialog')");
    assert_eq!(dev.ask(0, &["members"]).as_array().unwrap().len(), 5, "nobody was removed");
}

pub(super) fn who_was_chosen_stays_chosen_when_others_come(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for("document.querySelectorAll('.members .line').length === 5");
    page.run("document.querySelector('.members .line').focus()");
    page.press(&[DOWN]);
    page.wait_for("document.activeElement.textContent.startsWith('n2')");
    let _first = dev.join("a-first");
    page.wait_for("document.querySelectorAll('.members .line').length === 6");
    page.wait_for("document.activeElement.textContent.startsWith('n2')");
    page.run("document.querySelector('.picture canvas[tabindex]').focus()");
    page.press(&[RIGHT, RIGHT]);
    page.wait_for_text(".tip", "n1");
    let _other = dev.join("b-second");
    page.wait_for("document.querySelectorAll('.members .line').length === 7");
    page.press(&[ENTER]);
    page.wait_for_text("h1", "n1");
}
