//! The commands: each is a client of one agent, or needs none.

mod agreement;
pub(crate) mod authority;
mod config;
mod data;
mod elect;
mod fault;
mod gauges;
mod info;
pub(crate) mod keys;
mod lease;
mod lock;
mod members;
mod queries;
mod reload;
mod rtt;
mod tags;
mod terminal;
mod top;
mod topics;
mod watch;
pub(crate) mod why;

use std::{fs, io};

use clap::CommandFactory;
use clap_mangen::Man;
use tokio::runtime::Runtime;

use crate::cli::{self, Cli, Command};
use crate::failure::{Failure, Kind};
use crate::{daemon, dev, lab, print};

/// What a command has to say, to people or to programs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints the document of a command that has no other: nothing for people.
    fn done(self) -> io::Result<()> {
        if self.json { print::line("{}") } else { Ok(()) }
    }
}

/// Runs what was typed.
pub(crate) fn run(Cli { json, command }: Cli) -> Result<(), Failure> {
    let output = Output { json };
    match command {
        Command::Dev(flags) => dev::run(&flags, json),
        Command::Agent(flags) => daemon::run(&flags, json),
        Command::Keygen(flags) => keys::generate(&flags, output),
        Command::Authority(command) => authority::run(command, output),
        Command::Identity(command) => authority::identity(&command, output),
        Command::Config(command) => config::run(command, output),
        Command::Members(flags) if flags.watch => watch::run(&flags, output),
        Command::Members(flags) => members::list(&flags, output),
        Command::Join(flags) => members::join(flags, output),
        Command::Reload(flags) => reload::run(&flags, output),
        Command::Leave(flags) => members::leave(&flags, output),
        Command::Remove(flags) => members::remove(&flags, output),
        Command::Publish(flags) => topics::publish(flags, output),
        Command::Trace(flags) => topics::trace(&flags, output),
        Command::Subscribe(flags) => topics::subscribe(&flags, output),
        Command::Query(flags) => queries::ask(flags, output),
        Command::Answer(flags) => queries::answer(&flags, output),
        Command::Get(flags) => data::get(&flags, output),
        Command::Put(flags) => data::put(flags, output),
        Command::Delete(flags) => data::delete(&flags, output),
        Command::List(flags) => data::list(&flags, output),
        Command::Watch(flags) => data::watch(&flags, output),
        Command::Add(flags) => data::add(&flags, output),
        Command::Insert(flags) => data::insert(&flags, output),
        Command::RemoveElement(flags) => data::remove_element(&flags, output),
        Command::Export(flags) => data::export(&flags),
        Command::Import(flags) => data::import(&flags, output),
        Command::Agree(command) => agreement::agree(command, output),
        Command::Register(command) => agreement::register(command, output),
        Command::Lock(flags) => lock::run(&flags, output),
        Command::Elect(flags) => elect::run(&flags, output),
        Command::Gauge(flags) => gauges::set(&flags, output),
        Command::Aggregate(flags) => gauges::aggregate(&flags, output),
        Command::Rtt(flags) => rtt::show(&flags, output),
        Command::Tags(command) => tags::run(command, output),
        Command::Keys(command) => keys::run(command, output),
        Command::Info(flags) => info::show(&flags, output),
        Command::Why(flags) => why::show(&flags, output),
        Command::Logs(flags) => info::logs(&flags, output),
        Command::Top(flags) => top::run(&flags, output),
        Command::Fault(command) => fault::run(command, output),
        Command::Lab(command) => lab::run(command, output),
        Command::Completions(flags) => completions(&flags),
        Command::Man(flags) => manual(&flags, output),
    }
}

/// What carries commands that do several things at once.
fn runtime() -> Result<Runtime, Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::new(Kind::Refused, "system", error.to_string()))
}

fn completions(flags: &cli::Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Cli::command(), "rumor", &mut script);
    Ok(print::line(String::from_utf8_lossy(&script).trim_end())?)
}

fn manual(flags: &cli::Man, output: Output) -> Result<(), Failure> {
    let Some(directory) = &flags.out else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page)?;
        return Ok(print::line(String::from_utf8_lossy(&page).trim_end())?);
    };
    let written = fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    written.map_err(|error| {
        Failure::value("out", directory.display(), format!("a directory that can be written to ({error})"))
    })?;
    Ok(output.done()?)
}
