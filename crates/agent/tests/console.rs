//! The console in a real browser, against a real `rumor dev`. Its own harness, so that it is seen when no browser is there.
#![expect(clippy::unwrap_used, reason = "these are tests")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a harness tells what it does")]

#[path = "console/accessibility.rs"]
mod accessibility;
#[path = "console/agreement.rs"]
mod agreement;
#[path = "console/asking.rs"]
mod asking;
mod browser;
#[path = "console/drawing.rs"]
mod drawing;
#[path = "console/editing.rs"]
mod editing;
#[path = "console/growth.rs"]
mod growth;
#[path = "../benches/console/made_up.rs"]
mod made_up;
#[path = "console/mistakes.rs"]
mod mistakes;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use browser::{Driver, Page};
use serde_json::Value;
use support::{Agent, Lines, SKIP_NOTHING, may_skip, rumor, words};

/// What every hostile text tries: it is told apart from others by its number, and sets a mark if it runs.
const HOSTILE: &str = "<img src=x onerror=\"window.broken=1\"><script>window.broken=1</script>";

type Test = fn(&Driver, &Dev);

const TESTS: &[(&str, Test)] = &[
    ("the_picture_and_the_table_show_five_members", the_picture_and_the_table_show_five_members),
    ("a_message_is_seen_to_reach_all", a_message_is_seen_to_reach_all),
    ("a_write_shows_on_the_console_of_another_agent", a_write_shows_on_the_console_of_another_agent),
    ("what_others_say_stays_text", what_others_say_stays_text),
    ("every_page_opens_without_a_complaint", every_page_opens_without_a_complaint),
    ("nothing_on_any_page_shuts_anybody_out", accessibility::nothing_on_any_page_shuts_anybody_out),
    (
        "the_keyboard_reaches_everything_and_shows_where_it_is",
        accessibility::the_keyboard_reaches_everything_and_shows_where_it_is,
    ),
    ("a_dialog_keeps_the_keyboard_and_gives_it_back", accessibility::a_dialog_keeps_the_keyboard_and_gives_it_back),
    ("the_picture_and_the_table_are_worked_with_keys", accessibility::the_picture_and_the_table_are_worked_with_keys),
    ("an_agent_with_a_token_has_its_page_ask_for_it", an_agent_with_a_token_has_its_page_ask_for_it),
    ("faults_are_made_and_undone", faults_are_made_and_undone),
    ("loss_is_set_and_healed", agreement::loss_is_set_and_healed),
    ("voters_are_named_added_and_removed", agreement::voters_are_named_added_and_removed),
    (
        "registers_are_set_and_only_as_long_as_nobody_else_did",
        agreement::registers_are_set_and_only_as_long_as_nobody_else_did,
    ),
    ("a_lock_shows_its_holder_until_it_is_given_back", agreement::a_lock_shows_its_holder_until_it_is_given_back),
    ("a_gauge_shows_its_average", agreement::a_gauge_shows_its_average),
    ("an_address_that_leads_nowhere_is_said_so", mistakes::an_address_that_leads_nowhere_is_said_so),
    ("a_page_of_another_origin_gets_nothing_done", mistakes::a_page_of_another_origin_gets_nothing_done),
    ("a_member_that_vanished_meanwhile_is_said_so", mistakes::a_member_that_vanished_meanwhile_is_said_so),
    ("an_agent_alone_has_something_to_say_on_each_page", mistakes::an_agent_alone_has_something_to_say_on_each_page),
    ("a_partial_view_says_that_it_is_one", mistakes::a_partial_view_says_that_it_is_one),
    ("what_is_not_text_is_shown_with_its_length", mistakes::what_is_not_text_is_shown_with_its_length),
    ("hostile_names_stay_text_on_every_page", mistakes::hostile_names_stay_text_on_every_page),
    ("ten_thousand_members_are_few_rows", growth::ten_thousand_members_are_few_rows),
    ("what_the_page_keeps_is_bounded", growth::what_the_page_keeps_is_bounded),
    ("a_page_whose_agent_is_gone_shuts_nobody_out", accessibility::a_page_whose_agent_is_gone_shuts_nobody_out),
    ("a_dialog_ends_with_its_page", accessibility::a_dialog_ends_with_its_page),
    ("who_was_chosen_stays_chosen_when_others_come", accessibility::who_was_chosen_stays_chosen_when_others_come),
    ("a_chart_keeps_its_height", drawing::a_chart_keeps_its_height),
    ("hours_without_a_sample_are_a_gap", drawing::hours_without_a_sample_are_a_gap),
    ("a_member_that_changes_leaves_its_neighbours_whole", drawing::a_member_that_changes_leaves_its_neighbours_whole),
    ("a_changed_row_flashes_and_again", drawing::a_changed_row_flashes_and_again),
    ("a_page_that_was_left_asks_no_more", asking::a_page_that_was_left_asks_no_more),
    ("the_token_opens_the_page_that_asked_for_it", asking::the_token_opens_the_page_that_asked_for_it),
    ("a_list_that_did_not_come_is_asked_for_again", asking::a_list_that_did_not_come_is_asked_for_again),
    ("a_watch_that_broke_is_said_so", asking::a_watch_that_broke_is_said_so),
    ("a_page_that_gets_no_connection_says_what_to_do", asking::a_page_that_gets_no_connection_says_what_to_do),
    ("a_browser_that_keeps_nothing_shows_the_page", asking::a_browser_that_keeps_nothing_shows_the_page),
    ("a_slow_answer_overwrites_nothing_newer", asking::a_slow_answer_overwrites_nothing_newer),
    ("what_is_typed_stays_when_the_key_changes", editing::what_is_typed_stays_when_the_key_changes),
    ("an_own_addition_keeps_the_step_and_the_focus", editing::an_own_addition_keeps_the_step_and_the_focus),
    ("a_row_of_a_register_keeps_the_focus", editing::a_row_of_a_register_keeps_the_focus),
    ("tags_are_set_once_that_is_confirmed", editing::tags_are_set_once_that_is_confirmed),
    ("a_thirteenth_chart_takes_the_place_of_none", editing::a_thirteenth_chart_takes_the_place_of_none),
    ("the_laboratory_draws_what_the_command_line_gives", the_laboratory_draws_what_the_command_line_gives),
    ("a_run_of_the_laboratory_ends_with_its_page", a_run_of_the_laboratory_ends_with_its_page),
    ("an_agent_that_is_gone_is_said_so", an_agent_that_is_gone_is_said_so),
    ("a_page_recovers_when_its_agent_returns", a_page_recovers_when_its_agent_returns),
    ("a_member_that_was_killed_is_suspect_and_then_dead", a_member_that_was_killed_is_suspect_and_then_dead),
];

