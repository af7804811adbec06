//! Real agents for tests: each its own process on ports that the system chooses, watched through its event stream.
#![expect(dead_code, reason = "each test file uses its own part of this")]
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

pub(crate) mod place;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Generous: a machine that runs other things as well takes its time. No test waits that long unless it fails.
const DEADLINE: Duration = Duration::from_mins(1);

/// Settings under which a death is known within a second or two.
pub(crate) const HASTY: [&str; 10] = [
    "--set",
    "probe_interval=200ms",
    "--set",
    "probe_timeout=150ms",
    "--set",
    "suspicion_timeout_min=500ms",
    "--set",
    "suspicion_timeout_log=0s",
    "--set",
    "suspicion_timeout_factor=2",
];

/// A command line of `rumor`, with nothing from the environment that could change what it does.
pub(crate) fn rumor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rumor"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RUMOR_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    rumor(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The exit code of a command, what it printed, and what it said on stderr.
pub(crate) fn words(output: &Output) -> (i32, String, String) {
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Set where a test fails that lacks what it takes, in place of leaving something out: the gate is no gate otherwise.
pub(crate) const SKIP_NOTHING: &str = "RUMOR_SKIP_NOTHING";

/// Whether tests may leave out what they lack the means for.
pub(crate) fn may_skip() -> bool {
    std::env::var_os(SKIP_NOTHING).is_none()
}

/// Says what a test could not check, past the harness, which shows nothing of tests that pass.
pub(crate) fn not_checked(why: &str) {
    assert!(may_skip(), "{why}, and with {SKIP_NOTHING} nothing is left out");
    std::io::stderr().write_all(format!("not checked: {why}\n").as_bytes()).unwrap();
}

/// Text of an output.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A process whose stdout is a line of JSON after the other. It ends with the test.
pub(crate) struct Lines {
    pub(crate) child: Child,
    lines: Receiver<Value>,
}

impl Lines {
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line.
    pub(crate) fn next(&self) -> Value {
        self.lines.recv_timeout(DEADLINE).expect("a line within the deadline")
    }

    /// The next line, if it comes until then.
    pub(crate) fn next_until(&self, deadline: Instant) -> Option<Value> {
        self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    /// The first line from here on that `is_it`.
    pub(crate) fn wait_for(&self, what: &str, mut is_it: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if is_it(&line) {
                return line;
            }
            seen.push(line.to_string());
        }
        panic!("waited for {what}; saw only\n{}", seen.join("\n"));
    }

    /// The lines that have come and nobody has read.
    pub(crate) fn so_far(&self) -> Vec<Value> {
        self.lines.try_iter().collect()
    }

    /// Waits until the process closes its stdout.
    pub(crate) fn wait_for_end(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the process goes on"),
            }
        }
    }

    /// All lines until the process closes its stdout.
    pub(crate) fn rest(&self) -> Vec<Value> {
        let (deadline, mut rest) = (Instant::now() + DEADLINE, Vec::new());
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => rest.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return rest,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the process goes on"),
            }
        }
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An agent.
pub(crate) struct Agent {
    pub(crate) process: Lines,
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) gossip: String,
    pub(crate) http: String,
}

impl Agent {
    /// Starts an agent on ports of the system's choice and waits until it is ready.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        Self::of(Self::command_line(name, arguments))
    }

    /// The command that [`start`](Self::start) runs.
    pub(crate) fn command_line(name: &str, arguments: &[&str]) -> Command {
        let mut command = rumor(&["agent", "--json", "--name", name, "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.args(["--log-level", "error"]).args(arguments);
        command
    }

    /// Waits until the agent that a command starts is ready.
    pub(crate) fn of(command: Command) -> Self {
        let process = Lines::of(command);
        let ready = process.next();
        assert_eq!(ready["event"], "ready", "{ready}");
        let node = &ready["nodes"][0];
        let field = |key: &str| node[key].as_str().unwrap().to_owned();
        Self { name: field("name"), id: field("id"), gossip: field("gossip"), http: field("http"), process }
    }

    /// Starts an agent that joins through another.
    pub(crate) fn join(name: &str, contact: &Self, arguments: &[&str]) -> Self {
        Self::start(name, &[&["--join", &contact.gossip], arguments].concat())
    }

    /// A client command to this agent, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = rumor(arguments);
        command.env("RUMOR_AGENT", &self.http).stdin(Stdio::null());
        command
    }

    /// Runs a client command: its exit code, what it printed, and what it said on stderr.
    pub(crate) fn said(&self, arguments: &[&str]) -> (i32, String, String) {
        words(&self.command(arguments).output().unwrap())
    }

    /// Runs a client command with `--json` and reads its document.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let lines = self.ask_lines(arguments);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }

    /// Runs a client command with `--json` and reads a document a line.
    pub(crate) fn ask_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.command(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A client command that goes on.
    pub(crate) fn follow(&self, arguments: &[&str]) -> Lines {
        let mut command = self.command(arguments);
        command.arg("--json");
        Lines::of(command)
    }

    /// Waits for an event about a member on this agent's own stream.
    pub(crate) fn wait_for(&self, event: &str, member: &Self) -> Value {
        self.wait_for_each(event, &[member])
    }

    /// Waits for an event about each of these members, in any order; gives the last.
    pub(crate) fn wait_for_each(&self, event: &str, members: &[&Self]) -> Value {
        let mut missing: Vec<&str> = members.iter().map(|member| &*member.id).collect();
        let what =
            format!("{event} of {} at {}", members.iter().map(|m| &*m.name).collect::<Vec<_>>().join(", "), self.name);
        self.process.wait_for(&what, |line| {
            missing.retain(|id| line["event"] != event || line["member"]["id"] != *id);
            missing.is_empty()
        })
    }

    /// What `/metrics` says: family by family, each line with its value.
    pub(crate) fn metrics(&self) -> String {
        let answer = self.http("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        page.to_owned()
    }

    /// Asks again and again until something is so.
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "never at {}: {what}", self.name);
        }
    }

    /// Sends a raw HTTP request and reads the whole answer: status line, headers, body.
    pub(crate) fn http(&self, request: &str) -> String {
        let mut connection = std::net::TcpStream::connect(self.http.strip_prefix("http://").unwrap()).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut connection, &mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Waits until each of these knows each other.
pub(crate) fn until_all_know_all(agents: &[&Agent]) {
    for agent in agents {
        let others: Vec<&Agent> = agents.iter().copied().filter(|other| other.id != agent.id).collect();
        agent.wait_for_each("joined", &others);
    }
}
