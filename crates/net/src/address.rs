//! Addresses as people write them: `host`, `host:port`, `[v6]:port`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rumormill_core::ConfigError;

/// The port where none is written.
const PORT_DEFAULT: u16 = 4_747;

/// A host, by name or number, and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads an address; `field` is the setting to blame.
    pub(crate) fn parse(field: &'static str, text: &str) -> Result<Self, ConfigError> {
        let (host, port) = split(text);
        let port = port.map_or(Some(PORT_DEFAULT), |port| port.parse().ok());
        match port {
            Some(port) if !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "[]/".contains(c)) => {
                Ok(Self { host: host.to_owned(), port })
            }
            _ => {
                Err(ConfigError { field, value: format!("{text:?}"), rule: "host, host:port or [v6]:port".to_owned() })
            }
        }
    }

    /// Every address that the host has now.
    pub(crate) async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("")) });
    }
    match text.rsplit_once(':') {
        // Two colons and no brackets: a bare IPv6 address.
        Some((host, _)) if host.contains(':') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// The address to tell others where `bound` names none: the source address towards the first contact, else the one
/// towards a private network, else towards anywhere.
pub(crate) fn advertised(bound: SocketAddr, contacts: &[SocketAddr]) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let ip = contacts
        .iter()
        .copied()
        .chain(somewhere())
        .filter(|to| bound.is_ipv6() || to.is_ipv4())
        .find_map(source_towards)
        .unwrap_or_else(|| if bound.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    SocketAddr::new(ip, bound.port())
}

/// Private networks, then addresses reserved for documentation, which only a default route leads to.
fn somewhere() -> impl Iterator<Item = SocketAddr> {
    let hosts: [IpAddr; 5] = [
        Ipv4Addr::new(10, 0, 0, 1).into(),
        Ipv4Addr::new(172, 16, 0, 1).into(),
        Ipv4Addr::new(192, 168, 0, 1).into(),
        Ipv4Addr::new(192, 0, 2, 1).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    ];
    hosts.into_iter().map(|host| SocketAddr::new(host, PORT_DEFAULT))
}

/// The address that this machine would send from. Connecting a UDP socket asks the routing table and sends nothing.
fn source_towards(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        for (text, shown) in [
            ("localhost", "localhost:4747"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("db.example:9", "db.example:9"),
            ("::1", "[::1]:4747"),
            ("[::1]", "[::1]:4747"),
            ("[fe80::1]:12", "[fe80::1]:12"),
        ] {
            assert_eq!(Address::parse("join", text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_field() {
        for text in ["", ":4747", "host:port", "host:70000", "[::1]4747", "two words", "http://host:1"] {
            assert_eq!(Address::parse("join", text).unwrap_err().field, "join", "{text}");
        }
    }

    #[test]
    fn an_unspecified_address_is_never_advertised() {
        for bound in ["0.0.0.0:4747", "[::]:4747"] {
            let advertised = advertised(bound.parse().unwrap(), &[]);
            assert!(!advertised.ip().is_unspecified());
            assert_eq!(advertised.port(), 4747);
        }
        let contact = "127.0.0.1:9".parse().unwrap();
        assert_eq!(advertised("0.0.0.0:1".parse().unwrap(), &[contact]), "127.0.0.1:1".parse().unwrap());
    }
}
