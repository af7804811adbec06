//! The client of an agent's HTTP interface, blocking: each command does one thing and ends.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rumormill_core::duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{self, Method, Request, Response, request};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{AsSendBody, Body, BodyReader, SendBody};

use crate::address::is_this_machine;
use crate::cli::Target;
use crate::documents::Problem;
use crate::failure::{Failure, Kind};
use crate::token::Token;

/// The largest document that is read: ten thousand members and more.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;
/// What an answer may take longer than the agent was told to take, so that the agent's own words come first.
const MARGIN: Duration = Duration::from_millis(500);

/// What names an agent.
const URL: &str = "a URL that begins with http:// or https://";

/// A way to one agent.
#[derive(Debug)]
pub(crate) struct Client {
    base: String,
    timeout: Duration,
    token: Option<Arc<Token>>,
    tls: TlsConfig,
    http: ureq::Agent,
}

impl Client {
    /// No connection is made yet.
    pub(crate) fn new(target: &Target) -> Result<Self, Failure> {
        let Target { agent, timeout, token_file, ca_file } = target;
        let base = agent.trim_end_matches('/').to_owned();
        if ["http://", "https://"].iter().all(|scheme| base.strip_prefix(scheme).is_none_or(str::is_empty)) {
            return Err(Failure::value("agent", agent, URL));
        }
        let token = token_file.as_deref().map(|file| Token::read("token_file", file)).transpose()?.map(Arc::new);
        let tls = tls(ca_file.as_deref(), &base)?;
        let http = http(*timeout, Some(*timeout + MARGIN), &tls);
        Ok(Self { base, timeout: *timeout, token, tls, http })
    }

    /// The same for what takes as long as it takes, once the agent is there.
    pub(crate) fn patient(self) -> Self {
        Self { http: http(self.timeout, None, &self.tls), ..self }
    }

    /// The agent's address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Whether nobody between here and the agent can read what is said: by TLS, or because it never leaves this machine.
    pub(crate) fn is_confidential(&self) -> bool {
        self.base.strip_prefix("http://").is_none_or(|rest| is_this_machine(rest.split('/').next().unwrap_or_default()))
    }

    /// The deadline, as a parameter for what the agent itself waits for.
    pub(crate) fn timeout_parameter(&self) -> String {
        format!("timeout={}", duration::format(self.timeout))
    }

