//! The doors of HTTP: who knocks is let in, up to a cap, with or without TLS, and is sent away when it keeps still.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rumormill::private_file;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Connections at one time; beyond it whoever comes is sent away. Guess: some consoles, many scripts.
const CONNECTIONS_MAX: usize = 512;
/// How long a handshake or the head of a request may take, also from one request to the next.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The head of a request is no longer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long a client may leave unanswered what was sent to it, before the system closes the connection; and how long it may be
/// silent before the system asks whether it is there.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// How long to wait where the system has no more room for connections.
const BREATH: Duration = Duration::from_millis(100);

/// A place where HTTP is served.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Option<watch::Receiver<Tls>>,
}

/// What TLS takes.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<rustls::ServerConfig>,
    certificates: Vec<u8>,
    key: Arc<Zeroizing<String>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Listener {
    /// Listens there, with TLS if it has what that takes.
    pub(crate) const fn new(tcp: TcpListener, tls: Option<watch::Receiver<Tls>>) -> Self {
        Self { tcp, tls }
    }

    /// Serves until `ending` turns true, and then what was begun.
    pub(crate) async fn serve(self, router: Router, mut ending: watch::Receiver<bool>) {
        let (room, graceful) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), GracefulShutdown::new());
        loop {
            let stream = tokio::select! {
                () = ended(&mut ending) => break,
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!("a connection was not taken: {error}");
                        sleep(BREATH).await;
                        continue;
                    }
                },
            };
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                tracing::warn!("a client was sent away: {CONNECTIONS_MAX} connections are open");
                continue;
            };
            watch_silence(&stream);
            let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow().config)));
            let (router, watcher) = (router.clone(), graceful.watcher());
            tokio::spawn(async move {
                match tls {
                    None => converse(stream, router, watcher).await,
                    Some(tls) => match timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => converse(stream, router, watcher).await,
                        Ok(Err(error)) => tracing::debug!("a client speaks no TLS: {error}"),
                        Err(_) => tracing::debug!("a client was silent before TLS was agreed on"),
                    },
                }
                drop(place);
            });
        }
        graceful.shutdown().await;
    }
}

async fn ended(ending: &mut watch::Receiver<bool>) {
    // An error says that the agent is gone already.
    ending.wait_for(|is_ending| *is_ending).await.ok();
}

/// Answers the requests of one connection.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router, watcher: Watcher) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Has the system end connections whose other end is gone, or takes nothing.
fn watch_silence(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let result = stream
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE_MAX)))
        .and_then(|()| socket.set_tcp_user_timeout(Some(SILENCE_MAX)));
    if let Err(error) = result {
        tracing::debug!("a connection has the system's own time-outs: {error}");
    }
}

impl Tls {
    /// Reads a chain of certificates and the private key of the first, as PEM files.
    pub(crate) fn read(certificates: &Path, key: &Path) -> Result<Self, Failure> {
        let refused = |field: &str, path: &Path, rule: &str, reason: &str| {
            Failure::value(field, path.display(), format!("{rule} ({reason})"))
        };
        let bad_chain = |reason: &str| refused("http_cert_file", certificates, "certificates as PEM", reason);
        let text = fs::read(certificates).map_err(|error| bad_chain(&error.to_string()))?;
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| bad_chain(&error.to_string()))?;
        let secret =
            private_file::read(key).map_err(|error| Failure::value("http_key_file", key.display(), error.rule()))?;
        let private = PrivateKeyDer::from_pem_slice(secret.as_bytes())
            .map_err(|error| refused("http_key_file", key, "a private key as PEM", &error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|error| {
                refused("http_cert_file", certificates, "certificates that fit http_key_file", &error.to_string())
            })?;
        Ok(Self { config: Arc::new(config), certificates: text, key: Arc::new(secret) })
    }

    /// Whether it was read from files that said the same.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.certificates == other.certificates && self.key == other.key
    }
}
