//! The table of limits in `docs/protocol.md` is what an agent shows in `/metrics`, name by name and number by number.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use support::{Agent, run};

/// Those of which the table names the setting that they follow from, and no number.
const FOLLOW_FROM_SETTINGS: [&str; 3] = ["bandwidth", "bandwidth_urgent", "stream_inboxes"];

/// The last column of the table: names, each with the limit of its row.
fn documented() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split_once("\n## Limits\n").unwrap().1.split_once("\n## ").unwrap().0;
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut names = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [what, limit, _, shown] = cells[..] else { panic!("four columns: {row}") };
        for name in shown.split(", ").filter(|name| !name.is_empty()) {
            let name = name.trim_matches('`').to_owned();
            let twice = names.insert(name, limit.to_owned());
            assert_eq!(twice, None, "{what}");
        }
    }
    names
}

/// The values of one family by `what`.
fn family(page: &str, name: &str) -> BTreeMap<String, f64> {
    let begin = format!("{name}{{what=\"");
    let lines = page.lines().filter_map(|line| line.strip_prefix(&begin)?.split_once("\"} "));
    lines.map(|(what, value)| (what.to_owned(), value.parse().unwrap())).collect()
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|three| str::from_utf8(three).unwrap()).collect();
    groups.join(",")
}

/// As the table writes so many bytes.
fn in_bytes(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", grouped(bytes >> 20)),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", grouped(bytes >> 10)),
        _ => grouped(bytes),
    }
}

fn has_number(limit: &str, number: &str) -> bool {
    let is_alone = |(place, _): (usize, &str)| {
        let (before, after) = (&limit[..place], &limit[place + number.len()..]);
        let goes_on = |rest: Option<char>| rest.is_some_and(|c| c.is_ascii_digit());
        !before.ends_with(|c: char| c.is_ascii_digit() || c == ',')
            && !goes_on(after.strip_prefix(',').unwrap_or(after).chars().next())
    };
    limit.match_indices(number).any(is_alone)
}

#[test]
fn whatever_is_bounded_is_in_the_table_and_in_the_metrics_with_the_same_number() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    assert!(run(&["keygen", key.to_str().unwrap()]).status.success());
    let sealed = ["--key-file", key.to_str().unwrap(), "--set", "bandwidth_max=1000000"];
    let page = Agent::start("n1", &sealed).metrics();
    let documented = documented();
    let mut shown = BTreeMap::new();
    for (unit, written) in [("entries", grouped as fn(u64) -> String), ("bytes", in_bytes)] {
        let (held, most) =
            (family(&page, &format!("rumor_held_{unit}")), family(&page, &format!("rumor_capacity_{unit}")));
        assert!(held.len() > 5 && held.keys().eq(most.keys()), "{held:?} {most:?}");
        for (what, most) in most {
            assert!(held[&what] <= most, "{what}: {} of {most}", held[&what]);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number")]
            let number = written(most as u64);
            let limit = documented.get(&what).unwrap_or_else(|| panic!("{what} is not in the table"));
            let follows = FOLLOW_FROM_SETTINGS.contains(&&*what);
            assert!(follows || has_number(limit, &number), "{what} is {number}, and {limit:?} in the table");
            shown.insert(what, number);
        }
    }
    assert!(documented.keys().eq(shown.keys()), "in the table only: {:?}", {
        documented.keys().filter(|name| !shown.contains_key(*name)).collect::<Vec<_>>()
    });
}
