//! How a command fails: what is said, to people or to scripts, and with which exit code.

use std::io;
use std::process::ExitCode;

use rumormill_core::{ConfigError, Refusal};
use serde_json::json;

use crate::documents::{Problem, RegisterDocument};
use crate::print;

/// Whom or what a failure is to blame on; each has its exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The answer is no: absent, or refused by the agent.
    No,
    /// Refused before anything was done.
    Refused,
    /// Nobody answered in time.
    NotAnswered,
    /// Whoever read the output is gone: nothing to say, and nobody to say it to.
    NobodyReads,
    /// A command that was run has said itself what was wrong, and ended with this.
    Command(u8),
}

impl Kind {
    const fn exit_code(self) -> u8 {
        match self {
            Self::NobodyReads => 0,
            Self::No => 1,
            Self::Refused => 2,
            Self::NotAnswered => 3,
            Self::Command(code) => code,
        }
    }
}

/// Whether something may have happened although the command failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Nothing was changed.
    None,
    /// It may have been done.
    Unknown,
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    outcome: Outcome,
    /// Boxed, so that results stay small.
    problem: Box<Problem>,
}

impl Failure {
    /// A failure of which nothing but a sentence is known.
    pub(crate) fn new(kind: Kind, code: &str, detail: impl Into<String>) -> Self {
        Self { kind, outcome: Outcome::None, problem: Box::new(Problem::new(code, detail)) }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(detail: &str) -> Self {
        Self::new(Kind::Refused, "usage", detail)
    }

    /// A setting or argument that breaks a rule, found before anything was done.
    pub(crate) fn value(field: impl Into<String>, value: impl ToString, rule: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, outcome: Outcome::None, problem: Box::new(Problem::value(field, value, rule)) }
    }

    /// The same failure under a code that programs can tell from others.
    pub(crate) fn with_code(mut self, code: &str) -> Self {
        code.clone_into(&mut self.problem.code);
        self
    }

    /// The same failure where another try would end the same, whatever was changed here: the answer is no.
    pub(crate) fn for_good(self) -> Self {
        Self { kind: Kind::No, ..self }
    }

    /// The deadline passed; whether the agent did what was asked is not known.
    pub(crate) fn deadline(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Unknown, ..Self::new(Kind::NotAnswered, "deadline", detail) }
    }

    /// The agent's own words about what it did not do.
    pub(crate) fn from_agent(status: u16, problem: Problem) -> Self {
        let (kind, outcome) = match status {
            // What an agent that stops had begun may still be done, and a disk that failed may keep it all the same.
            503 if ["stopped", "not_stored"].contains(&&*problem.code) => (Kind::NotAnswered, Outcome::Unknown),
            503 => (Kind::NotAnswered, Outcome::None),
            // What did not get its turn in time was not begun.
            504 if problem.code == "late" => (Kind::NotAnswered, Outcome::None),
            504 => (Kind::NotAnswered, Outcome::Unknown),
            _ => (Kind::No, Outcome::None),
        };
        let outcome = match problem.outcome.as_deref() {
            Some("none") => Outcome::None,
            Some(_) => Outcome::Unknown,
            None => outcome,
        };
        Self { kind, outcome, problem: Box::new(problem) }
    }

    /// What a register holds in place of what was expected.
    pub(crate) fn actual(&self) -> Option<&RegisterDocument> {
        self.problem.actual.as_ref()
    }

    /// A command that was run ended with this.
    pub(crate) fn of_command(code: u8) -> Self {
        Self::new(Kind::Command(code), "command", format!("the command ended with {code}"))
    }

    /// A word for programs.
    pub(crate) fn code(&self) -> &str {
        &self.problem.code
    }

    /// Whether nothing was even begun, so that another try would end the same.
    pub(crate) fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.problem.detail
    }

    /// What is known of it, for other forms of saying it.
    pub(crate) fn into_problem(self) -> Problem {
        *self.problem
    }

    /// Says it on stderr and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if !matches!(self.kind, Kind::NobodyReads | Kind::Command(_)) {
            let line = if json { self.to_json().to_string() } else { format!("rumor: {}", self.problem.detail) };
            print::note(line);
        }
        ExitCode::from(self.kind.exit_code())
    }

    fn to_json(&self) -> serde_json::Value {
        let Problem { code, detail, field, value, rule, line, written, actual, .. } = &*self.problem;
        let outcome = match self.outcome {
            Outcome::None => "none",
            Outcome::Unknown => "unknown",
        };
        let mut error = json!({ "code": code, "message": detail, "outcome": outcome });
        for (key, text) in [("field", field), ("value", value), ("rule", rule)] {
            if let Some(text) = text {
                error[key] = json!(text);
            }
        }
        if let Some(line) = line {
            error["line"] = json!(line);
        }
        if let Some(written) = written {
            error["written"] = serde_json::to_value(written).unwrap_or_default();
        }
        if let Some(actual) = actual {
            error["actual"] = serde_json::to_value(actual).unwrap_or_default();
        }
        json!({ "error": error })
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::value(error.field, error.value, error.rule)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { kind: Kind::No, outcome: Outcome::None, problem: Box::new(refusal.into()) }
    }
}

/// Only writing to stdout fails this way; what a command reads has its own words.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Kind::NobodyReads, "output", "nobody reads the output any more");
        }
        Self::new(Kind::Refused, "output", format!("failed to write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_value_names_the_field_the_value_and_the_rule() {
        let failure = Failure::value("fanout", 0, "from 1 to 64");
        assert_eq!(
            failure.to_json(),
            json!({ "error": {
                "code": "value", "message": "fanout is 0, must be from 1 to 64", "outcome": "none",
                "field": "fanout", "value": "0", "rule": "from 1 to 64",
            } })
        );
    }

    #[test]
    fn a_passed_deadline_leaves_the_outcome_open() {
        assert_eq!(Failure::deadline("no answer").to_json()["error"]["outcome"], "unknown");
        assert_eq!(Failure::from_agent(404, Problem::new("absent", "no member n9")).kind, Kind::No);
    }
}
