//! A page that is left open does not grow, however many members there are and however much happens to them.

use serde_json::json;

use super::Dev;
use super::browser::Driver;
use super::made_up::Cluster;

pub(super) fn ten_thousand_members_are_few_rows(driver: &Driver, _: &Dev) {
    let page = driver.open(&format!("{}/#/cluster", Cluster { members: 10_000, rate: 2_000 }.serve()));
    // Every fourth event is a death: more have come by then than the page keeps.
    page.wait_for("Number(document.querySelector('.chip[data-state=dead] b').textContent.replace(',', '')) > 500");
    assert_eq!(page.run("return document.querySelectorAll('.happenings li').length"), 100);
    let rows = page.run("return document.querySelectorAll('.members .line').length").as_u64().unwrap();
    assert!((5..60).contains(&rows), "{rows} rows");
    let elements = page.run("return document.querySelectorAll('*').length").as_u64().unwrap();
    assert!(elements < 2_000, "{elements} elements");
    page.run("document.querySelector('.members .body').scrollTop = 1e9");
    page.wait_for(
        "[...document.querySelectorAll('.members .line')].some((row) => row.textContent.includes('node-9999'))",
    );
    let rows = page.run("return document.querySelectorAll('.members .line').length").as_u64().unwrap();
    assert!((5..60).contains(&rows), "{rows} rows at the end");
}

pub(super) fn what_the_page_keeps_is_bounded(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for_text("#link", "live");
    // The very module of the page.
    let kept = page.run_async(
        "const done = arguments[arguments.length - 1]; import('/console/store.js').then(({ Store }) => { const store = new Store(); \
            for (let turn = 0; turn < 10_000; turn += 1) { store.note({ event: 'gone', at: turn, detail: '' }); store.addSample({ turn }); } \
            done([store.events.length, store.events[0].at, store.samples.length, store.samples.at(-1).values.turn]); });",
    );
    assert_eq!(kept, json!([500, 9_999, 300, 9_999]));
}
