//! `rumor dev`: a cluster on this machine, each agent its own process, and what happens in it, in words.

mod child;
mod control;
mod fleet;
mod news;
mod orders;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rumormill::Keyring;
use rumormill_core::config::{Mode, View};
use tempfile::TempDir;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::child::{Plan, Report, ReportKind};
use self::control::Control;
use self::fleet::Fleet;
use self::news::News;
use crate::cli;
use crate::documents::{DevOrder, Ready};
use crate::failure::{Failure, Kind};
use crate::print;
use crate::settings::Settings;

/// Where the key of the cluster is, below its directory.
const KEY_FILE: &str = "cluster.key";
/// How many reports of children wait while one is told.
const REPORTS_MAX: usize = 256;
/// How long a child may take to answer its parent.
const CHILD_TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing takes no time: the least that two digits show.
const SHOWN_MIN: Duration = Duration::from_millis(10);

/// Runs a cluster until Ctrl-C, or until its last process has ended.
pub(crate) fn run(flags: &cli::Dev, json: bool) -> Result<(), Failure> {
    // What is wrong with a setting is said once, before the first process.
    let settings = Settings::of_agent(&child::agent_flags(flags))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Refused, "system", error.to_string()))?;
    runtime.block_on(async {
        if !json {
            print::line(headline(flags, &settings))?;
        }
        let (reports, mut hear) = mpsc::channel(REPORTS_MAX);
        let state = State::of(flags)?;
        let key_file = state.key_file()?;
        let control = Control::listen(reports.clone())?;
        let directory = state.directory().to_owned();
        let mut fleet = Fleet::start(Plan { flags: flags.clone(), directory, key_file, control, reports }).await?;
        if let Some(share) = flags.loss {
            let lost = fleet.obey(DevOrder::Loss { share }).await;
            lost.map_err(|problem| Failure::new(Kind::No, &problem.code, problem.detail))?;
        }
        if !json {
            print::line("")?;
            for line in fleet.table() {
                print::line(format!("  {line}"))?;
            }
        }
        let result = tokio::select! {
            result = live(&mut fleet, &mut hear, flags, settings.node.view, json) => result,
            () = asked_to_end() => Ok(()),
        };
        fleet.stop(&mut hear).await;
        result
    })
}

