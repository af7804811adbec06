//! One agent as a child process: how it is started, and what it reports.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use super::control::{Answer, Control};
use crate::cli;
use crate::documents::{DevOrder, MemberEvent, Ready, ReadyNode};
use crate::failure::{Failure, Kind};

/// What a child tells, when its parent heard it, and which child it is.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) from: usize,
    pub(super) at: Instant,
    pub(super) kind: ReportKind,
}

#[derive(Debug)]
pub(super) enum ReportKind {
    /// Something about members.
    Event(MemberEvent),
    /// A line of its log.
    Said(String),
    /// Its process ended; how, where the system says so.
    Ended(Option<ExitStatus>),
    /// Somebody at a console orders something, and waits for the answer.
    Ordered(DevOrder, oneshot::Sender<Answer>),
}

/// An agent that runs as a child.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) ready: ReadyNode,
    /// When its process ended.
    pub(super) ended: Option<Instant>,
    /// Closing it ends the child; so does the end of this process, however it comes.
    pub(super) lifeline: Option<ChildStdin>,
    /// Whether it stands still on purpose.
    pub(super) is_paused: bool,
}

/// How agents are started, and to whom they report.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) flags: cli::Dev,
    /// Where each has a directory of its own.
    pub(super) directory: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) control: Control,
    pub(super) reports: mpsc::Sender<Report>,
}

/// Why a child did not become ready.
#[derive(Debug)]
pub(super) enum NotReady {
    /// A port that it was to have is another process's.
    PortTaken(String),
    /// Anything else.
    Failed(Failure),
}

/// The flags that all children share, for checking them before the first one starts.
pub(super) fn agent_flags(flags: &cli::Dev) -> cli::Agent {
    let cli::Dev { mode, fanout, view, preset, .. } = flags;
    cli::Agent {
        mode: mode.clone(),
        fanout: fanout.clone(),
        view: view.clone(),
        preset: preset.clone(),
        bind: Some("127.0.0.1:0".to_owned()),
        http: Some("127.0.0.1:0".to_owned()),
        ..cli::Agent::default()
    }
}

impl Plan {
    /// The command line of one child.
    pub(super) fn command(
        &self,
        name: &str,
        (gossip, http): (u16, u16),
        contacts: &[String],
    ) -> std::io::Result<Command> {
        let Self { flags, directory, key_file, control, .. } = self;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["agent", "--json", "--until-stdin-closes", "--allow-faults", "--lab", "--log-level", "error"]);
        command.args(["--name", name, "--tag", "dev=true"]);
        command.args(["--bind", &format!("127.0.0.1:{gossip}"), "--http", &format!("127.0.0.1:{http}")]);
        if !contacts.is_empty() {
            command.args(["--join", &contacts.join(",")]);
        }
        let shared = [
            ("--mode", &flags.mode),
            ("--fanout", &flags.fanout),
            ("--view", &flags.view),
            ("--preset", &flags.preset),
        ];
        for (flag, value) in shared {
            if let Some(value) = value {
                command.args([flag, value]);
            }
        }
        command.arg("--data-dir").arg(directory.join(name)).arg("--key-file").arg(key_file);
        command.arg("--dev-control").arg(control.path());
        // What is meant for the one agent of this machine is not for five of them.
        for variable in ["RUMOR_CONFIG", "RUMOR_ADVERTISE", "RUMOR_JOIN", "RUMOR_DATA_DIR", "RUMOR_LOG"] {
            command.env_remove(variable);
        }
        // A process group of its own: Ctrl-C is the parent's to handle.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

/// Starts a child and waits until it is ready; from then on it reports.
pub(super) async fn start(mut command: Command, from: usize, reports: &mpsc::Sender<Report>) -> Result<Node, NotReady> {
    let lost = |error: std::io::Error| NotReady::Failed(lost(&error.to_string()));
    let mut child = command.spawn().map_err(lost)?;
    let (Some(lifeline), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        unreachable!("all three are piped");
    };
    let mut events = BufReader::new(stdout).lines();
    let mut log = BufReader::new(stderr).lines();
    let Some(first) = events.next_line().await.map_err(lost)? else {
        return Err(why_not(&mut log).await);
    };
    let ready = serde_json::from_str::<Ready>(&first).ok().and_then(|ready| ready.nodes.into_iter().next());
    let ready = ready.ok_or_else(|| NotReady::Failed(self::lost("it says nothing that makes sense")))?;
    tokio::spawn(listen(child, events, from, reports.clone()));
    tokio::spawn(overhear(log, ready.name.clone(), from, reports.clone()));
    Ok(Node { ready, ended: None, lifeline: Some(lifeline), is_paused: false })
}

fn lost(reason: &str) -> Failure {
    Failure::new(Kind::Refused, "child", format!("failed to start an agent: {reason}"))
}

/// What the child said on stderr before it ended.
async fn why_not(log: &mut Lines<BufReader<ChildStderr>>) -> NotReady {
    let mut last = "it ended at once".to_owned();
    while let Ok(Some(line)) = log.next_line().await {
        let error = serde_json::from_str::<Value>(&line).unwrap_or_default();
        let error = &error["error"];
        if error["code"] == "in_use" && error["field"] != "data_dir" {
            return NotReady::PortTaken(error["value"].as_str().unwrap_or_default().to_owned());
        }
        error["message"].as_str().unwrap_or(&line).clone_into(&mut last);
    }
    NotReady::Failed(lost(&last))
}

/// Passes on what the child tells on stdout, then its end. Nobody left to tell means that the parent ends too.
async fn listen(
    mut child: Child,
    mut events: Lines<BufReader<ChildStdout>>,
    from: usize,
    reports: mpsc::Sender<Report>,
) {
    while let Ok(Some(line)) = events.next_line().await {
        let Ok(event) = serde_json::from_str(&line) else { continue };
        let report = Report { from, at: Instant::now(), kind: ReportKind::Event(event) };
        if reports.send(report).await.is_err() {
            break;
        }
    }
    let status = child.wait().await.ok();
    let report = Report { from, at: Instant::now(), kind: ReportKind::Ended(status) };
    reports.send(report).await.ok();
}

async fn overhear(mut log: Lines<BufReader<ChildStderr>>, name: String, from: usize, reports: mpsc::Sender<Report>) {
    while let Ok(Some(line)) = log.next_line().await {
        let report = Report { from, at: Instant::now(), kind: ReportKind::Said(format!("{name}: {line}")) };
        if reports.send(report).await.is_err() {
            return;
        }
    }
}
