//! The reference of the command line, `docs/cli.md`, is what the program itself says.

mod support;

use std::fmt::Write as _;
use std::path::Path;

use support::{run, text};

#[test]
fn the_reference_says_what_the_program_says() {
    let mut reference =
        "# Command line\n\nWhat `rumor` says with `--help`. `UPDATE=1 cargo test` rewrites this file.\n".to_owned();
    describe(&[], &mut reference);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &reference).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference, "docs/cli.md is out of date; run the tests with UPDATE=1");
}

/// The help of one command, then of those below it.
fn describe(command: &[&str], reference: &mut String) {
    let output = run(&[command, &["--help"]].concat());
    let help = text(&output.stdout);
    assert!(output.status.success(), "{command:?}");
    let title = [&["rumor"], command].concat().join(" ");
    write!(reference, "\n## `{title}`\n\n```text\n{}\n```\n", help.trim_end()).expect("a string takes all");
    let commands = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(""));
    // What stands further to the right goes on with what is said of the command before.
    for line in commands.lines().filter(|line| !line.starts_with("   ")) {
        if let Some(name) = line.split_whitespace().next() {
            describe(&[command, &[name]].concat(), reference);
        }
    }
}