/// Resolves with Ctrl-C, or when this process is told to end.
async fn asked_to_end() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return drop(ctrl_c().await) };
    tokio::select! {
        _ = ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// Where the agents keep what voters and writers have to keep.
#[derive(Debug)]
enum State {
    Kept(PathBuf),
    /// Gone with this process.
    Passing(TempDir),
}

impl State {
    fn of(flags: &cli::Dev) -> Result<Self, Failure> {
        if let Some(directory) = &flags.data_dir {
            return Ok(Self::Kept(directory.clone()));
        }
        let directory = tempfile::Builder::new().prefix("rumor-dev-").tempdir();
        let failed = |error: std::io::Error| {
            let rule = format!("a place where a directory can be made ({error}); or name one with --data-dir");
            Failure::value("TMPDIR", std::env::temp_dir().display(), rule)
        };
        directory.map(Self::Passing).map_err(failed)
    }

    /// The key of this cluster, made where there is none yet.
    fn key_file(&self) -> Result<PathBuf, Failure> {
        let path = self.directory().join(KEY_FILE);
        if path.exists() {
            return Ok(path);
        }
        let failed = |error: std::io::Error| Failure::value("data_dir", self.directory().display(), error.to_string());
        std::fs::create_dir_all(self.directory()).map_err(failed)?;
        let keyring = Keyring::generate().map_err(Failure::from)?;
        keyring.write_new(&path).map_err(|error| Failure::new(Kind::Refused, "key_file", error.to_string()))?;
        Ok(path)
    }

    fn directory(&self) -> &Path {
        match self {
            Self::Kept(directory) => directory,
            Self::Passing(directory) => directory.path(),
        }
    }
}

async fn live(
    fleet: &mut Fleet,
    hear: &mut mpsc::Receiver<Report>,
    flags: &cli::Dev,
    view: View,
    json: bool,
) -> Result<(), Failure> {
    let is_partial = view == View::Partial;
    let took =
        if is_partial { fleet.until_all_have_neighbours(hear).await? } else { fleet.until_all_know_all(hear).await? };
    if json {
        print::json(&Ready::new(fleet.nodes.iter().map(|node| node.ready.clone()).collect()))?;
        return follow_as_documents(fleet, hear).await;
    }
    let nodes = fleet.nodes.len();
    let took = took.max(SHOWN_MIN).as_secs_f64();
    let state = if is_partial { "have neighbours".to_owned() } else { format!("know all {nodes}") };
    print::line(format!("all {nodes} {state}, {took:.2} s after the last one started"))?;
    for line in hints(fleet, flags) {
        print::line(line)?;
    }
    News::default().tell(fleet, hear).await
}

/// Each event of each agent, with the name of the agent that tells it.
async fn follow_as_documents(fleet: &mut Fleet, hear: &mut mpsc::Receiver<Report>) -> Result<(), Failure> {
    while let Some(report) = hear.recv().await {
        match report.kind {
            ReportKind::Event(event) => {
                let mut document = serde_json::to_value(&event).unwrap_or_default();
                document["node"] = fleet.nodes[report.from].ready.name.clone().into();
                print::json(&document)?;
            }
            ReportKind::Said(line) => print::note(line),
            ReportKind::Ordered(order, answer) => {
                // Whoever asked may have gone.
                answer.send(fleet.obey(order).await).ok();
            }
            ReportKind::Ended(_) => {
                fleet.nodes[report.from].ended = Some(report.at);
                if fleet.running().next().is_none() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn headline(flags: &cli::Dev, settings: &Settings) -> String {
    let mode = match settings.node.mode {
        Mode::Push => "push",
        Mode::Pull => "pull",
        Mode::PushPull => "push-pull",
    };
    let kept = match &flags.data_dir {
        Some(directory) => format!("kept in {}", directory.display()),
        None => "nothing is kept after Ctrl-C".to_owned(),
    };
    format!(
        "rumor dev: {} on this machine, each its own process; {mode}, preset {}; {kept}",
        print::count(flags.nodes.into(), "agent"),
        settings.preset.as_str()
    )
}

/// What to type next, ready to be pasted.
fn hints(fleet: &Fleet, flags: &cli::Dev) -> Vec<String> {
    let program = program();
    let http = |index: usize| fleet.nodes[index].ready.http.clone().unwrap_or_default();
    let last = fleet.nodes.len() - 1;
    let first = if http(0) == cli::DEFAULT_AGENT { String::new() } else { format!(" --agent {}", http(0)) };
    let others = last.min(3);
    let names: Vec<&str> = fleet.nodes.iter().take(3).map(|node| &*node.ready.name).collect();
    let voters = names.join(",");
    let victim = &fleet.nodes[last.min(2)].ready;
    vec![
        String::new(),
        format!("Open {}/ , or type in another terminal, in this folder:", http(0)),
        format!("  {program} members{first}"),
        format!("  {program} subscribe news --agent {}", http(last)),
        format!("  {program} publish news 'hello, rumor' --trace{first}"),
        format!("  {program} put color green --replicas {others}{first}"),
        format!("  {program} get color --agent {}", http(last)),
        format!("  {program} agree init --voters {voters}{first}"),
        format!("  {program} lock deploy{first} -- sleep 60"),
        format!("  kill -9 {}", victim.pid),
        format!("Ctrl-C stops all {}. What happens in the cluster appears below.", number(flags.nodes)),
        String::new(),
    ]
}

/// Numbers up to ten as words, as in a sentence.
fn number(number: u16) -> String {
    let words = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    words.get(usize::from(number)).map_or_else(|| number.to_string(), |&word| word.to_owned())
}

/// This program, as it is typed from here: relative where it lies below.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("rumor"));
    let here = std::env::current_dir().unwrap_or_default();
    let shown = path.strip_prefix(&here).map_or(path.as_path(), Path::new).display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if shown.chars().all(is_plain) { shown } else { format!("'{}'", shown.replace('\'', r"'\''")) }
}