fn main() -> ExitCode {
    // As the usual harness takes them: words that names of tests contain, and flags.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let tests: Vec<_> = TESTS.iter().filter(|(name, _)| is_wanted(name)).collect();
    if std::env::args().any(|word| word == "--list") {
        for (name, _) in tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if tests.is_empty() {
        return ExitCode::SUCCESS;
    }
    let Some(driver) = Driver::start() else {
        println!("console: {} tests SKIPPED: no browser here; apt-get install chromium chromium-driver", tests.len());
        if !may_skip() {
            println!("console: with {SKIP_NOTHING} that is a failure");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    };
    let failed = tests.iter().filter(|(name, test)| !passes(name, *test, &driver)).count();
    println!("console: {} passed, {failed} failed", tests.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each test has a cluster of its own: some end its members.
fn passes(name: &str, test: Test, driver: &Driver) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| test(driver, &Dev::start())));
    println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
    if result.is_err() {
        eprintln!("{name} failed; what it said stands above");
    }
    result.is_ok()
}

/// A `rumor dev` of five agents. It ends with the test.
struct Dev {
    nodes: Vec<Value>,
    _process: Lines,
}

impl Dev {
    fn start() -> Self {
        Self::of(&[])
    }

    /// One with these flags as well.
    fn of(arguments: &[&str]) -> Self {
        let process = Lines::of(rumor(&[&["dev", "--http-port", "0", "--json"], arguments].concat()));
        let mut ready = process.next();
        let Value::Array(nodes) = ready["nodes"].take() else { panic!("{ready}") };
        Self { nodes, _process: process }
    }

    fn field(&self, node: usize, key: &str) -> &str {
        self.nodes[node][key].as_str().unwrap()
    }

    fn page(&self, node: usize, view: &str) -> String {
        format!("{}/#/{view}", self.field(node, "http"))
    }

    /// Runs a client command at one of the agents and reads its document.
    fn ask(&self, node: usize, arguments: &[&str]) -> Value {
        let mut command = rumor(arguments);
        command.env("RUMOR_AGENT", self.field(node, "http")).arg("--json");
        let (code, document, problem) = words(&command.output().unwrap());
        assert_eq!(code, 0, "{arguments:?}: {problem}");
        serde_json::from_str(&document).unwrap()
    }

    /// The document that one of the agents serves there.
    fn get(&self, node: usize, path: &str) -> Value {
        let mut answer = ureq::get(format!("{}{path}", self.field(node, "http"))).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    fn kill(&self, node: usize) {
        let pid = self.nodes[node]["pid"].to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    }

    /// One more agent with this name, whatever it is.
    fn join(&self, name: &str) -> Agent {
        Agent::start(name, &["--join", self.field(0, "gossip"), "--key-file", &self.key_file()])
    }

    fn key_file(&self) -> String {
        let home = Path::new(self.field(0, "data_dir")).parent().unwrap();
        home.join("cluster.key").to_str().unwrap().to_owned()
    }
}

fn the_picture_and_the_table_show_five_members(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for("document.querySelectorAll('.members .line').length === 5");
    page.wait_for(
        "document.querySelector('.picture canvas[tabindex]').getAttribute('aria-label').startsWith('Members: 5.')",
    );
    page.wait_for_text(".chip[data-state=alive]", "5");
    // The picture is drawn, not only described.
    let is_drawn = "(() => { const c = document.querySelector('.picture canvas[tabindex]'); \
        return c.width > 0 && c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((part) => part > 0); })()";
    page.wait_for(is_drawn);
    page.write(".list input[type=search]", "n3");
    page.wait_for("document.querySelectorAll('.members .line').length === 1");
    page.click(".members .line", "n3");
    page.wait_for_text("h1", "n3");
    page.wait_for_text(".facts", dev.field(2, "id"));
    page.wait_for_text(".story", "nothing has happened");
    assert_eq!(page.complaints(), [] as [&str; 0]);
}

fn a_message_is_seen_to_reach_all(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(1, "rumors"));
    page.write("input[placeholder='hello, rumor']", "the console speaks");
    page.click("button", "Publish");
    page.wait_for_text(".picture p", "all 5 have it");
    page.wait_for_text(".messages", "the console speaks");
    // Measured and theory are two lines of the chart by hops.
    page.wait_for("document.querySelectorAll('.curves .card:first-child path.line1').length > 0");
    assert_eq!(page.complaints(), [] as [&str; 0]);
}

fn a_write_shows_on_the_console_of_another_agent(driver: &Driver, dev: &Dev) {
    let there = driver.open(&dev.page(3, "data"));
    there.wait_for_text(".entries", "The database is empty");
    let here = driver.open(&dev.page(0, "data"));
    here.write("input[placeholder='config/color']", "config/color");
    here.write(".side form .row .field:nth-child(1) input", "green");
    here.click("button[type=submit]", "Write");
    there.wait_for_text(".entries .line", "config/color");
    there.wait_for_text(".entries .line", "green");
    there.wait_for_text(".side .plain", "config/color");
    // Changed where it was seen, and seen where it was written.
    there.click(".entries .line", "config/color");
    there.write(".side textarea", "blue");
    there.click("button", "Save");
    here.wait_for_text(".entries .line", "blue");
    assert_eq!([here.complaints(), there.complaints()].concat(), [] as [&str; 0]);
}

fn what_others_say_stays_text(driver: &Driver, dev: &Dev) {
    let stranger = dev.join(HOSTILE);
    stranger.ask(&["tags", "set", &format!("role={HOSTILE}")]);
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for_text(".members .line", HOSTILE);
    page.click(".members .line", HOSTILE);
    page.wait_for_text("h1", HOSTILE);
    page.wait_for_text(".tag", HOSTILE);
    page.go(&dev.page(0, "data"));
    stranger.ask(&["put", HOSTILE, HOSTILE]);
    stranger.ask(&["insert", "set", HOSTILE]);
    page.wait_for_text(".entries .line", HOSTILE);
    page.click(".entries .line", "set");
    page.wait_for_text(".side .tag", HOSTILE);
    page.go(&dev.page(0, "rumors"));
    page.wait_for_text(".tail header", "listening");
    stranger.ask(&["publish", "news", HOSTILE]);
    page.click(".messages button", HOSTILE);
    page.wait_for_text(".picture p", "all 6 have it");
    assert_eq!(page.run("return window.broken ?? null"), Value::Null);
    assert_eq!(page.run("return document.querySelectorAll('main img, main script').length"), 0);
    assert_eq!(page.complaints(), [] as [&str; 0]);
}

fn every_page_opens_without_a_complaint(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for_text("#link", "live");
    let views = page.run("return [...document.querySelectorAll('#tabs a')].map((link) => link.dataset.name)");
    assert!(views.as_array().unwrap().len() >= 6, "{views}");
    for view in views.as_array().unwrap() {
        page.go(&dev.page(0, view.as_str().unwrap()));
        page.wait_for(&format!("document.querySelector('#tabs a[aria-current]').dataset.name === {view}"));
        page.wait_for("document.querySelector('h1').textContent !== ''");
        let is_narrow = page.run("return document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(is_narrow, true, "{view} is wider than the window");
    }
    page.go(&dev.page(0, "traffic"));
    page.wait_for_text("h1", "Traffic");
    page.wait_for_text(".figure", "Sent in all");
    page.wait_for("document.querySelectorAll('.chart path.line0').length > 0");
    page.go(&dev.page(0, "member/0000000000000000"));
    page.wait_for_text(".banner", "No member has the id");
    // What the agent refuses is said by the browser too; nothing else is.
    let complaints = page.complaints();
    assert!(complaints.iter().all(|line| line.contains("/v1/why/0000000000000000")), "{complaints:?}");
}

fn an_agent_with_a_token_has_its_page_ask_for_it(driver: &Driver, _: &Dev) {
    let word = "0123456789abcdef0123456789abcdef";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, word).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let agent = Agent::start("n1", &["--set", &format!("http_token_file={}", path.display())]);
    let page = driver.open(&agent.http);
    page.wait_for_text("dialog", "who know its token");
    assert!(!page.text().contains(&agent.id));
    page.write("dialog input", "another");
    page.click("dialog button", "Continue");
    page.wait_for_text("dialog", "That is not its token");
    page.write("dialog input", word);
    page.click("dialog button", "Continue");
    page.wait_for_text("#link", "live");
    page.wait_for_text(".members .line", "n1");
    assert!(!page.run("return location.href").to_string().contains(word));
}

fn faults_are_made_and_undone(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "faults"));
    let has = |node: &str, state: &str| page.wait_for_text(&format!("tr[data-node={node}] .state"), state);
    has("n5", "alive");
    page.click("tr[data-node=n5] button", "Pause");
    page.wait_for_text("tr[data-node=n5]", "paused");
    has("n5", "suspect");
    page.click("tr[data-node=n5] button", "Resume");
    page.wait_for_text("tr[data-node=n5]", "runs");
    has("n5", "alive");

    page.click("tr[data-node=n4] button", "Kill");
    page.wait_for_text("tr[data-node=n4]", "ended");
    page.click("tr[data-node=n4] button", "Restart");
    page.wait_for_text("tr[data-node=n4]", "runs");
    has("n4", "alive");
    // It is the same member as before, in its next life.
    let incarnation = "document.querySelector('.facts').textContent.includes('Incarnation2')";
    page.go(&dev.page(0, &format!("member/{}", dev.field(3, "id"))));
    page.wait_for(incarnation);

    page.go(&dev.page(0, "faults"));
    page.click("button", "Cut in two");
    page.wait_for_text(".card p", "n1, n2 apart from n3, n4, n5");
    for node in ["n3", "n4", "n5"] {
        has(node, "suspect");
    }
    page.click("button", "Heal everything");
    for node in ["n3", "n4", "n5"] {
        has(node, "alive");
    }

    assert_eq!(page.complaints(), [] as [&str; 0]);
}

