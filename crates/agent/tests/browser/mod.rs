//! A browser that tests drive: headless Chromium by way of `chromedriver`, over the plain JSON of `WebDriver`.
#![expect(dead_code, reason = "tests and the bench use their own part of this")]
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Generous, as the deadline of agents is: no test waits that long unless it fails.
const DEADLINE: Duration = Duration::from_mins(1);
/// Within the page, once a frame: what is waited for may throw as long as the page is not there. Ends with `null`, or with
/// why it did not come in time.
const WAIT: &str = "const [patience, done] = arguments; const until = performance.now() + patience; \
    const look = () => { let isThere = false; let problem = 'it is false'; \
    try { isThere = Boolean(EXPRESSION); } catch (error) { problem = String(error); } \
    if (isThere) done(null); else if (performance.now() > until) done(problem); else requestAnimationFrame(look); }; look();";
/// What a page is shown in.
const WIDTH: u32 = 1_280;
const HEIGHT: u32 = 900;

/// Keys, as `WebDriver` numbers them.
pub(crate) const TAB: char = '\u{e004}';
pub(crate) const ENTER: char = '\u{e007}';
pub(crate) const ESCAPE: char = '\u{e00c}';
pub(crate) const RIGHT: char = '\u{e014}';
pub(crate) const DOWN: char = '\u{e015}';

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
        self.open_with(url, &json!({ "browser": "ALL" }), None)
    }

    /// The same, and it notes what each of its threads does.
    pub(crate) fn open_traced(&self, url: &str) -> Page<'_> {
        let what = "-*,disabled-by-default-devtools.timeline";
        let traced = json!({ "traceCategories": what, "enableNetwork": false, "enablePage": false });
        self.open_with(url, &json!({ "performance": "ALL" }), Some(traced))
    }

    fn open_with(&self, url: &str, logs: &Value, traced: Option<Value>) -> Page<'_> {
        let window = format!("--window-size={WIDTH},{HEIGHT}");
        // Containers and root have no sandbox; the pages are this project's own.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &window];
        let mut options = json!({ "args": arguments });
        if let Some(traced) = traced {
            options["perfLoggingPrefs"] = traced;
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            // Above the deadline, which scripts keep by themselves.
            "timeouts": { "script": 2_000 * DEADLINE.as_secs() },
            "goog:loggingPrefs": logs,
            "goog:chromeOptions": options,
        }}});
        let session = self.call("/session", &wanted);
        let page = Page { driver: self, session: session["sessionId"].as_str().unwrap().to_owned() };
        page.go(url);
        page
    }

    fn call(&self, path: &str, body: &Value) -> Value {
        self.try_to_call(path, body).unwrap_or_else(|problem| panic!("{path} {body}: {problem}"))
    }

    /// What the driver answers, or what it complains about.
    fn try_to_call(&self, path: &str, body: &Value) -> Result<Value, Value> {
        let request = ureq::post(format!("{}{path}", self.address)).config().http_status_as_error(false).build();
        let mut response = request.header("content-type", "application/json").send(body.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        let value = answer["value"].take();
        if response.status().is_success() { Ok(value) } else { Err(value) }
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

    /// Waits until an expression is true; what the page says stands in the failure. Where the page makes room for another one
    /// while it is looked at, that one is looked at.
    pub(crate) fn wait_for(&self, expression: &str) {
        let script = WAIT.replace("EXPRESSION", expression);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let patience = deadline.saturating_duration_since(Instant::now()).as_secs_f64() * 1e3;
            let problem = match self.try_to_run_async(&script, &json!([patience])) {
                Ok(Value::Null) => return,
                Ok(problem) | Err(problem) => problem,
            };
            let is_late = Instant::now() >= deadline;
            assert!(!is_late, "waited for {expression}: {problem}; the page says\n{}", self.text());
        }
    }

    /// As wide and high as a window of such a screen, however small.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.protocol("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// Tells the browser something in its own protocol.
    pub(crate) fn protocol(&self, command: &str, parameters: &Value) -> Value {
        self.call("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Runs a script in each document to come, before its own.
    pub(crate) fn before_scripts(&self, script: &str) {
        self.protocol("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": script }));
    }

    /// What the threads of the browser have done since this was asked last.
    pub(crate) fn trace(&self) -> Vec<Value> {
        let entries = self.log("performance").into_iter();
        let messages = entries.map(|entry| serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap());
        messages.map(|mut message| message["message"]["params"].take()).collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let Value::Array(entries) = self.call("se/log", &json!({ "type": kind })) else { panic!("a log is a list") };
        entries
    }

    /// Presses keys one after the other, as a person does. Keys that write nothing have numbers in Unicode's private use area.
    pub(crate) fn press(&self, keys: &[char]) {
        let strokes =
            keys.iter().flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })));
        let strokes: Vec<Value> = strokes.collect();
        self.call("actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] }));
    }

    /// The same for a body that fails the test if it does not end.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.try_to_run_async(script, &json!([])).unwrap_or_else(|problem| panic!("{script}: {problem}"))
    }

    /// Runs the body of a function that calls its last argument when it is done, and gives what it calls it with.
    fn try_to_run_async(&self, script: &str, arguments: &Value) -> Result<Value, Value> {
        let path = format!("/session/{}/execute/async", self.session);
        self.driver.try_to_call(&path, &json!({ "script": script, "args": arguments }))
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

    /// What the console of the browser has said since it was last asked: errors of scripts, refusals of the policy. That a round
    /// trip is not known yet is an answer too (504, a member that has just come knows no place of its own); the browser complains
    /// of any such status, whatever the page makes of it.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.log("browser");
        let lines = log.iter().map(|entry| format!("{} {}", entry["level"], entry["message"]));
        lines.filter(|line| !(line.contains("/v1/rtt?") && line.contains("status of 504"))).collect()
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        // The browser's processes end with its session.
        let session = format!("{}/session/{}", self.driver.address, self.session);
        ureq::delete(session).call().ok();
    }
}
