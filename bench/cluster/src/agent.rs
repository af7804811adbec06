//! One agent: a child process, what it says, and signals to it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// A line from an agent, with the moment of its arrival here.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) from: usize,
    pub(crate) at: Instant,
    pub(crate) kind: ReportKind,
}

#[derive(Debug)]
pub(crate) enum ReportKind {
    /// A line of its event stream.
    Line(String),
    /// A line of its log.
    Said(String),
    /// Its event stream has ended.
    Ended,
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) name: String,
    /// When its process had been started.
    pub(crate) spawned: Instant,
    /// Who it is, once it has said so.
    pub(crate) ready: Option<Ready>,
    process: Child,
    /// The agent ends when this closes, however this process ends.
    _lifeline: ChildStdin,
    is_killed: bool,
}

/// Who an agent is.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) id: String,
    pub(crate) gossip: String,
    pub(crate) http: SocketAddr,
    /// When it said so.
    pub(crate) at: Instant,
}

impl Agent {
    /// Starts a process and returns at once; what it says goes to `reports` under the number `from`.
    pub(crate) fn spawn(
        rumor: &Path,
        key_file: Option<&Path>,
        from: usize,
        contact: Option<&str>,
        reports: &Sender<Report>,
    ) -> anyhow::Result<Self> {
        let name = format!("n{}", from + 1);
        let mut command = Command::new(rumor);
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"RUMOR_")) {
            command.env_remove(variable);
        }
        command.args(["agent", "--json", "--until-stdin-closes", "--preset", "lan", "--log-level", "error"]);
        command.args(["--name", &name, "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        if let Some(key_file) = key_file {
            command.arg("--key-file").arg(key_file);
        }
        if let Some(contact) = contact {
            command.args(["--join", contact]);
        }
        // A process group of its own: Ctrl-C is handled here.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("failed to start {}", rumor.display()))?;
        let spawned = Instant::now();
        let (Some(lifeline), Some(stdout), Some(stderr)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            unreachable!("all three are piped");
        };
        listen(stdout, from, ReportKind::Line, Some(ReportKind::Ended), reports.clone());
        listen(stderr, from, ReportKind::Said, None, reports.clone());
        Ok(Self { name, spawned, ready: None, process, _lifeline: lifeline, is_killed: false })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has not been killed.
    pub(crate) fn is_living(&self) -> bool {
        !self.is_killed
    }

    /// Ends the process as `kill -9` does, and says when.
    pub(crate) fn kill(&mut self) -> anyhow::Result<Instant> {
        assert!(!self.is_killed, "a process is killed once: its id may be another's by now");
        self.is_killed = true;
        let at = Instant::now();
        self.process.kill()?;
        self.process.wait()?;
        Ok(at)
    }

    /// Stops the process for a while. Another process does it, which also continues it if this one ends meanwhile.
    pub(crate) fn pause(&self, length: Duration) -> anyhow::Result<Child> {
        assert!(!self.is_killed, "only what runs can be stopped");
        let script = "kill -STOP $1 && { sleep $2; kill -CONT $1; }";
        let (pid, seconds) = (self.pid().to_string(), length.as_secs_f64().to_string());
        let mut command = Command::new("sh");
        command.args(["-c", script, "pause", &pid, &seconds]).process_group(0).stdin(Stdio::null());
        command.spawn().context("failed to start sh")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !self.is_killed {
            // It may have ended already; its id stays its own until it is waited for.
            self.process.kill().ok();
            self.process.wait().ok();
        }
    }
}

/// Waits for the end of what [`Agent::pause`] started.
pub(crate) fn until_continued(mut pause: Child) -> anyhow::Result<()> {
    let status = pause.wait()?;
    ensure!(status.success(), "a process could not be stopped and continued: {status}");
    Ok(())
}

fn listen(
    from_agent: impl Read + Send + 'static,
    from: usize,
    kind: fn(String) -> ReportKind,
    end: Option<ReportKind>,
    reports: Sender<Report>,
) {
    thread::spawn(move || {
        let mut lines = BufReader::new(from_agent);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            let report = Report { from, at: Instant::now(), kind: kind(std::mem::take(&mut line)) };
            if reports.send(report).is_err() {
                return;
            }
        }
        if let Some(kind) = end {
            // Nobody listens any more: the cluster is gone.
            reports.send(Report { from, at: Instant::now(), kind }).ok();
        }
    });
}