/// How many points a line of a chart of the laboratory has.
fn points(chart: usize, line: usize) -> String {
    format!(
        "document.querySelectorAll('.drawn .chart')[{chart}].querySelector('.plot path.line{line}:not(.area)')?.getAttribute('d').split(/[LHV]/).length"
    )
}

/// The document of the command line that the page shows.
fn document_of_page(page: &Page<'_>) -> Value {
    let command = page.run("return document.querySelector('.command').textContent");
    let words: Vec<&str> = command.as_str().unwrap().split(' ').skip(1).collect();
    let output = support::run(&[&words[..], &["--json"]].concat());
    assert!(output.status.success(), "{command}: {}", support::text(&output.stderr));
    serde_json::from_str(&support::text(&output.stdout)).unwrap()
}

fn the_laboratory_draws_what_the_command_line_gives(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(1, "cluster"));
    page.click("#tabs a", "Laboratory");
    page.wait_for_text("h1", "Laboratory");
    page.write(".lab [name=nodes]", "5000");
    page.write(".lab [name=mode]", "push");
    page.write(".lab [name=seed]", "11");
    page.click(".lab button", "Run");
    page.wait_for_text(".lab [role=status]", "Everybody knew after");
    let document = document_of_page(&page);
    for (line, curve) in [(0, "curve"), (1, "theory")] {
        page.wait_for(&format!("{} === {}", points(0, line), document[curve].as_array().unwrap().len()));
    }
    let last = document["time_last"]["mean"].as_f64().unwrap();
    page.wait_for_text(".lab .plain tr", &format!("The last knew, in rounds{last}"));

    page.write(".lab [name=nodes]", "1");
    page.click(".lab button", "Run");
    page.wait_for_text(".lab [role=alert]", "nodes is 1, must be from 2");
    page.wait_for("document.activeElement.name === 'nodes' && document.activeElement.ariaInvalid === 'true'");

    page.write(".lab [name=model]", "run");
    page.write(".lab [name=nodes]", "30");
    page.write(".lab [name=duration]", "6s");
    page.write(".lab [name=published]", "3s");
    page.write(".lab [name=kind]", "crash");
    page.write(".lab [name=at]", "4s");
    page.click(".lab button", "Run");
    page.wait_for_text(".lab .plain tr", "Trace hash");
    let document = document_of_page(&page);
    page.wait_for_text(".lab .plain tr", document["trace_hash"].as_str().unwrap());
    assert_eq!(document["failures"].as_array().unwrap().len(), 6, "{document}");
    for (chart, line) in [(0, 0), (1, 0), (1, 1)] {
        page.wait_for(&format!("{} > 2", points(chart, line)));
    }
    let complaints = page.complaints();
    assert!(complaints.iter().all(|line| line.contains("422")), "{complaints:?}");
}

