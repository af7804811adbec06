//! Addresses as people write them: host, host:port, `[v6]:port`.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use crate::failure::Failure;

/// Where a node gossips unless told otherwise.
pub(crate) const GOSSIP_PORT: u16 = 4747;
/// Where an agent serves HTTP unless told otherwise.
pub(crate) const HTTP_PORT: u16 = 4748;
/// Where metrics have an address of their own, unless told otherwise.
pub(crate) const METRICS_PORT: u16 = 4749;

/// Where servers of names are asked unless told otherwise.
pub(crate) const DNS_PORT: u16 = 53;

/// The address that `text`, the value of `field`, names on this machine.
pub(crate) fn local(field: &str, text: &str, default_port: u16) -> Result<SocketAddr, Failure> {
    let rule = "an address of this machine: host, host:port or [v6]:port";
    let refuse = || Failure::value(field, format!("{text:?}"), rule);
    with_port(text, default_port).to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(refuse)
}

/// Whether a host, with or without a port, is this machine by its very name.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn with_port(text: &str, default_port: u16) -> String {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return SocketAddr::new(ip, default_port).to_string();
    }
    if text.contains(':') { text.to_owned() } else { format!("{text}:{default_port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_where_none_is_given() {
        for (text, full) in [
            ("127.0.0.1", "127.0.0.1:4747"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("::1", "[::1]:4747"),
            ("[::1]", "[::1]:4747"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(local("bind", text, GOSSIP_PORT).unwrap().to_string(), full);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        assert!(local("bind", "127.0.0.1:port", 1).unwrap_err().message().starts_with("bind is \"127.0.0.1:port\""));
    }
}
