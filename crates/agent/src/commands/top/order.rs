//! Which members are listed, and in which order.

use std::collections::BTreeMap;

use crate::documents::MemberDocument;
use crate::print;

/// By what members are sorted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Sort {
    #[default]
    Name,
    /// Those that need somebody first.
    State,
    /// What changed last first.
    Since,
    /// The longest first.
    RoundTrip,
}

impl Sort {
    /// The one after it.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Name => Self::State,
            Self::State => Self::Since,
            Self::Since => Self::RoundTrip,
            Self::RoundTrip => Self::Name,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Name => "by name",
            Self::State => "by state",
            Self::Since => "by change",
            Self::RoundTrip => "by round trip",
        }
    }
}

/// The ids of members in which a word occurs: as part of name, state, address or a tag. Upper and lower case are one.
pub(super) fn listed(members: &BTreeMap<String, MemberDocument>, word: &str, sort: Sort) -> Vec<String> {
    let word = word.to_lowercase();
    let mut listed: Vec<&MemberDocument> = members.values().filter(|member| has(member, &word)).collect();
    listed.sort_by_cached_key(|member| (natural(&member.name), &member.id));
    match sort {
        Sort::Name => {}
        Sort::State => listed.sort_by_key(|member| urgency(&member.state)),
        Sort::Since => listed.sort_by(|a, b| b.since.total_cmp(&a.since)),
        Sort::RoundTrip => listed.sort_by(|a, b| round_trip(b).total_cmp(&round_trip(a))),
    }
    listed.into_iter().map(|member| member.id.clone()).collect()
}

fn has(member: &MemberDocument, word: &str) -> bool {
    let MemberDocument { name, state, address, tags, view, .. } = member;
    let tags = print::tags(tags);
    let address = address.as_deref().unwrap_or_default();
    word.is_empty() || [name, state, address, view, &*tags].iter().any(|text| text.to_lowercase().contains(word))
}

/// Suspects may still be saved.
fn urgency(state: &str) -> usize {
    let order = ["suspect", "dead", "revoked", "left", "alive"];
    order.iter().position(|known| *known == state).unwrap_or(order.len())
}

fn round_trip(member: &MemberDocument) -> f64 {
    member.rtt.unwrap_or(-1.0)
}

/// A part of a name: digits count as a number, so that n2 is before n10.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Part {
    Number(usize, Vec<u8>),
    Text(Vec<u8>),
}

fn natural(name: &str) -> Vec<Part> {
    let parts = name.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let part = |part: &[u8]| {
        if !part[0].is_ascii_digit() {
            return Part::Text(part.to_ascii_lowercase());
        }
        let digits: Vec<u8> = part.iter().copied().skip_while(|digit| *digit == b'0').collect();
        Part::Number(digits.len(), digits)
    };
    parts.map(part).collect()
}