fn a_run_of_the_laboratory_ends_with_its_page(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "laboratory"));
    let begin = || {
        page.write(".lab [name=nodes]", "200000");
        page.write(".lab [name=mode]", "push");
        page.write(".lab [name=loss]", "0.99");
        page.click(".lab button", "Run");
        page.wait_for_text(".lab [role=status]", "know it");
    };
    let metrics = format!("{}/metrics", dev.field(0, "http"));
    let runs = |how_many: u8| {
        let expected = format!("rumor_held_entries{{what=\"lab_runs\"}} {how_many}");
        let deadline = Instant::now() + Duration::from_mins(1);
        while !ureq::get(&metrics).call().unwrap().body_mut().read_to_string().unwrap().contains(&expected) {
            assert!(Instant::now() < deadline, "never {how_many} runs");
        }
    };
    begin();
    runs(1);
    page.click(".lab button", "Stop");
    page.wait_for_text(".lab [role=status]", "Stopped.");
    runs(0);
    begin();
    runs(1);
    page.click("#tabs a", "Cluster");
    page.wait_for_text("h1", "Cluster");
    runs(0);
    assert_eq!(page.complaints(), [] as [&str; 0]);
}

fn an_agent_that_is_gone_is_said_so(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(4, "cluster"));
    page.wait_for_text("#link", "live");
    dev.kill(4);
    page.wait_for_text("#link", "the agent is gone");
    page.wait_for_text(".happenings", "the agent does not answer");
    // What was known stays in sight.
    assert_eq!(page.run("return document.querySelectorAll('.members .line').length"), 5);
}

