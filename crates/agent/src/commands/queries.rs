//! `rumor query` and `rumor answer`.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Stdio};

use ureq::http::Method;

use super::Output;
use crate::cli;
use crate::client::{Client, standard_input};
use crate::documents::{AnswerLine, Done, QuestionDocument};
use crate::failure::{Failure, Kind};
use crate::{percent, print};

pub(super) fn ask(flags: cli::Query, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let mut path = format!("/v1/queries/{}?{}", percent::encode(&flags.name), client.timeout_parameter());
    if !flags.tags.is_empty() {
        let pairs: Vec<String> = flags.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        path = format!("{path}&tags={}", percent::encode(&pairs.join(",")));
    }
    if let Some(count) = flags.nearest {
        path = format!("{path}&nearest={count}");
    }
    let payload = match flags.payload {
        Some(text) if text == "-" => standard_input()?,
        Some(text) => text.into_encoded_bytes(),
        None => Vec::new(),
    };
    let mut lines = client.stream(Method::POST, &path, payload)?;
    while let Some(event) = lines.next()? {
        let answer: AnswerLine = event.document()?;
        if output.json {
            print::json(&answer)?;
        }
        match answer {
            AnswerLine::Answer(answer) if !output.json => {
                let text = answer.payload.text();
                let line = format!("{}  {}  {}", answer.from, print::millis(answer.after), text.trim_end());
                print::line(line.trim_end())?;
            }
            AnswerLine::Answer(_) => {}
            AnswerLine::Done(done) => {
                if !output.json {
                    let elapsed = print::short(done.elapsed);
                    let who = match done.asked {
                        Some(asked) if done.estimated => format!("{} of about {asked}", done.answered),
                        Some(asked) => format!("{} of {asked}", done.answered),
                        None => done.answered.to_string(),
                    };
                    print::note(format!("{who} answered within {elapsed}"));
                }
                return outcome(done.answered);
            }
        }
    }
    Err(Failure::deadline("the agent stopped before the answers were in"))
}

/// Silence of all is no answer.
fn outcome(answered: u64) -> Result<(), Failure> {
    if answered == 0 {
        return Err(Failure::deadline("nobody answered"));
    }
    Ok(())
}

pub(super) fn answer(flags: &cli::Answer, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let path = format!("/v1/queries/{}/questions", percent::encode(&flags.name));
    let mut lines = client.stream(Method::GET, &path, Vec::new())?;
    while let Some(event) = lines.next()? {
        if event.name == "answering" {
            let at: serde_json::Value = event.document()?;
            let node = at["node"].as_str().unwrap_or_default();
            print::note(format!("answering {} at {node}", flags.name));
            continue;
        }
        let question: QuestionDocument = event.document()?;
        if output.json {
            print::json(&question)?;
        }
        let reply = match run(&flags.command, &question) {
            Ok(reply) => reply,
            Err(failure) if failure.is_refused() => return Err(failure),
            Err(failure) => {
                print::note(format!("{}; {} gets no answer", failure.message(), question.from));
                continue;
            }
        };
        let sent: Result<Done, Failure> =
            client.post(&format!("{path}/{}", percent::encode(&question.question)), reply);
        match sent {
            Ok(Done {}) => {}
            Err(failure) => print::note(format!("{} got no answer: {}", question.from, failure.message())),
        }
    }
    print::note("the agent has stopped");
    Ok(())
}

/// Runs the command on a question. A command that fails has no answer to give.
fn run(command: &[OsString], question: &QuestionDocument) -> Result<Vec<u8>, Failure> {
    let (program, arguments) = command.split_first().expect("the command line demands a command");
    let mut child = Command::new(program)
        .args(arguments)
        .env("RUMOR_QUERY", &question.name)
        .env("RUMOR_FROM", &question.from)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Failure::value("command", program.to_string_lossy(), format!("a program that runs ({error})"))
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not care for the question closes its input early.
        stdin.write_all(&question.payload.bytes()).ok();
    }
    let finished = child.wait_with_output();
    match finished {
        Ok(finished) if finished.status.success() => Ok(finished.stdout),
        Ok(finished) => Err(Failure::new(Kind::No, "command", format!("the command ended with {}", finished.status))),
        Err(error) => Err(Failure::new(Kind::No, "command", format!("the command was lost: {error}"))),
    }
}
