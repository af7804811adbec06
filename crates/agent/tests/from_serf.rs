//! What `docs/from-serf.md` names on this side is there: commands and flags in the reference of the command line, settings in theirs,
//! routes in what an agent says of itself. The two references are held to the program by tests of their own.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Agent, run, words};

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// What there is to name.
struct Named {
    /// Commands as they are written, with their help.
    commands: BTreeMap<String, String>,
    settings: BTreeSet<String>,
    /// Method and path.
    routes: Vec<(String, String)>,
}

impl Named {
    fn new() -> Self {
        let section = |section: &str| {
            let (title, help) = section.split_once("`\n").unwrap();
            (title.to_owned(), help.to_owned())
        };
        let key = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
        let answer = Agent::start("n1", &[])
            .http("GET /v1/openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let described: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let paths = described["paths"].as_object().unwrap().iter();
        let methods = |(path, methods): (&String, &Value)| {
            let methods: Vec<String> =
                methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
            methods.into_iter().map(|method| (method, path.clone())).collect::<Vec<_>>()
        };
        Self {
            commands: document("cli.md").split("\n## `").skip(1).map(section).collect(),
            settings: document("configuration.md").lines().filter_map(key).collect(),
            routes: paths.flat_map(methods).collect(),
        }
    }

    /// The command that a line begins with, and what follows; `None` where there is no such command, or it is only the beginning of some.
    fn command<'a>(&self, line: &'a str) -> Option<(String, Vec<&'a str>)> {
        let mut words = line.split(' ').peekable();
        let mut command = words.next()?.to_owned();
        while let Some(longer) = words.peek().map(|word| format!("{command} {word}"))
            && self.commands.contains_key(&longer)
        {
            (command, _) = (longer, words.next());
        }
        let is_whole = !self.commands[&command].contains("\nCommands:\n");
        let is_flag = words.peek().is_some_and(|word| word.starts_with("--"));
        (is_whole || is_flag).then(|| (command, words.collect()))
    }

    /// Whether a command has a flag, or any has where none is given.
    fn has_flag(&self, command: Option<&str>, flag: &str) -> bool {
        let spelled = |line: &str| {
            let line = line.trim_start();
            let spelled = line.split("  ").next().unwrap_or_default();
            line.starts_with('-') && spelled.split([' ', ',']).any(|word| word == flag)
        };
        let mut asked = self.commands.iter().filter(|(name, _)| command.is_none_or(|command| command == *name));
        asked.any(|(_, help)| help.lines().any(spelled))
    }

    /// Whether there is such a route, with words in capitals for what changes from one request to the next.
    fn has_route(&self, method: Option<&str>, path: &str) -> bool {
        let is_same = |(word, of_route): (&str, &str)| {
            if of_route.starts_with('{') { word.chars().all(|c| c.is_ascii_uppercase()) } else { word == of_route }
        };
        self.routes.iter().any(|(its, route)| {
            method.is_none_or(|method| method == its)
                && path.split('/').count() == route.split('/').count()
                && path.split('/').zip(route.split('/')).all(is_same)
        })
    }

    /// What words in code name that is not there. Flags are those of this command, or of any.
    fn missing_of(&self, code: &str, command: Option<&str>) -> Vec<String> {
        let (first, rest) = code.split_once(' ').unwrap_or((code, ""));
        let flags = |command: Option<&str>, words: &[&str]| {
            let flags = words.iter().filter(|word| word.len() > 2 && word.starts_with("--"));
            flags.filter(|flag| !self.has_flag(command, flag)).map(|flag| format!("{flag} in {code}")).collect()
        };
        match first {
            "rumor" => match self.command(code) {
                Some((command, words)) => flags(Some(&command), &words),
                None => vec![code.to_owned()],
            },
            "GET" | "POST" | "PUT" | "PATCH" | "DELETE" if !self.has_route(Some(first), rest) => vec![code.to_owned()],
            "/v1" => Vec::new(),
            path if path.starts_with('/') && !self.has_route(None, path) => vec![code.to_owned()],
            _ => flags(command, &code.split(' ').collect::<Vec<_>>()),
        }
    }

