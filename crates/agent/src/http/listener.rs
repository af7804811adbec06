//! The doors of HTTP: who knocks is let in, up to a cap, with or without TLS, and is sent away when it keeps still.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rumormill::private_file;
use rumormill_core::limits::Limits;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Connections at one time; beyond it whoever comes is sent away. Guess: some consoles, many scripts.
const CONNECTIONS_MAX: usize = 512;
/// Of these from one address of another machine, so that no stranger keeps out the supervisor and the scraper. Guess.
const CONNECTIONS_OF_ONE_MAX: usize = 64;
/// How often, at most, the log says that clients were sent away.
const SAID_EVERY: Duration = Duration::from_mins(1);
/// How long a handshake or the head of a request may take, also from one request to the next.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The head of a request is no longer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long a client may leave unanswered what was sent to it, before the system closes the connection; and how long it may be
/// silent before the system asks whether it is there.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// How long to wait where the system has no more room for connections.
const BREATH: Duration = Duration::from_millis(100);

/// The connections that one place serves at a time, by where they come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Room(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// The place of a connection in a room; free again when it is dropped.
struct Place {
    room: Room,
    from: IpAddr,
}

impl Room {
    /// What is bounded here, under the name of the place.
    pub(super) fn limits(&self, place: &'static str, to: &mut Limits) {
        to.entries(place, self.taken().values().sum(), CONNECTIONS_MAX);
    }

    /// A place, unless all are taken, or all that one address may have.
    fn enter(&self, from: IpAddr) -> Option<Place> {
        let mut taken = self.taken();
        let of_one = if from.is_loopback() { CONNECTIONS_MAX } else { CONNECTIONS_OF_ONE_MAX };
        let is_full = taken.values().sum::<usize>() >= CONNECTIONS_MAX;
        if is_full || taken.get(&from).is_some_and(|count| *count >= of_one) {
            return None;
        }
        *taken.entry(from).or_default() += 1;
        Some(Place { room: self.clone(), from })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        if let Some(count) = taken.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.from);
            }
        }
    }
}

/// Clients that were sent away since the log last said so.
#[derive(Debug, Default)]
struct SentAway {
    count: u64,
    said: Option<Instant>,
}

impl SentAway {
    /// One more; the log, which has its bounds, is not theirs to fill.
    fn note(&mut self, from: IpAddr) {
        self.count += 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            let Self { count, .. } = std::mem::take(self);
            tracing::warn!(
                "{count} clients were sent away, the last from {from}: at most {CONNECTIONS_MAX} connections are open, \
                 {CONNECTIONS_OF_ONE_MAX} of one other machine"
            );
            self.said = Some(Instant::now());
        }
    }
}

/// Whether nobody between the client and this agent can read what they say: it is on this machine, or speaks TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confidential(pub(super) bool);

impl Confidential {
    const fn of(from: IpAddr, is_tls: bool) -> Self {
        Self(is_tls || from.is_loopback())
    }
}

