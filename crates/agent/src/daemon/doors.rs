//! Where an agent is reached over HTTP: opened before the node starts, so that a taken port stops it before it speaks.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Agent;
use crate::failure::Failure;
use crate::http::{self, Guard, Listener, Tls};
use crate::settings::Settings;
use crate::token::Token;

/// The places, open.
pub(super) struct Doors {
    http: Listener,
    keys: DoorKeys,
    metrics: Option<Listener>,
    /// Where HTTP is served.
    pub(super) url: String,
    /// Where metrics are served a second time.
    pub(super) metrics_url: Option<String>,
}

/// What opens the door of HTTP: it can be changed while the agent runs.
#[derive(Clone, Debug)]
pub(super) struct DoorKeys {
    guard: Arc<Guard>,
    tls: Option<watch::Sender<Tls>>,
}

/// What the settings name, read from its files.
#[derive(Debug)]
pub(super) struct NewKeys {
    token: Option<Token>,
    tls: Option<Tls>,
}

impl NewKeys {
    pub(super) fn read(settings: &Settings) -> Result<Self, Failure> {
        let token = settings.http_token_file.as_deref().map(|file| Token::read("http_token_file", file)).transpose()?;
        let tls = settings.http_tls.as_ref().map(|(certificates, key)| Tls::read(certificates, key)).transpose()?;
        Ok(Self { token, tls })
    }
}

impl DoorKeys {
    /// Takes these from the next request and the next connection on; the settings that name what is another now.
    pub(super) fn change(&self, NewKeys { token, tls }: NewKeys) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if self.guard.change(token) {
            changed.push("http_token_file");
        }
        // Whether there is TLS at all does not change while the agent runs.
        if let Some((present, tls)) = self.tls.as_ref().zip(tls)
            && !present.borrow().equals(&tls)
        {
            present.send_replace(tls);
            changed.push("http_cert_file");
        }
        changed
    }
}

impl Doors {
    pub(super) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let NewKeys { token, tls } = NewKeys::read(settings)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        if !settings.http.ip().is_loopback() && tls.is_none() {
            tracing::warn!("http_cert_file is none: the token goes over the network for all in between to read");
        }
        let (http, address) = listen("http", settings.http).await?;
        let (metrics, metrics_url) = match settings.metrics {
            Some(wanted) => {
                let (listener, address) = listen("metrics", wanted).await?;
                (Some(Listener::new(listener, None)), Some(format!("http://{address}/metrics")))
            }
            None => (None, None),
        };
        let url = format!("{scheme}://{address}");
        let tls = tls.map(watch::Sender::new);
        let http = Listener::new(http, tls.as_ref().map(watch::Sender::subscribe));
        let keys = DoorKeys { guard: Arc::new(Guard::new(token)), tls };
        Ok(Self { http, keys, metrics, url, metrics_url })
    }

    /// What opens them.
    pub(super) fn keys(&self) -> DoorKeys {
        self.keys.clone()
    }

    /// Serves until the agent ends; what is returned ends when the last answer of HTTP is given.
    pub(super) fn serve(self, agent: &Agent) -> JoinHandle<()> {
        if let Some(metrics) = self.metrics {
            tokio::spawn(http::serve_metrics(agent.clone(), metrics));
        }
        tokio::spawn(http::serve(agent.clone(), self.http, self.keys.guard))
    }
}

async fn listen(field: &str, wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let refused = |error| refused(field, wanted, &error);
    let listener = TcpListener::bind(wanted).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

fn refused(field: &str, address: SocketAddr, error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        return Failure::value(field, address, "an address whose port no other process uses").with_code("in_use");
    }
    Failure::value(field, address, format!("an address of this machine that may be bound ({error})"))
}