    /// What a document names that is not there: of tables all but the first column, which is Serf's.
    fn missing(&self, document: &str) -> Vec<String> {
        let (mut section, mut command) = ("", None);
        let mut missing = Vec::new();
        for line in document.lines() {
            section = line.strip_prefix("## ").unwrap_or(section);
            let line = line.replace("\\|", "/");
            let Some(row) = line.strip_prefix("| ") else {
                let is_list = line.starts_with("Only here:");
                for code in codes(&line) {
                    let code = if is_list { format!("rumor {code}") } else { code.to_owned() };
                    // A command may stand for those that begin with it.
                    let is_begin = is_list && self.commands.contains_key(&code);
                    missing.extend(if is_begin { Vec::new() } else { self.missing_of(&code, None) });
                }
                continue;
            };
            let cells: Vec<&str> = row.split('|').collect();
            let named = cells.get(1).into_iter().flat_map(|cell| codes(cell)).find(|code| code.starts_with("rumor "));
            if section == "Commands"
                && let Some(named) = named
            {
                command = self.command(named).map(|(command, _)| command);
            } else if section != "Commands" || !cells[0].starts_with('…') {
                // A row that begins so is about the command of the row before.
                command = None;
            }
            for (column, cell) in cells.iter().enumerate().skip(1) {
                let is_of_agent = section == "Flags of the agent" && column == 1;
                for code in codes(cell) {
                    let of = if is_of_agent { Some("rumor agent") } else { command.as_deref() };
                    missing.extend(self.missing_of(code, of));
                    let key = code.trim_matches(['[', ']']);
                    let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                    if is_of_agent && is_key && !self.settings.contains(key) {
                        missing.push(format!("the setting {key}"));
                    }
                }
            }
        }
        missing
    }
}

/// The words in code of a line.
fn codes(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn whoever_comes_from_serf_finds_what_is_named() {
    let (named, page) = (Named::new(), document("from-serf.md"));
    assert_eq!(named.missing(&page), [] as [&str; 0]);
    // Whatever is called something else one day shows.
    for (name, other) in [
        ("`rumor publish ", "`rumor shout "),
        ("`rumor tags set`", "`rumor tags`"),
        ("`rumor keygen --from`", "`rumor keygen --like`"),
        ("`--nearest N`", "`--replicas N`"),
        ("`--agent URL`", "`--agents URL`"),
        ("`--advertise`", "`--nodes`"),
        ("`--insecure`", "`--unsafe`"),
        ("`elect`", "`choose`"),
        ("`dead_ttl`", "`death_ttl`"),
        ("`[tags]`", "`[labels]`"),
        ("`GET /v1/rtt`", "`GET /v1/distances`"),
        ("`PATCH /v1/tags`", "`PUT /v1/tags`"),
        ("`DELETE /v1/keys/ID`", "`DELETE /v1/keys/id`"),
        ("`/ready`", "`/steady`"),
    ] {
        assert!(page.contains(name), "{name}");
        assert_eq!(named.missing(&page.replacen(name, other, 1)).len(), 1, "{other}");
    }
}

#[test]
fn the_handlers_shown_are_taken_and_so_are_all_events() {
    let page = document("from-serf.md");
    let section = page.split_once("\n## Event handlers\n").unwrap().1.split_once("\n## ").unwrap().0;
    let shown = section.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let rows = section.lines().take_while(|line| !line.starts_with("| `user`"));
    let events: Vec<&str> = rows.filter_map(|row| row.strip_prefix("| ")?.split('|').nth(1)).flat_map(codes).collect();
    assert!(events.len() > 5, "{events:?}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rumor.toml");
    let checked = |text: &str| {
        fs::write(&file, text).unwrap();
        words(&run(&["config", "check", file.to_str().unwrap()]))
    };
    for text in [shown.to_owned(), format!("[[on]]\nevents = {events:?}\ncommand = \"true\"\n")] {
        let (code, _, complaint) = checked(&text);
        assert_eq!(code, 0, "{text}{complaint}");
    }
    assert_eq!(checked("[[on]]\nevents = [\"reaped\"]\ncommand = \"true\"\n").0, 2);
}