/// A place where HTTP is served.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Option<watch::Receiver<Tls>>,
    silence_max: Duration,
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
        Self { tcp, tls, silence_max: SILENCE_MAX }
    }

    /// Serves until `ending` turns true, and then what was begun.
    pub(super) async fn serve(self, router: Router, room: Room, mut ending: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let mut sent_away = SentAway::default();
        loop {
            let (stream, from) = tokio::select! {
                () = ended(&mut ending) => break,
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, from)) => (stream, from.ip().to_canonical()),
                    Err(error) => {
                        tracing::warn!("a connection was not taken: {error}");
                        sleep(BREATH).await;
                        continue;
                    }
                },
            };
            let Some(place) = room.enter(from) else {
                sent_away.note(from);
                continue;
            };
            watch_silence(&stream, self.silence_max);
            let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow().config)));
            let confidential = Confidential::of(from, tls.is_some());
            let (service, watcher) = (Service { router: router.clone(), confidential }, graceful.watcher());
            tokio::spawn(async move {
                match tls {
                    None => converse(stream, service, watcher).await,
                    Some(tls) => match timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => converse(stream, service, watcher).await,
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

/// What answers the requests of one connection.
struct Service {
    router: Router,
    confidential: Confidential,
}

/// Answers the requests of one connection.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: Service, watcher: Watcher) {
    let Service { router, confidential } = service;
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(confidential);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Has the system end connections whose other end is gone, or takes nothing.
fn watch_silence(stream: &TcpStream, silence_max: Duration) {
    let socket = SockRef::from(stream);
    let result = stream
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(silence_max)))
        .and_then(|()| socket.set_tcp_user_timeout(Some(silence_max)));
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

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use axum::body::Body;
    use axum::routing::get;
    use futures_util::stream::unfold;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::oneshot;

    use super::*;

    /// A client that these routes are served to, until it closes.
    pub(in super::super) fn served(router: Router) -> DuplexStream {
        served_from(IpAddr::from([127, 0, 0, 1]), false, router)
    }

    /// The same for a client from there.
    pub(in super::super) fn served_from(from: IpAddr, is_tls: bool, router: Router) -> DuplexStream {
        let (client, server) = duplex(1 << 16);
        let service = Service { router, confidential: Confidential::of(from, is_tls) };
        tokio::spawn(async move {
            let not_yet = GracefulShutdown::new();
            converse(server, service, not_yet.watcher()).await;
        });
        client
    }

    /// Serves these routes on a port of the system's choice, and says where, and who has room there.
    async fn listen(
        tls: Option<watch::Receiver<Tls>>,
        silence_max: Duration,
        router: Router,
    ) -> (std::net::SocketAddr, Room, watch::Sender<bool>) {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, room) = (tcp.local_addr().unwrap(), Room::default());
        let (end, ending) = watch::channel(false);
        let listener = Listener { silence_max, ..Listener::new(tcp, tls) };
        tokio::spawn(listener.serve(router, room.clone(), ending));
        (address, room, end)
    }

    fn private(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        file
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn who_connects_and_does_not_begin_tls_is_sent_away() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (chain, key) = (private(&made.cert.pem()), private(&made.signing_key.serialize_pem()));
        let (_read_again, tls) = watch::channel(Tls::read(chain.path(), key.path()).unwrap());
        let (address, room, _end) = listen(Some(tls), SILENCE_MAX, Router::new()).await;
        let begun = tokio::time::Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut said = Vec::new();
        let closed = timeout(2 * HEAD_TIMEOUT, silent.read_to_end(&mut said)).await.expect("it is closed");
        assert!(closed.is_ok() && said.is_empty(), "{closed:?} {said:?}");
        assert!(begun.elapsed() >= HEAD_TIMEOUT, "{:?}", begun.elapsed());
        assert!(room.taken().is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_client_that_does_not_read_what_is_sent_to_it_loses_its_place() {
        let (answered, gone) = oneshot::channel::<()>();
        let once = Arc::new(Mutex::new(Some(answered)));
        // As a stream of events is, with more to say than all buffers on the way hold.
        let endless = get(move || {
            let answered = once.lock().unwrap().take();
            let lines = unfold(answered, |kept| async { Some((Ok::<_, fmt::Error>(vec![b'x'; 1 << 16]), kept)) });
            std::future::ready(Body::from_stream(lines))
        });
        // The shortest that the system takes.
        let silence_max = Duration::from_secs(1);
        let (address, room, _end) = listen(None, silence_max, Router::new().route("/", endless)).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let closed = timeout(SILENCE_MAX / 2, gone).await.expect("nobody is waited for that long");
        assert!(closed.is_err(), "the answer was dropped, not ended");
        tokio::task::yield_now().await;
        assert!(room.taken().is_empty());
    }

    #[test]
    fn no_other_machine_takes_all_places_and_a_place_is_free_again() {
        let room = Room::default();
        let [stranger, supervisor]: [IpAddr; 2] = [[10, 0, 0, 9].into(), [10, 0, 0, 1].into()];
        let mut places: Vec<Place> = (0..CONNECTIONS_OF_ONE_MAX).map(|_| room.enter(stranger).unwrap()).collect();
        assert!(room.enter(stranger).is_none());
        assert!(room.enter(supervisor).is_some());
        places.pop();
        assert!(room.enter(stranger).is_some());
        let local = IpAddr::from([127, 0, 0, 1]);
        places.extend(std::iter::from_fn(|| room.enter(local)));
        assert_eq!(places.len(), CONNECTIONS_MAX);
        assert!(room.enter(supervisor).is_none());
        drop(places);
        assert!(room.taken().is_empty());
    }
}
