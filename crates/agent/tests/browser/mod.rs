//! A browser that tests drive: headless Chromium by way of `chromedriver`, over the plain JSON of `WebDriver`.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Generous, as the deadline of agents is: no test waits that long unless it fails.
const DEADLINE: Duration = Duration::from_mins(1);
/// Between two looks at the page.
const LOOK_AGAIN: Duration = Duration::from_millis(30);
/// What a page is shown in.
const WIDTH: u32 = 1_280;
const HEIGHT: u32 = 900;

/// The program that drives the browser, and its port.
pub(crate) struct Driver {
    child: Child,
    address: String,
}

impl Driver {
    /// Starts it on a port of the system's choice; none where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        for browser in ["chromium", "chromedriver"] {
            Command::new(browser).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        }
        let mut command = Command::new("chromedriver");
        let mut child = command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // It must not stand still because nobody reads what it says.
        thread::spawn(move || lines.for_each(drop));
        Some(Self { child, address: format!("http://127.0.0.1:{}", port.expect("chromedriver says its port")) })
    }

    /// A browser with one page, which is at this address.
    pub(crate) fn open(&self, url: &str) -> Page<'_> {
        let window = format!("--window-size={WIDTH},{HEIGHT}");
        // Containers and root have no sandbox; the pages are this project's own.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &window];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        }}});
        let session = self.call("/session", &wanted);
        let page = Page { driver: self, session: session["sessionId"].as_str().unwrap().to_owned() };
        page.go(url);
        page
    }

    fn call(&self, path: &str, body: &Value) -> Value {
        let request = ureq::post(format!("{}{path}", self.address)).config().http_status_as_error(false).build();
        let mut response = request.header("content-type", "application/json").send(body.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert!(response.status().is_success(), "{path} {body}: {text}");
        answer["value"].take()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A page, in a browser of its own, which ends with it.
pub(crate) struct Page<'a> {
    driver: &'a Driver,
    session: String,
}

impl Page<'_> {
    fn call(&self, command: &str, body: &Value) -> Value {
        self.driver.call(&format!("/session/{}/{command}", self.session), body)
    }

    /// Goes to an address.
    pub(crate) fn go(&self, url: &str) {
        self.call("url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.call("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true; what the page says stands in the failure.
    pub(crate) fn wait_for(&self, expression: &str) {
        let deadline = Instant::now() + DEADLINE;
        while self.run(&format!("return Boolean({expression})")) != true {
            let is_late = Instant::now() > deadline;
            assert!(!is_late, "waited for {expression}; the page says\n{}", self.text());
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until an element has this text in it.
    pub(crate) fn wait_for_text(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait_for(&format!(
            "[...document.querySelectorAll({selector})].some((e) => e.textContent.includes({text}))"
        ));
    }

    /// Clicks, as soon as it is there, the first element that matches and has this text in it.
    pub(crate) fn click(&self, selector: &str, text: &str) {
        self.wait_for_text(selector, text);
        let (selector, text) = (json!(selector), json!(text));
        let find = format!("[...document.querySelectorAll({selector})].find((e) => e.textContent.includes({text}))");
        self.run(&format!("{find}.click()"));
    }

    /// Writes into a field as a person does: what listens to the field hears of it.
    pub(crate) fn write(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait_for(&format!("document.querySelector({selector})"));
        let set = "field.value = text; field.dispatchEvent(new Event('input', { bubbles: true })); \
            field.dispatchEvent(new Event('change', { bubbles: true }));";
        self.run(&format!("const [field, text] = [document.querySelector({selector}), {text}]; {set}"));
    }

    /// All text of the page.
    pub(crate) fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// What the console of the browser has said since it was last asked: errors of scripts, refusals of the policy.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.call("se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| format!("{} {}", entry["level"], entry["message"])).collect()
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        // The browser's processes end with its session.
        let session = format!("{}/session/{}", self.driver.address, self.session);
        ureq::delete(session).call().ok();
    }
}
