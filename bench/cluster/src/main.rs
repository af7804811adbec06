//! Measures a cluster of real agents on loopback: each its own process, watched through its event stream.
//!
//! It builds nothing; it starts a release binary of `rumor`, which `cargo build --release` makes. Agents run with the
//! `lan` preset, HTTP on, no data directory. All times are read on this process's monotonic clock, at the moment
//! when a line arrives here: they include the way through a pipe or an HTTP stream to a reader.
//!
//! Every process ends that was started here: agents and busy loops hold a pipe to this process and end when it closes,
//! and a process that is stopped is continued by one that outlives this one.

mod agent;
mod alarms;
mod busy_loop;
mod chance;
mod cluster;
mod http;
mod interrupt;
mod options;
mod peers;
mod report;
mod samples;
mod sighting;
mod stages;
mod subscriber;
mod usage;

use std::io::Write;
use std::process::ExitCode;

use options::{Call, Options};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format!("bench/cluster: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let text = match Options::read(std::env::args().skip(1))? {
        Call::Help => options::HELP.to_owned(),
        Call::BusyLoop => return busy_loop::turn(),
        Call::Measure(options) => {
            let report = stages::run(&options)?;
            if options.is_json { format!("{:#}\n", report.json()) } else { report.markdown() }
        }
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// A line for people, on stderr.
fn note(line: impl std::fmt::Display) {
    // Nobody reads: nothing is lost.
    writeln!(std::io::stderr().lock(), "{line}").ok();
}
