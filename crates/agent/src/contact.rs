//! Contacts as people write them: where a node finds others to join through.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::address::GOSSIP_PORT;
use crate::failure::Failure;

const RULE: &str =
    "host, host:port, [v6]:port, srv:NAME (a service in the DNS) or file:PATH (one of these a line, but no file)";

/// A contact, or where contacts are found.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Contact {
    /// Where a node is.
    Address(SocketAddr),
    /// A host: every address that its name has.
    Host(String, u16),
    /// A service: hosts and ports of its `SRV` records (RFC 2782).
    Service(String),
    /// A file with a contact a line.
    File(PathBuf),
}

impl Contact {
    /// Reads a contact of `join`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        Self::read(text.trim()).ok_or_else(|| Failure::value("join", format!("{text:?}"), RULE))
    }

    fn read(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("srv:") {
            return is_host(name).then(|| Self::Service(name.to_owned()));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return (!path.is_empty()).then(|| Self::File(path.into()));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Some(Self::Address((ip, GOSSIP_PORT).into()));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, GOSSIP_PORT),
        };
        is_host(host).then(|| Self::Host(host.to_owned(), port))
    }

    /// The contacts in a file, one a line; `#` begins a comment. The number of a line that is none: what stands there may be
    /// a secret of another file.
    pub(crate) fn lines(text: &str) -> Result<Vec<Self>, usize> {
        let contacts = text.lines().enumerate().filter_map(|(number, line)| {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                return None;
            }
            let contact = Self::read(line).filter(|contact| !matches!(contact, Self::File(_)));
            Some(contact.ok_or(number + 1))
        });
        contacts.collect()
    }
}

/// Whether this may be the name of a host or service; whether it is one the DNS says.
fn is_host(name: &str) -> bool {
    let strange = |c: char| c.is_whitespace() || c.is_control() || "[]/:#,;".contains(c);
    (1..=253).contains(&name.len()) && !name.contains(strange)
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "srv:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_addresses_hosts_services_and_files() {
        for (text, shown) in [
            ("10.1.2.3", "10.1.2.3:4747"),
            ("10.1.2.3:9", "10.1.2.3:9"),
            ("fd00::1", "[fd00::1]:4747"),
            ("[fd00::1]", "[fd00::1]:4747"),
            ("[fd00::1]:9", "[fd00::1]:9"),
            ("db.example", "db.example:4747"),
            ("db.example:9", "db.example:9"),
            ("srv:_rumor._udp.example", "srv:_rumor._udp.example"),
            ("file:/etc/rumor/contacts", "file:/etc/rumor/contacts"),
        ] {
            assert_eq!(Contact::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", ":9", "host:port", "host:70000", "two words", "http://host:1", "srv:", "srv:a:1", "file:"] {
            let refused = Contact::parse(text).unwrap_err();
            assert!(refused.message().starts_with("join is "), "{text}: {}", refused.message());
        }
    }

    #[test]
    fn a_file_has_a_contact_a_line_and_what_is_none_is_named_by_its_line() {
        let text = "# ours\n\n 10.0.0.1 \n10.0.0.2:9 # the second\nsrv:_rumor._udp.example\n";
        let shown: Vec<String> = Contact::lines(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.1:4747", "10.0.0.2:9", "srv:_rumor._udp.example"]);
        for line in ["what is this", "file:/etc/other", "10.0.0.1,10.0.0.2"] {
            let refused = Contact::lines(&format!("10.0.0.1\n{line}\n10.0.0.3")).unwrap_err();
            assert_eq!(refused, 2, "{line}");
        }
    }
}
