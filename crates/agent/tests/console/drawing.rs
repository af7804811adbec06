//! What is drawn stays as large as it is meant to be, whole, and true to time.

use serde_json::{Value, json};

use super::Dev;
use super::browser::Driver;
use super::made_up::Cluster;

/// Two frames: what was changed is laid out, and what watches sizes has drawn.
const SETTLE: &str =
    "const settle = () => new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)));";

pub(super) fn a_chart_keeps_its_height(driver: &Driver, _: &Dev) {
    let page = driver.open(&format!("{}/#/cluster", Cluster { members: 5, rate: 1 }.serve()));
    page.wait_for_text("#link", "live");
    // Three in a row: each time the words above one wrap the others make room, and give it back.
    let heights = page.run_async(&format!(
        "const done = arguments[arguments.length - 1]; {SETTLE} import('/console/chart.js').then(async ({{ Chart }}) => {{ \
            const charts = [1, 2, 3].map((title) => new Chart({{ title, lines: ['sent', 'received'], format: String, xFormat: String }})); \
            const grid = document.createElement('div'); grid.className = 'charts'; grid.append(...charts.map((chart) => chart.node)); \
            document.getElementById('view').replaceChildren(grid); \
            charts.forEach((chart) => chart.show([[[0, 1], [1, 2]], [[0, 2], [1, 1]]], 0, 1)); await settle(); \
            const heights = () => charts.map((chart) => chart.plot.getBoundingClientRect().height); const before = heights(); \
            let most = 0; for (let turn = 0; turn < 20; turn += 1) {{ \
                charts[0].now.style.width = '4rem'; await settle(); most = Math.max(most, ...heights()); \
                charts[0].now.style.width = ''; await settle(); }} \
            done([before, heights(), most]); }});"
    ));
    assert_eq!(heights[0], heights[1], "before and after");
    assert!(heights[2].as_f64() > heights[0][0].as_f64(), "the others made room: {heights}");
    for width in [700, 1_280].repeat(5) {
        page.resize(width, 900);
        page.run_async(&format!("const done = arguments[arguments.length - 1]; {SETTLE} settle().then(done);"));
    }
    let after = page.run(
        "return [...document.querySelectorAll('.chart .plot')].map((plot) => plot.getBoundingClientRect().height)",
    );
    assert_eq!(heights[0], after, "after the window was narrow");
}

pub(super) fn hours_without_a_sample_are_a_gap(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for_text("#link", "live");
    // The very modules of the page, at times of the test's own.
    let kept = page.run_async(
        "const done = arguments[arguments.length - 1]; import('/console/store.js').then(({ Store }) => { \
            const [store, now] = [new Store(), Date.now]; let at = now(); Date.now = () => at; \
            store.addSample({ turn: 1 }); at += 7_200_000; store.addSample({ turn: 2 }); Date.now = now; \
            done(store.samples.map(({ values }) => values.turn)); });",
    );
    assert_eq!(kept, json!([2]), "what is older than the chart is wide is dropped");
    let pieces = page.run_async(
        "const done = arguments[arguments.length - 1]; import('/console/chart.js').then(({ Chart }) => { \
            const chart = new Chart({ title: 'One', lines: ['one'], format: String, xFormat: String, gap: 10 }); \
            document.getElementById('view').append(chart.node); \
            chart.show([[[0, 1], [2, 1], [4, 1], [100, 1], [102, 1]]], 0, 102); \
            done(chart.svg.querySelectorAll('path.line0:not(.area)').length); chart.close(); });",
    );
    assert_eq!(pieces, 2, "no line goes where nothing was measured");
}

pub(super) fn a_member_that_changes_leaves_its_neighbours_whole(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for_text("#link", "live");
    // So many that neighbours on the ring nearly touch: one dies and is back, and the picture is as it was.
    let same = page.run_async(&format!(
        "const done = arguments[arguments.length - 1]; {SETTLE} import('/console/picture.js').then(async ({{ Picture }}) => {{ \
            const picture = new Picture({{ label: 'All', open: () => {{}}, tell: () => '' }}); \
            document.getElementById('view').replaceChildren(picture.node); await settle(); \
            const members = (state) => Array.from({{ length: 150 }}, (_, at) => ({{ id: String(at), name: `n${{at}}`, \
                state: at === 75 ? state : 'alive' }})); \
            const pixels = async (state) => {{ picture.show(members(state)); await settle(); await settle(); const c = picture.canvas; \
                return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].join(); }}; \
            const [before, dead, after] = [await pixels('alive'), await pixels('dead'), await pixels('alive')]; \
            picture.close(); done([before !== dead, before === after]); }});"
    ));
    assert_eq!(same, json!([true, true]), "the death is seen, and after it all are whole");
}

pub(super) fn a_changed_row_flashes_and_again(driver: &Driver, dev: &Dev) {
    dev.ask(0, &["put", "color", "green"]);
    let page = driver.open(&dev.page(0, "data"));
    page.resize(360, 900);
    page.wait_for_text(".entries .line", "green");
    let flash = "document.querySelector('.entries .line').getAnimations()[0]";
    dev.ask(0, &["put", "color", "blue"]);
    page.wait_for(&format!("(window.flash = {flash})"));
    dev.ask(0, &["put", "color", "red"]);
    page.wait_for(&format!("{flash} && {flash} !== window.flash"));
    // It ends by itself, whether or not anything is drawn then.
    page.wait_for(&format!("!{flash}"));
    assert_eq!(page.run("return document.querySelector('.flash')"), Value::Null);
    assert_eq!(page.complaints(), [] as [&str; 0]);
}