    /// The deadline.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Reads a document.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.document(self.send(Method::GET, path, Vec::new())?)
    }

    /// Sends bytes and reads a document.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T, Failure> {
        self.document(self.send(Method::POST, path, body)?)
    }

    /// Sends bytes in some way and reads a document.
    pub(crate) fn send_bytes<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, Failure> {
        self.document(self.send(method, path, body)?)
    }

    /// Sends what a reader gives, piece by piece, and reads a document.
    pub(crate) fn upload<T: DeserializeOwned>(&self, path: &str, reader: Box<dyn Read>) -> Result<T, Failure> {
        let request = self.request(Method::POST, path).body(SendBody::from_owned_reader(reader));
        self.document(self.run(request, false)?)
    }

    /// Begins to read something in one of the forms that the agent offers, of any length.
    pub(crate) fn read(&self, path: &str, form: &str) -> Result<BodyReader<'static>, Failure> {
        let request = self.request(Method::GET, path).header("accept", form).body(());
        Ok(self.run(request, true)?.into_body().into_reader())
    }

    /// Sends a document, or nothing, and reads one.
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        document: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        let body = match document {
            Some(document) => serde_json::to_vec(document).map_err(|error| self.nonsense(&error.to_string()))?,
            None => Vec::new(),
        };
        self.document(self.send(method, path, body)?)
    }

    /// Opens a stream of server-sent events. It has no deadline once the agent has begun to answer.
    pub(crate) fn stream(&self, method: Method, path: &str, body: Vec<u8>) -> Result<ServerEvents, Failure> {
        let response = self.send(method, path, body)?;
        Ok(ServerEvents { agent: self.base.clone(), lines: BufReader::new(response.into_body().into_reader()) })
    }

    fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response<Body>, Failure> {
        let is_read = method == Method::GET;
        let content_type = if body.starts_with(b"{") { "application/json" } else { "application/octet-stream" };
        self.run(self.request(method, path).header("content-type", content_type).body(body), is_read)
    }

    fn request(&self, method: Method, path: &str) -> request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.header("authorization", token.bearer().as_str()),
            None => request,
        }
    }

    fn run(&self, request: http::Result<Request<impl AsSendBody>>, is_read: bool) -> Result<Response<Body>, Failure> {
        let request = request.map_err(|_| Failure::value("agent", &self.base, URL))?;
        let response = self.http.run(request).map_err(|error| self.unanswered(&error, is_read))?;
        let status = response.status().as_u16();
        if status < 400 {
            return Ok(response);
        }
        let problem = self.document::<Problem>(response);
        Err(problem.map_or_else(|failure| failure, |problem| Failure::from_agent(status, problem)))
    }

    fn document<T: DeserializeOwned>(&self, response: Response<Body>) -> Result<T, Failure> {
        let bytes = response.into_body().into_with_config().limit(DOCUMENT_BYTES_MAX).read_to_vec();
        let bytes = bytes.map_err(|error| self.nonsense(&error.to_string()))?;
        self.understand(&bytes)
    }

    /// A document that the agent sent.
    pub(crate) fn understand<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(bytes).map_err(|error| self.nonsense(&error.to_string()))
    }

    /// The agent ended in the middle of an answer.
    pub(crate) fn gone(&self, error: &io::Error) -> Failure {
        gone(&self.base, error)
    }

    fn unanswered(&self, error: &ureq::Error, is_read: bool) -> Failure {
        if matches!(error, ureq::Error::BadUri(_)) {
            return Failure::value("agent", &self.base, URL);
        }
        let Some(reason) = self.unreachable(error) else { return self.cut_short(error, is_read) };
        let sentence = format!(
            "no agent answers at {} ({reason}). Start one with `rumor dev` or `rumor agent`, or name one with --agent or \
             RUMOR_AGENT.",
            self.base
        );
        Failure::new(Kind::NotAnswered, "no_agent", sentence)
    }

    /// Why there was no connection, or `None` if there was one.
    fn unreachable(&self, error: &ureq::Error) -> Option<String> {
        if let ureq::Error::Io(error) = error
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            return Some("connection refused".to_owned());
        }
        if matches!(error, ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)) {
            return Some(format!("nothing for {}", duration::format(self.timeout)));
        }
        if matches!(error, ureq::Error::HostNotFound) {
            return Some("no such host".to_owned());
        }
        matches!(error, ureq::Error::ConnectionFailed).then(|| "no connection".to_owned())
    }

    /// An agent was there, but its answer did not come: a request that changes something may have been carried out.
    fn cut_short(&self, error: &ureq::Error, is_read: bool) -> Failure {
        let sentence = format!("the agent at {} did not answer ({error})", self.base);
        if is_read {
            return Failure::new(Kind::NotAnswered, "not_answered", sentence);
        }
        Failure::deadline(format!("{sentence}; whether it was done is not known"))
    }

    fn nonsense(&self, reason: &str) -> Failure {
        let sentence = format!("what answers at {} does not talk like an agent ({reason})", self.base);
        Failure::new(Kind::NotAnswered, "not_an_agent", sentence)
    }
}

