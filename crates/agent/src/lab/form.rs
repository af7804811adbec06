//! The flags of a command as HTTP takes them: an object with a key for each, read as the command line is.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Args, Command};
use rumormill_lab::scenario::replay::quoted;
use serde_json::{Map, Value};

use super::signed;
use crate::failure::Failure;

/// What was asked for, by name of flag; `_` stands for `-` too.
pub(crate) type Form = Map<String, Value>;

/// Reads the flags of `rumor lab NAME`; gives them and the command line that they are.
pub(super) fn read<F: Args>(name: &'static str, form: &Form) -> Result<(F, String), Failure> {
    let command = F::augment_args(Command::new(name).no_binary_name(true).disable_help_flag(true)).mut_args(signed);
    let offered: Vec<&Arg> = command.get_arguments().filter(|arg| is_offered(arg)).collect();
    for (key, value) in form {
        if !offered.iter().any(|arg| flag(arg) == key.replace('_', "-")) {
            let names: Vec<_> = offered.iter().map(|arg| flag(arg)).collect();
            let rule = format!("a parameter of rumor lab {name}: one of {}", names.join(", "));
            return Err(Failure::value(key, shown(value), rule));
        }
    }
    let (mut arguments, mut line) = (Vec::new(), format!("rumor lab {name}"));
    for arg in offered {
        let flag = flag(arg);
        let Some(value) = form.get(flag).or_else(|| form.get(&flag.replace('-', "_"))) else { continue };
        for text in texts(arg, value)? {
            line.extend([" --", flag]);
            match text {
                None => arguments.push(format!("--{flag}")),
                Some(text) => {
                    line.extend([" ", &quoted(&text)]);
                    arguments.push(format!("--{flag}={text}"));
                }
            }
        }
    }
    let matches = command.try_get_matches_from(arguments).map_err(|error| refused(&error))?;
    let flags = F::from_arg_matches(&matches).map_err(|error| refused(&error))?;
    Ok((flags, line))
}

/// Files are for who sits at this machine: nobody over HTTP has one read or written.
fn is_offered(arg: &Arg) -> bool {
    let names_file = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.contains("FILE")));
    !names_file && arg.get_long().is_some_and(|flag| flag != "list")
}

fn flag(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// What is given with a flag, each time that it is given; a switch has nothing with it.
fn texts(arg: &Arg, value: &Value) -> Result<Vec<Option<String>>, Failure> {
    let refuse = |rule| Err(Failure::value(flag(arg), shown(value), rule));
    let is_text = |value: &Value| value.is_string() || value.is_number();
    match (arg.get_action(), value) {
        (_, Value::Null) => Ok(Vec::new()),
        (ArgAction::SetTrue, Value::Bool(is_on)) => Ok(is_on.then_some(None).into_iter().collect()),
        (ArgAction::SetTrue, _) => refuse("true or false"),
        (ArgAction::Append, Value::Array(items)) if items.iter().all(is_text) => {
            Ok(items.iter().map(|item| Some(shown(item))).collect())
        }
        (_, value) if is_text(value) => Ok(vec![Some(shown(value))]),
        (ArgAction::Append, _) => refuse("a list of texts"),
        _ => refuse("a text or a number"),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The refusal of the command line, taken apart.
fn refused(error: &clap::Error) -> Failure {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let field = text(ContextKind::InvalidArg).trim_start_matches("--").split(' ').next().unwrap_or_default();
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    let rule = match (reason.strip_prefix("must be "), reason.split_once("expected ")) {
        (Some(rule), _) | (None, Some((_, rule))) => rule,
        (None, None) if reason == "invalid float literal" => "a number",
        (None, None) if reason.is_empty() => "given as `rumor lab --help` says",
        (None, None) => &reason,
    };
    Failure::value(field, text(ContextKind::InvalidValue), rule)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lab::run::Run;
    use crate::lab::spread::Spread;

    fn form(value: Value) -> Form {
        serde_json::from_value(value).unwrap()
    }

    fn problem<F: Args + std::fmt::Debug>(value: Value) -> (String, String) {
        let problem = read::<F>("spread", &form(value)).unwrap_err().into_problem();
        (problem.field.unwrap(), problem.detail)
    }

    #[test]
    fn keys_are_flags_and_make_the_command_line() {
        let asked = json!({ "nodes": 50, "fanout_distribution": "poisson", "fanout": 1.5, "hunt": null });
        let (flags, line) = read::<Spread>("spread", &form(asked)).unwrap();
        assert_eq!(line, "rumor lab spread --nodes 50 --fanout 1.5 --fanout-distribution poisson");
        assert_eq!(flags.parameters().unwrap().nodes, 50);
        let asked = json!({ "diskless": true, "check": false, "fault": ["crash:0.5@1s", "set:n1:a=b c@2s"] });
        let (_, line) = read::<Run>("run", &form(asked)).unwrap();
        assert_eq!(line, "rumor lab run --diskless --fault crash:0.5@1s --fault 'set:n1:a=b c@2s'");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value_and_its_rule() {
        let spread = problem::<Spread>;
        let whole = "nodes is -1, must be a whole number from 0 to 18446744073709551615";
        assert_eq!(spread(json!({ "nodes": -1 })), ("nodes".to_owned(), whole.to_owned()));
        assert_eq!(spread(json!({ "loss": "much" })).1, "loss is much, must be a number");
        assert_eq!(spread(json!({ "mode": "shout" })).1, "mode is shout, must be one of `push`, `pull`, `push-pull`");
        let (field, said) = spread(json!({ "stop": "soon" }));
        assert!(field == "stop" && said.contains("write never, blind-counter:K"), "{said}");
        assert_eq!(spread(json!({ "nodes": [1, 2] })).1, "nodes is [1,2], must be a text or a number");
        assert_eq!(problem::<Run>(json!({ "check": 1 })).1, "check is 1, must be true or false");
        let (field, said) = spread(json!({ "nodse": 1 }));
        assert!(field == "nodse" && said.contains("one of nodes, mode, fanout"), "{said}");
    }

    #[test]
    fn no_flag_that_names_a_file_is_offered() {
        for key in ["plot", "csv", "scenario", "list", "help"] {
            assert_eq!(problem::<Run>(json!({ key: "/etc/passwd" })).0, key);
            assert_eq!(problem::<Spread>(json!({ key: "/etc/passwd" })).0, key);
        }
    }
}
