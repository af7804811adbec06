//! Manual pages: one for each command that the reference has, and each says what the command takes.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use support::{not_checked, run, text, words};

/// The commands of `docs/cli.md`, each with the flags that it lists.
fn reference() -> Vec<(String, BTreeSet<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let reference = std::fs::read_to_string(path).unwrap();
    let sections = reference.split("\n## `").skip(1).map(|section| section.split_once("`\n").unwrap());
    let flag = |line: &str| {
        let line = line.trim_start();
        let long = line.split([' ', ',']).find(|word| word.starts_with("--"))?;
        line.starts_with('-').then(|| long.to_owned())
    };
    sections.map(|(name, help)| (name.replace(' ', "-"), help.lines().filter_map(flag).collect())).collect()
}

#[test]
fn each_command_has_a_page_that_names_its_flags() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    let (code, out, err) = words(&run(&["man", "--out", pages.to_str().unwrap()]));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    let commands = reference();
    assert!(commands.len() > 50, "{}", commands.len());
    let mut named: BTreeSet<String> = commands.iter().map(|(name, _)| format!("{name}.1")).collect();
    for (name, flags) in commands {
        let page =
            std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap_or_else(|_| panic!("a page for {name}"));
        for flag in flags {
            let escaped = flag.replace('-', "\\-");
            assert!(page.contains(&escaped), "{flag} in the page of {name}:\n{page}");
        }
    }
    for page in std::fs::read_dir(&pages).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        assert!(named.remove(&name), "{name} is of no command");
    }
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn the_page_is_read_by_groff_without_a_warning() {
    let page = run(&["man"]);
    assert!(page.status.success());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rumor.1");
    std::fs::write(&path, &page.stdout).unwrap();
    let Ok(read) = Command::new("groff").args(["-man", "-Tascii", "-ww"]).arg(&path).output() else {
        return not_checked("groff is missing");
    };
    assert_eq!(text(&read.stderr), "");
    let shown = String::from_utf8_lossy(&read.stdout);
    assert!(shown.contains("rumor-dev(1)"), "{shown}");
}

#[test]
fn what_cannot_be_written_to_is_refused() {
    let (code, _, err) = words(&run(&["man", "--out", "/dev/null/man1"]));
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("out is /dev/null/man1, must be a directory that can be written to"), "{err}");
}
