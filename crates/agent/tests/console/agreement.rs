//! What the cluster agrees on, worked through on the page: voters, registers, locks; and gauges.

use super::Dev;
use super::browser::{Driver, Page};
use super::support::{Lines, rumor};

fn name_voters(page: &Page<'_>) {
    page.wait_for("document.querySelectorAll('form .tags input:checked').length === 3");
    page.click("button", "Name voters…");
    page.click("dialog button", "Name voters");
    page.wait_for_text(".card p", "3 voters, of which 2 must answer; configuration 1.");
}

pub(super) fn voters_are_named_added_and_removed(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "agreement"));
    name_voters(&page);
    page.run("const pick = document.querySelector('select'); pick.value = [...pick.options].find((one) => one.text === 'n4').value");
    page.click("button", "Let it vote…");
    page.wait_for_text("dialog p", "4 members will vote, of which 3 must answer.");
    page.click("dialog button", "Let it vote");
    page.wait_for_text(".card p", "4 voters, of which 3 must answer");
    page.click("button[aria-label='Remove n2']", "Remove…");
    page.click("dialog button", "Remove");
    page.wait_for_text(".card p", "3 voters, of which 2 must answer");
    let status = dev.ask(3, &["agree", "status"]);
    let voters: Vec<_> = status["voters"].as_array().unwrap().iter().map(|voter| voter["name"].clone()).collect();
    assert_eq!(voters, ["n1", "n3", "n4"]);
    assert_eq!(page.complaints(), [] as [&str; 0]);
}

pub(super) fn registers_are_set_and_only_as_long_as_nobody_else_did(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "agreement"));
    name_voters(&page);
    page.write("input[placeholder=leader]", "leader");
    page.write("form .grow input", "ann");
    page.click("button", "Set");
    page.wait_for_text("p", "leader holds \"ann\", version 1: that is agreed on.");
    page.click("td button", "Edit");
    dev.ask(1, &["register", "set", "leader", "ben"]);
    page.write("form .grow input", "cid");
    page.click("button", "Set");
    page.wait_for_text(".toast.bad", "leader holds \"ben\" (version 2), not what was expected");
    page.wait_for_text("td.mono", "ben");
    page.click("button", "Read");
    page.wait_for_text("p", "leader holds \"ben\", version 2");
    page.click("button", "Set");
    page.wait_for_text("p", "leader holds \"cid\", version 3");
}

pub(super) fn a_lock_shows_its_holder_until_it_is_given_back(driver: &Driver, dev: &Dev) {
    dev.ask(0, &["agree", "init", "--voters", "n1,n2,n3"]);
    let page = driver.open(&dev.page(0, "agreement"));
    page.wait_for_text(".card", "Nobody holds a lock");
    let mut command = rumor(&["lock", "deploy", "--", "sh", "-c", "echo $RUMOR_FENCING_TOKEN; exec sleep 60"]);
    command.env("RUMOR_AGENT", dev.field(1, "http"));
    let held = Lines::of(command);
    let token = held.next();
    page.wait_for_text("tr", &format!("deployn2/{}token {token}", held.child.id()));
    page.wait_for_text("tr", "unless renewed");
    held.signal("TERM");
    held.wait_for_end();
    page.wait_for("!document.querySelector('main').textContent.includes('deploy')");
    page.wait_for_text(".card", "Nobody holds a lock");
}

pub(super) fn a_gauge_shows_its_average(driver: &Driver, dev: &Dev) {
    dev.ask(1, &["gauge", "temperature", "20"]);
    let page = driver.open(&dev.page(0, "aggregates"));
    page.write("input[placeholder=temperature]", "temperature");
    page.write("input[type=number][required]", "10");
    page.click("button", "Set");
    page.wait_for_text(".toast", "this agent’s temperature is 10");
    page.write("input[list=gauges]", "temperature");
    page.click("button", "Add");
    page.wait_for("[...document.querySelectorAll('.chart')].some((e) => e.textContent.startsWith('temperature, avg') && e.querySelector('.now b').textContent === '15')");
    page.wait_for_text(".chart small", "5 nodes");
    page.write("input[list=gauges]", "nobody-has-it");
    page.click("button", "Add");
    page.wait_for_text(".chart small", "No agent has a gauge of that name.");
}

pub(super) fn loss_is_set_and_healed(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "faults"));
    page.wait_for("document.querySelector('tr[data-node]')");
    page.write("input[type=range]", "30");
    page.wait_for_text(".card b", "30 %");
    page.wait_for("(window.asked ??= fetch('/v1/dev').then((answer) => answer.json()).then((dev) => { window.asked = null; window.loss = dev.loss; })) && window.loss === 0.3");
    page.click("button", "Heal everything");
    page.wait_for_text(".card b", "0 %");
    page.wait_for("!document.querySelector('.card b').textContent.includes('30')");
    assert_eq!(dev.get(0, "/v1/dev")["loss"], 0.0);
    assert_eq!(page.complaints(), [] as [&str; 0]);
}
