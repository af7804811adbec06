//! What is to be measured: the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Measures a cluster of real agents on loopback and prints a Markdown table. It builds nothing: `cargo build --release` first.

cargo run --release --manifest-path bench/cluster/Cargo.toml -- [options]

  --nodes N      agents [50]
  --rumor FILE   the agent's release binary [target/release/rumor]
  --key-file F   seal with this key, as `rumor keygen F` makes it [nothing is sealed]
  --only A,B     of join, publish, write, load, idle, busy, pause, crash; they run in this order [all]
  --runs N       fresh clusters for `join`; the last one serves for the rest [5]
  --messages N   messages for `publish` [30]
  --writes N     writes of data for `write` [30]
  --load N       messages for `load`, as fast as one agent takes them [2000]
  --minutes M    length of `idle`, fractions allowed [10]
  --window S     seconds at the end of `idle` over which traffic and CPU are read [120]
  --busy S       seconds for which `busy` keeps all cores busy [60]
  --pauses N     agents that `pause` stops for 2 s, one after the other [5]
  --kills N      agents that `crash` kills, one after the other [20]
  --json         print one JSON document in place of the table
";

/// The argument by which this program starts itself as a busy loop.
pub(crate) const BUSY_LOOP: &str = "--turn-until-stdin-closes";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Call {
    Help,
    BusyLoop,
    Measure(Options),
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Join,
    Publish,
    Write,
    Load,
    Idle,
    Busy,
    Pause,
    Crash,
}

impl Stage {
    /// In the order in which they run: idle before crashes, as agents go on trying the addresses of the dead.
    pub(crate) const ALL: [Self; 8] =
        [Self::Join, Self::Publish, Self::Write, Self::Load, Self::Idle, Self::Busy, Self::Pause, Self::Crash];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Publish => "publish",
            Self::Write => "write",
            Self::Load => "load",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Pause => "pause",
            Self::Crash => "crash",
        }
    }

    fn named(name: &str) -> anyhow::Result<Self> {
        let stage = Self::ALL.into_iter().find(|stage| stage.as_str() == name);
        stage.with_context(|| {
            format!("--only is {name:?}, must be of join, publish, write, load, idle, busy, pause, crash")
        })
    }
}

/// The settings of a measurement.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) nodes: usize,
    pub(crate) rumor: PathBuf,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) only: Vec<Stage>,
    pub(crate) runs: usize,
    pub(crate) messages: usize,
    pub(crate) writes: usize,
    pub(crate) load: usize,
    pub(crate) idle: Duration,
    pub(crate) window: Duration,
    pub(crate) busy: Duration,
    pub(crate) pauses: usize,
    pub(crate) kills: usize,
    pub(crate) is_json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 50,
            rumor: "target/release/rumor".into(),
            key_file: None,
            only: Stage::ALL.into(),
            runs: 5,
            messages: 30,
            writes: 30,
            load: 2_000,
            idle: Duration::from_mins(10),
            window: Duration::from_mins(2),
            busy: Duration::from_mins(1),
            pauses: 5,
            kills: 20,
            is_json: false,
        }
    }
}

impl Options {
    /// Reads a command line without the program's name.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> anyhow::Result<Call> {
        let mut options = Self::default();
        let mut arguments = arguments;
        while let Some(flag) = arguments.next() {
            match flag.as_str() {
                "--help" | "-h" => return Ok(Call::Help),
                BUSY_LOOP => return Ok(Call::BusyLoop),
                "--json" => options.is_json = true,
                _ => {
                    let value = arguments.next().with_context(|| format!("{flag} is unknown or lacks its value"))?;
                    options.set(&flag, &value).with_context(|| format!("failed to read {flag} {value}"))?;
                }
            }
        }
        options.check()?;
        Ok(Call::Measure(options))
    }

    fn set(&mut self, flag: &str, value: &str) -> anyhow::Result<()> {
        match flag {
            "--nodes" => self.nodes = value.parse()?,
            "--rumor" => self.rumor = value.into(),
            "--key-file" => self.key_file = Some(value.into()),
            "--only" => self.only = value.split(',').map(Stage::named).collect::<anyhow::Result<_>>()?,
            "--runs" => self.runs = value.parse()?,
            "--messages" => self.messages = value.parse()?,
            "--writes" => self.writes = value.parse()?,
            "--minutes" => self.idle = Duration::try_from_secs_f64(value.parse::<f64>()? * 60.0)?,
            "--window" => self.window = Duration::try_from_secs_f64(value.parse()?)?,
            "--busy" => self.busy = Duration::try_from_secs_f64(value.parse()?)?,
            "--load" => self.load = value.parse()?,
            "--pauses" => self.pauses = value.parse()?,
            "--kills" => self.kills = value.parse()?,
            _ => bail!("there is no such option; --help lists them"),
        }
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let bounds = [
            ("--nodes", self.nodes, 3, 500),
            ("--runs", self.runs, 1, 100),
            ("--messages", self.messages, 1, 1_000),
            ("--writes", self.writes, 1, 1_000),
            ("--load", self.load, 1, 100_000),
            ("--pauses", self.pauses, 1, 100),
            ("--kills", self.kills, 1, 100),
        ];
        for (flag, value, min, max) in bounds {
            ensure!((min..=max).contains(&value), "{flag} is {value}, must be {min} to {max}");
        }
        let seconds = [("--window", self.window), ("--busy", self.busy), ("--minutes", self.idle)];
        for (flag, length) in seconds {
            let max = Duration::from_hours(24);
            ensure!((Duration::from_secs(1)..=max).contains(&length), "{flag} must be 1 second to 24 hours");
        }
        ensure!(
            self.rumor.is_file(),
            "{} is missing: build it with `cargo build --release`, or name it with --rumor",
            self.rumor.display()
        );
        Ok(())
    }

    pub(crate) fn wants(&self, stage: Stage) -> bool {
        self.only.contains(&stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> anyhow::Result<Call> {
        // Any file will do as a binary that is not run.
        let line = format!("--rumor Cargo.toml {line}");
        Options::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_given_replaces_the_default() {
        let Ok(Call::Measure(options)) = read("--nodes 10 --minutes 0.5 --only idle,join --json") else {
            panic!("all of it is allowed")
        };
        assert_eq!((options.nodes, options.idle, options.runs), (10, Duration::from_secs(30), 5));
        assert_eq!(options.only, [Stage::Idle, Stage::Join]);
        assert!(options.is_json);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in
            ["--nodes", "--nodes two", "--nodes 2", "--only sleep", "--minutes -1", "--faster 1", "--rumor none"]
        {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
