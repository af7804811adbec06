//! `rumor members`, `join`, `leave` and `remove`.

use ureq::http::Method;

use super::Output;
use crate::cli;
use crate::client::Client;
use crate::documents::{Contacts, Done, MemberDocument};
use crate::failure::Failure;
use crate::{percent, print};

pub(super) fn list(flags: &cli::Members, output: Output) -> Result<(), Failure> {
    let members: Vec<MemberDocument> = Client::new(&flags.target)?.get("/v1/members")?;
    let this_agent = members.iter().find(|member| member.is_self).map_or_else(String::new, |this| this.name.clone());
    let members: Vec<MemberDocument> = members.into_iter().filter(|member| is_wanted(member, flags)).collect();
    if output.json {
        return Ok(print::json(&members)?);
    }
    for line in table(&members) {
        print::line(line)?;
    }
    print::note(format!("{} of {this_agent}", summary(&members)));
    Ok(())
}

/// Whether state and tags are those that were asked for.
pub(super) fn is_wanted(member: &MemberDocument, flags: &cli::Members) -> bool {
    let has_tag = |(key, value): &(String, String)| member.tags.get(key) == Some(value);
    flags.state.as_ref().is_none_or(|state| *state == member.state) && flags.tags.iter().all(has_tag)
}

fn table(members: &[MemberDocument]) -> Vec<String> {
    let now = print::now();
    let rows: Vec<Vec<String>> = members
        .iter()
        .map(|member| {
            if member.view == "passive" {
                // Nothing else is known of it.
                let address = member.address.clone().unwrap_or_default();
                let dash = || "-".to_owned();
                return vec![member.name.clone(), "passive".to_owned(), address, dash(), dash(), dash(), String::new()];
            }
            vec![
                member.name.clone(),
                member.state.clone(),
                member.address.clone().unwrap_or_else(|| "-".to_owned()),
                member.incarnation.clone(),
                print::age(now - member.since),
                member.rtt.map_or_else(|| "-".to_owned(), print::short),
                print::tags(&member.tags),
            ]
        })
        .collect();
    let mut lines = print::table(&["NAME", "STATE", "ADDRESS", "INCARNATION", "SINCE", "RTT", "TAGS"], &rows);
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    for (line, member) in lines.iter_mut().skip(1).zip(members) {
        if member.is_self {
            *line = format!("{line:<width$}      <- this agent");
        }
    }
    lines
}

/// `4 alive, 1 dead, full view`, or `5 active, 30 passive, partial view`.
fn summary(members: &[MemberDocument]) -> String {
    let count = |state: &str| members.iter().filter(|member| member.state == state).count();
    let others = ["suspect", "dead", "left", "revoked"].map(|state| (count(state), state));
    let words = others.iter().filter(|(count, _)| *count > 0).map(|(count, state)| format!(", {count} {state}"));
    let is_full = members.iter().all(|member| member.view == "full");
    if is_full {
        return format!("{} alive{}, full view", count("alive"), words.collect::<String>());
    }
    let viewed = |view: &str| members.iter().filter(|member| member.view == view && !member.is_self).count();
    format!("{} active, {} passive, partial view", viewed("active"), viewed("passive"))
}

pub(super) fn join(flags: cli::Join, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let path = format!("/v1/join?{}", client.timeout_parameter());
    let _: Done = client.call(Method::POST, &path, Some(&Contacts { contacts: flags.contacts }))?;
    if !output.json {
        print::note("joined");
    }
    Ok(output.done()?)
}

pub(super) fn leave(flags: &cli::Leave, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let _: Done = client.post("/v1/leave", Vec::new())?;
    if !output.json {
        print::note(format!("the agent at {} has left and stops", client.base()));
    }
    Ok(output.done()?)
}

pub(super) fn remove(flags: &cli::Remove, output: Output) -> Result<(), Failure> {
    let client = Client::new(&flags.target)?;
    let path = format!("/v1/members/{}?force={}", percent::encode(&flags.name), flags.force);
    let _: Done = client.call(Method::DELETE, &path, None::<&Done>)?;
    if !output.json {
        print::note(format!("{} is no longer listed", flags.name));
    }
    Ok(output.done()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Protocol;

    fn member(name: &str, is_self: bool, rtt: Option<f64>) -> MemberDocument {
        MemberDocument {
            id: "0000000000000001".to_owned(),
            name: name.to_owned(),
            address: Some("127.0.0.1:4747".to_owned()),
            state: "alive".to_owned(),
            incarnation: "1".to_owned(),
            tags: [("dev".to_owned(), "true".to_owned())].into(),
            since: print::now() - 12.2,
            rtt,
            is_self,
            protocol: Protocol { min: 1, max: 1 },
            view: "full".to_owned(),
        }
    }

    #[test]
    fn the_table_of_members_marks_this_agent() {
        let members = [member("n1", true, None), member("n2", false, Some(0.000_21))];
        assert_eq!(
            table(&members),
            [
                "NAME  STATE  ADDRESS         INCARNATION  SINCE  RTT      TAGS",
                "n1    alive  127.0.0.1:4747  1            12 s   -        dev=true      <- this agent",
                "n2    alive  127.0.0.1:4747  1            12 s   0.21 ms  dev=true",
            ]
        );
    }

    #[test]
    fn the_summary_counts_only_the_states_that_occur() {
        let dead = MemberDocument { state: "dead".to_owned(), ..member("n3", false, None) };
        assert_eq!(summary(&[member("n1", true, None), dead]), "1 alive, 1 dead, full view");
    }
}
