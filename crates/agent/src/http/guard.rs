//! Who may speak: HTTP asks for no token yet, so that only this machine may, and no web page in its browsers.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{HOST, ORIGIN};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Refused;

/// Refuses requests that name another host (a page of a foreign site whose name was pointed at this machine) and
/// requests that a page of another site made: a browser says so in `Origin`.
pub(super) async fn only_this_machine(request: Request, next: Next) -> Response {
    match refusal(&request) {
        Some(refused) => refused.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(request: &Request) -> Option<Refused> {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(origin) = header(ORIGIN).filter(|origin| !is_own_origin(origin)) {
        let sentence = format!("pages of {origin} may not speak to this agent");
        return Some(Refused::new(StatusCode::FORBIDDEN, "foreign_origin", sentence));
    }
    // Without a host it is no browser.
    let host = header(HOST).filter(|host| !is_this_machine(host))?;
    let sentence = format!("this agent is not {host}; name it localhost or by its loopback address");
    Some(Refused::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", sentence))
}

fn is_own_origin(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, host)| is_this_machine(host))
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_refused_and_those_of_this_machine_are_not() {
        for origin in ["http://127.0.0.1:4748", "http://localhost:4748", "http://[::1]:4748"] {
            assert!(is_own_origin(origin), "{origin}");
        }
        for origin in ["http://evil.example", "https://127.0.0.1.evil.example", "null", ""] {
            assert!(!is_own_origin(origin), "{origin}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in ["127.0.0.1:4748", "localhost", "LOCALHOST:1", "[::1]:4748", "[::1]", "127.9.9.9"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["example.org", "example.org:4748", "10.0.0.1:4748", "localhost.example.org", ""] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