/// How the agent at a URL shows that it is who it says: by a certificate that one of those in `ca_file` vouches for.
fn tls(ca_file: Option<&Path>, url: &str) -> Result<TlsConfig, Failure> {
    let Some(file) = ca_file else {
        if url.starts_with("https://") {
            return Err(Failure::value("ca_file", "none", format!("given where the agent is {url}: --ca-file")));
        }
        return Ok(TlsConfig::default());
    };
    let refused = |reason: &str| Failure::value("ca_file", file.display(), format!("certificates as PEM ({reason})"));
    let text = std::fs::read(file).map_err(|error| refused(&error.to_string()))?;
    let found = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| refused(&error.to_string()))?;
    if found.is_empty() {
        return Err(refused("there is none"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&found));
    Ok(config.unversioned_rustls_crypto_provider(provider).build())
}

fn http(connect: Duration, response: Option<Duration>, tls: &TlsConfig) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .tls_config(tls.clone())
        .http_status_as_error(false)
        .proxy(None)
        .timeout_connect(Some(connect))
        .timeout_recv_response(response)
        .build();
    ureq::Agent::new_with_config(config)
}

/// A stream of server-sent events.
pub(crate) struct ServerEvents {
    agent: String,
    lines: BufReader<BodyReader<'static>>,
}

/// One of them.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct ServerEvent {
    /// Empty for documents; what is named is about the stream itself.
    pub(crate) name: String,
    pub(crate) data: String,
}

impl ServerEvent {
    /// The document in it.
    pub(crate) fn document<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.data).map_err(|error| {
            let sentence = format!("the agent sent a line that this program does not understand ({error})");
            Failure::new(Kind::NotAnswered, "not_an_agent", sentence)
        })
    }
}

/// What comes on a stream.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    Event(ServerEvent),
    /// Nothing, for a while: a comment that keeps the connection open.
    Pause,
}

impl ServerEvents {
    /// The next one, or `None` where the agent ended the stream.
    pub(crate) fn next(&mut self) -> Result<Option<ServerEvent>, Failure> {
        loop {
            match self.next_or_pause()? {
                Some(Heard::Event(event)) => return Ok(Some(event)),
                Some(Heard::Pause) => {}
                None => return Ok(None),
            }
        }
    }

    /// The same for whoever wants to look up now and then: after seconds in which nothing came.
    pub(crate) fn next_or_pause(&mut self) -> Result<Option<Heard>, Failure> {
        read_event(&mut self.lines).map_err(|error| gone(&self.agent, &error))
    }
}

fn gone(agent: &str, error: &io::Error) -> Failure {
    Failure::new(Kind::NotAnswered, "gone", format!("the agent at {agent} is gone ({error})"))
}

fn read_event(lines: &mut impl BufRead) -> io::Result<Option<Heard>> {
    let mut event = ServerEvent::default();
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end_matches(['\r', '\n']).split_once(':') {
            Some(("event", name)) => name.trim_start().clone_into(&mut event.name),
            Some(("data", data)) => event.data.push_str(data.strip_prefix(' ').unwrap_or(data)),
            Some(("", _)) if event == ServerEvent::default() => return Ok(Some(Heard::Pause)),
            // Other fields are for browsers.
            Some(_) => {}
            None if event == ServerEvent::default() => {}
            None => return Ok(Some(Heard::Event(event))),
        }
    }
}

/// All of standard input, as bytes.
pub(crate) fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::value("stdin", "-", format!("readable ({error})")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_sent_events_are_read_past_comments_and_blank_lines() {
        let mut text: &[u8] = b": hello\n\nevent: subscribed\ndata: {}\n\ndata: {\"a\":1}\r\n\r\n";
        let event = |name: &str, data: &str| ServerEvent { name: name.to_owned(), data: data.to_owned() };
        assert_eq!(read_event(&mut text).unwrap(), Some(Heard::Pause));
        assert_eq!(read_event(&mut text).unwrap(), Some(Heard::Event(event("subscribed", "{}"))));
        assert_eq!(read_event(&mut text).unwrap(), Some(Heard::Event(event("", "{\"a\":1}"))));
        assert_eq!(read_event(&mut text).unwrap(), None);
    }
}
