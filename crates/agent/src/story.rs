//! What happens to members, in the words that people read.

use std::fmt;

use crate::documents::MemberDocument;
use crate::print;

/// What became of a member, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Words {
    /// One word: what it is now.
    pub(crate) state: &'static str,
    /// How that came, if there is more to say.
    pub(crate) detail: String,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => f.write_str(self.state),
            detail => write!(f, "{}: {detail}", self.state),
        }
    }
}

/// The words of a change, as `event` names it.
pub(crate) fn of_change(event: &str, by: &str, member: &MemberDocument) -> Words {
    let address = member.address.as_deref().unwrap_or("an unknown address");
    let (state, detail) = match event {
        "joined" if member.incarnation == "1" => ("alive", format!("joined at {address}")),
        "joined" => ("alive", format!("is back at {address}, incarnation {}", member.incarnation)),
        "updated" => ("alive", format!("now incarnation {} at {address}{}", member.incarnation, tags(member))),
        "suspected" => ("suspect", format!("asked by {by}; others could not reach it either")),
        "refuted" => ("alive", format!("contradicted the suspicion, incarnation {}", member.incarnation)),
        "failed" => ("dead", String::new()),
        "left" => ("left", "said goodbye".to_owned()),
        "revoked" => ("revoked", "its certificate counts no more".to_owned()),
        "removed" => ("removed", "no longer listed".to_owned()),
        "replaced" => ("renamed", format!("another member holds its name; shown as {}", member.name)),
        _ => ("changed", event.to_owned()),
    };
    Words { state, detail }
}

fn tags(member: &MemberDocument) -> String {
    if member.tags.is_empty() { String::new() } else { format!(", tags {}", print::tags(&member.tags)) }
}

/// A line of a watch: `12:00:31.02  n3 suspect  asked by n5`.
pub(crate) fn line(at: f64, name: &str, words: &Words) -> String {
    let Words { state, detail } = words;
    format!("{}  {name} {state:<7}  {detail}", print::time_of_day(at)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_watch_has_its_columns() {
        let words = Words { state: "dead", detail: "2.9 s after its process ended".to_owned() };
        let line = line(1.5, "n3", &words);
        assert!(line.ends_with(":01.50  n3 dead     2.9 s after its process ended"), "{line}");
    }
}