fn a_page_recovers_when_its_agent_returns(driver: &Driver, dev: &Dev) {
    let mut agent = dev.join("n6");
    let page = driver.open(&agent.http);
    page.wait_for("document.querySelectorAll('.members .line').length === 6");
    let address = agent.http.strip_prefix("http://").unwrap().to_owned();
    agent.process.kill();
    page.wait_for_text("#link", "the agent is gone");
    // The same address, where the page looks for it.
    let agent =
        ["agent", "--json", "--name", "n7", "--bind", "127.0.0.1:0", "--http", &address, "--log-level", "error"];
    let mut command = rumor(&agent);
    command.args(["--join", dev.field(0, "gossip"), "--key-file", &dev.key_file()]);
    let _agent = Agent::of(command);
    page.wait_for_text("#link", "live");
    page.wait_for_text(".happenings", "the agent is back");
    page.wait_for_text("#agent strong", "n7");
}

fn a_member_that_was_killed_is_suspect_and_then_dead(driver: &Driver, dev: &Dev) {
    let page = driver.open(&dev.page(0, "cluster"));
    page.wait_for("document.querySelectorAll('.members .line').length === 5");
    dev.kill(2);
    page.wait_for_text(".happenings li", "n3 is suspect");
    page.wait_for_text(".happenings li", "n3 is dead");
    page.wait_for_text(".members .line .state.dead", "dead");
    page.wait_for_text(".chip[data-state=dead]", "1");
    page.click(".members .line", "n3");
    page.wait_for_text(".story .key", "dead");
    page.click("button", "Remove…");
    page.click("dialog button", "Remove");
    page.wait_for_text("h1", "Cluster");
    page.wait_for("document.querySelectorAll('.members .line').length === 4");
    assert_eq!(page.complaints(), [] as [&str; 0]);
}
