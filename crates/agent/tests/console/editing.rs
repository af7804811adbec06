//! What somebody is typing is theirs, whatever comes in meanwhile.

use super::Dev;
use super::browser::Driver;

pub(super) fn what_is_typed_stays_when_the_key_changes(driver: &Driver, dev: &Dev) {
    dev.ask(0, &["put", "color", "green"]);
    let page = driver.open(&dev.page(0, "data"));
    page.click(".entries .line", "color");
    page.wait_for("document.querySelector('.side textarea').value === 'green'");
    // Nobody types: what comes in is shown.
    dev.ask(0, &["put", "color", "blue"]);
    page.wait_for("document.querySelector('.side textarea').value === 'blue'");
    page.run("document.querySelector('.side textarea').focus()");
    page.write(".side textarea", "dark re");
    dev.ask(0, &["put", "color", "white"]);
    page.wait_for_text(".side .banner", "changed meanwhile");
    page.wait_for("document.activeElement === document.querySelector('.side textarea')");
    assert_eq!(page.run("return document.querySelector('.side textarea').value"), "dark re");
    // Saving asks, as it overwrites what was not seen.
    page.click(".side button", "Save");
    page.wait_for_text("dialog p", "white");
    page.click("dialog button", "Cancel");
    assert_eq!(dev.ask(0, &["get", "color"])["value"], "white");
    page.write(".side textarea", "dark red");
    page.click(".side button", "Save");
    page.click("dialog button", "Overwrite");
    page.wait_for_text(".toast", "color saved");
    assert_eq!(dev.ask(0, &["get", "color"])["value"], "dark red");
    page.wait_for("document.querySelector('.side .banner[role=status]').classList.contains('hidden')");
    // It is also kept when the key is deleted.
    page.write(".side textarea", "pale red");
    dev.ask(0, &["delete", "color"]);
    page.wait_for_text(".side .banner", "deleted meanwhile");
    assert_eq!(page.run("return document.querySelector('.side textarea').value"), "pale red");
    page.click(".side button", "Save");
    page.click("dialog button", "Write");
    page.wait_for_text(".entries .line", "pale red");
}

pub(super) fn an_own_addition_keeps_the_step_and_the_focus(driver: &Driver, dev: &Dev) {
    dev.ask(0, &["add", "hits", "3"]);
    let page = driver.open(&dev.page(0, "data"));
    page.click(".entries .line", "hits");
    page.write(".side input[aria-label=Amount]", "5");
    page.run("[...document.querySelectorAll('.side button')].find((one) => one.textContent === 'Add').focus()");
    page.run("document.activeElement.click()");
    page.wait_for_text(".side .card b", "8");
    page.run("document.activeElement.click()");
    page.wait_for_text(".side .card b", "13");
    assert_eq!(page.run("return document.querySelector('.side input[aria-label=Amount]').value"), "5");
}

pub(super) fn a_row_of_a_register_keeps_the_focus(driver: &Driver, dev: &Dev) {
    dev.ask(0, &["agree", "init", "--voters", "n1,n2,n3"]);
    dev.ask(0, &["register", "set", "leader", "ann"]);
    let page = driver.open(&dev.page(0, "agreement"));
    page.wait_for_text("td.mono", "leader");
    page.run("(window.button = [...document.querySelectorAll('td button')].find((one) => one.textContent === 'Edit')).focus()");
    dev.ask(0, &["register", "set", "leader", "ben"]);
    dev.ask(0, &["register", "set", "coordinator", "machine-7"]);
    page.wait_for_text("td.mono", "ben");
    page.wait_for_text("td.mono", "coordinator");
    assert_eq!(page.run("return document.activeElement === window.button"), true);
    // Where there is little room, words stay whole: what can be spared makes room.
    page.resize(360, 900);
    let words = "[...document.querySelectorAll('.registers .mono bdi, .registers button')]";
    let broken = page.run(&format!("return {words}.filter((one) => one.getClientRects().length > 1 || one.offsetHeight > 40).map((one) => one.textContent)"));
    assert_eq!(broken, serde_json::json!([]));
    // What it does is about what is shown now.
    page.run("window.button.click()");
    page.wait_for("document.querySelector('form .grow input').value === 'ben'");
}

pub(super) fn tags_are_set_once_that_is_confirmed(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, &format!("member/{}", dev.field(0, "id"))));
    page.wait_for_text(".tag", "dev=true");
    page.write("input[aria-label=Key]", "zone");
    page.write("input[aria-label=Value]", "a");
    page.click("form button", "Set");
    page.wait_for_text("dialog h2", "Set the tag zone?");
    page.click("dialog button", "Cancel");
    page.wait_for("!document.querySelector('dialog')");
    assert!(dev.get(0, &format!("/v1/members/{}", dev.field(0, "id")))["tags"]["zone"].is_null());
    page.click("form button", "Set");
    page.click("dialog button", "Set");
    page.wait_for_text(".tag", "zone=a");
}

pub(super) fn a_thirteenth_chart_takes_the_place_of_none(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.run(
        "localStorage.setItem('rumor-aggregates', \
            JSON.stringify(Array.from({ length: 12 }, (_, at) => ({ name: `gauge-${at}`, kind: 'avg' }))))",
    );
    page.go(&dev.page(0, "aggregates"));
    page.wait_for("document.querySelectorAll('.chart').length === 12");
    page.write("input[list=gauges]", "load");
    page.click("button", "Add");
    page.wait_for_text(".toast.bad", "remove one first");
    page.wait_for_text(".chart h2", "gauge-0, avg");
}
