//! Who may speak. Without a token only this machine may, and no web page in its browsers but the agent's own; with one,
//! whoever knows it.

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::console;
use super::problem::Refused;
use crate::address::is_this_machine;
use crate::token::Token;

/// Whose page a browser says made a request; scripts cannot change it (Fetch Metadata, W3C). Requests that only read have no `Origin`.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FOREIGN_SITES: [&str; 2] = ["cross-site", "same-site"];

/// Asked by supervisors of containers, which know no token; a word is all that they tell.
const OPEN_TO_ALL: [&str; 2] = ["/health", "/ready"];

/// Who may speak to this agent.
#[derive(Debug)]
pub(crate) struct Guard {
    token: RwLock<Option<Token>>,
}

impl Guard {
    /// Whoever knows that token; without one, this machine.
    pub(crate) const fn new(token: Option<Token>) -> Self {
        Self { token: RwLock::new(token) }
    }

    /// From the next request on, whoever knows that token; without one, this machine. Whether that is a change.
    pub(crate) fn change(&self, token: Option<Token>) -> bool {
        let mut present = self.token.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = match (&*present, &token) {
            (Some(present), Some(token)) => present.equals(token),
            (present, token) => present.is_none() && token.is_none(),
        };
        *present = token;
        !is_same
    }

    fn refusal(&self, request: &Request) -> Option<Refused> {
        if OPEN_TO_ALL.contains(&request.uri().path()) {
            return None;
        }
        let host = text(request, HOST);
        // A browser says in `Origin` whose page made the request.
        if let Some(origin) = text(request, ORIGIN).filter(|origin| !is_own_origin(origin, host)) {
            let sentence = format!("pages of {origin} may not speak to this agent");
            return Some(Refused::new(StatusCode::FORBIDDEN, "foreign_origin", sentence));
        }
        // A link to the console may stand anywhere.
        let is_foreign = text(request, FETCH_SITE).is_some_and(|site| FOREIGN_SITES.contains(&site));
        if is_foreign && !console::is_page(request.uri().path()) {
            let sentence = "pages of other origins may not speak to this agent";
            return Some(Refused::new(StatusCode::FORBIDDEN, "foreign_origin", sentence));
        }
        if let Some(token) = &*self.token.read().unwrap_or_else(PoisonError::into_inner) {
            // Who opens a page in a browser cannot send a header with that; the page asks for the token.
            if console::is_page(request.uri().path()) {
                return None;
            }
            let given = text(request, AUTHORIZATION).and_then(|header| header.strip_prefix("Bearer "));
            let sentence = "this agent asks for a token: `--token-file`, or a header `Authorization: Bearer TOKEN`";
            let is_known = given.is_some_and(|given| token.is(given.trim()));
            return (!is_known).then(|| Refused::new(StatusCode::UNAUTHORIZED, "token", sentence));
        }
        // A page of a foreign site whose name was pointed at this machine names that site. Without a host it is no browser.
        let host = host.filter(|host| !is_this_machine(host))?;
        let sentence = format!("this agent is not {host}; name it localhost or by its loopback address");
        Some(Refused::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", sentence))
    }
}

/// Lets pass who may speak.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let Some(refused) = guard.refusal(&request) else { return next.run(request).await };
    let mut response = refused.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// What a header says; empty if it is no text.
fn text(request: &Request, name: HeaderName) -> Option<&str> {
    request.headers().get(name).map(|value| value.to_str().unwrap_or_default())
}

fn is_own_origin(origin: &str, host: Option<&str>) -> bool {
    let of_origin = origin.split_once("://").map(|(_, host)| host);
    of_origin.zip(host).is_some_and(|(of_origin, host)| of_origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn is_refused(path: &str, headers: &[(HeaderName, &str)]) -> bool {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        Guard::new(None).refusal(&request.body(Body::empty()).unwrap()).is_some()
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_the_own_one_is_not() {
        for host in ["127.0.0.1:4748", "localhost:4748", "[::1]:4748"] {
            assert!(!is_refused("/v1/info", &[(HOST, host), (ORIGIN, &format!("http://{host}"))]), "{host}");
        }
        let evil =
            ["http://evil.example", "https://127.0.0.1.evil.example", "http://localhost:3000", "null", "", "\u{e9}"];
        for origin in evil {
            assert!(is_refused("/v1/info", &[(HOST, "localhost:4748"), (ORIGIN, origin)]), "{origin}");
        }
        let own = [(HOST, "evil.example:4748"), (ORIGIN, "http://evil.example:4748")];
        assert!(is_refused("/v1/info", &own), "its name was pointed at this machine");
    }

    #[test]
    fn pages_of_other_sites_are_refused_also_where_the_browser_names_no_origin() {
        for (site, is_foreign) in [("cross-site", true), ("same-site", true), ("same-origin", false), ("none", false)] {
            let headers = [(HOST, "localhost:4748"), (FETCH_SITE, site)];
            for path in ["/v1/queries/deploy/questions", "/v1/info", "/metrics"] {
                assert_eq!(is_refused(path, &headers), is_foreign, "{site} {path}");
            }
            assert!(!is_refused("/", &headers), "a link to the console from {site}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in ["127.0.0.1:4748", "localhost", "LOCALHOST:1", "[::1]:4748", "[::1]", "127.9.9.9"] {
            assert!(!is_refused("/v1/info", &[(HOST, host)]), "{host}");
        }
        for host in ["example.org", "example.org:4748", "10.0.0.1:4748", "localhost.example.org", ""] {
            assert!(is_refused("/v1/info", &[(HOST, host)]), "{host}");
            assert!(is_refused("/", &[(HOST, host)]), "{host}");
            assert!(!is_refused("/health", &[(HOST, host)]), "{host}");
        }
    }
}
