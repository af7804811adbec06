//! `rumor`: the agent, the commands that talk to it, and a cluster on this machine to play with.

mod address;
mod cli;
mod client;
mod commands;
mod contact;
mod daemon;
mod dev;
mod documents;
mod failure;
mod http;
mod lab;
mod logs;
mod percent;
mod print;
mod settings;
mod story;
mod token;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => {
            let json = cli.json;
            commands::run(cli).map_or_else(|failure| failure.report(json), |()| ExitCode::SUCCESS)
        }
        Err(refused) => refused.report(),
    }
}
