//! Listeners: the network, with TLS, and the command line's socket.

use super::{local_of, of, tidy, Peer, Shared};
use crate::app::App;
use crate::config::Tls;
use crate::error::{Error, Result};
use axum::body::Body;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{select_next_proto, AlpnError, Ssl, SslAcceptor, SslMethod, SslVersion};
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_openssl::SslStream;
use tower::ServiceExt;

/// Connections at once; more wait in the kernel.
const CONNECTIONS: usize = 1024;
/// In so long a connection's TLS is agreed on, and the head of each request has come.
const PATIENCE: Duration = Duration::from_secs(15);
/// A peer that takes no byte for so long is gone.
const STALLED: Duration = Duration::from_secs(30);
/// When stopping, requests under way have so long.
const LAST_REQUESTS: Duration = Duration::from_secs(10);
/// The certificate's files are looked at as often, when somebody connects.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a request's head.
const LONGEST_HEAD: usize = 64 * 1024;

/// Listeners that nobody serves yet: whoever connects waits.
pub struct Server {
    network: TcpListener,
    certificate: Option<Certificate>,
    local: LocalSocket,
}

impl Server {
    /// Takes the configured address and socket, and reads the certificate.
    ///
    /// # Errors
    /// `Conflict` if address or socket is in use, `Invalid` if the certificate cannot be used, `Unavailable` otherwise.
    pub async fn bind(app: &App) -> Result<Server> {
        let config = app.config();
        let certificate = config.tls.clone().map(Certificate::read).transpose()?;
        let network = TcpListener::bind(&config.listen).await.map_err(|error| {
            let text = format!("listen: {}: {error}", config.listen);
            match error.kind() {
                std::io::ErrorKind::AddrInUse => Error::conflict(text),
                _ => Error::unavailable(text),
            }
        })?;
        let local = LocalSocket::bind(&config.control_socket).await?;
        Ok(Server { network, certificate, local })
    }

    /// Serves until `stop` is true, then finishes what has begun.
    ///
    /// # Errors
    /// None at present: what a connection meets is its own trouble.
    pub async fn run(self, app: App, mut stop: watch::Receiver<bool>) -> Result<()> {
        let shared = Shared::new(app.clone());
        let (network, local) = (of(&shared), local_of(&shared));
        let certificate = self.certificate.map(Arc::new);
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        connections.spawn(tidy(app));
        loop {
            tokio::select! {
                accepted = accept(&self.network, &room) => {
                    let (stream, peer, place) = accepted;
                    let (router, certificate, watcher) = (network.clone(), certificate.clone(), graceful.watcher());
                    connections.spawn(async move {
                        from_network(stream, peer, certificate.as_deref(), router, watcher).await;
                        drop(place);
                    });
                }
                accepted = self.local.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (router, watcher) = (local.clone(), graceful.watcher());
                        connections.spawn(http(stream, Peer::Local, false, router, watcher));
                    }
                    Err(error) => pause("control_socket", &error).await,
                },
                _ = connections.join_next() => {}
                () = stopped(&mut stop) => break,
            }
        }
        drop((self.network, self.local));
        if tokio::time::timeout(LAST_REQUESTS, graceful.shutdown()).await.is_err() {
            crate::log::warning(format!(
                "requests still under way {} s after the stop were broken off",
                LAST_REQUESTS.as_secs()
            ));
        }
        Ok(())
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, Peer, Option<OwnedSemaphorePermit>) {
    // Nobody closes the semaphore.
    let place = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, Peer::Network(address), place),
            Err(error) => pause("listen", &error).await,
        }
    }
}

/// A connection that broke before it was accepted is nobody's trouble; of file handles there may be more in a moment.
async fn pause(what: &str, error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    crate::log::warning(format!("{what}: cannot accept a connection: {error}"));
    tokio::time::sleep(Duration::from_millis(200)).await;
}

async fn from_network(
    stream: TcpStream,
    peer: Peer,
    certificate: Option<&Certificate>,
    router: Router,
    watcher: Watcher,
) {
    let stalled = u32::try_from(STALLED.as_millis()).unwrap_or(u32::MAX);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, stalled);
    let _ = stream.set_nodelay(true);
    let Some(certificate) = certificate else {
        return http(stream, peer, false, router, watcher).await;
    };
    let Ok(mut stream) = Ssl::new(certificate.acceptor().context()).and_then(|ssl| SslStream::new(ssl, stream)) else {
        return;
    };
    match tokio::time::timeout(PATIENCE, Pin::new(&mut stream).accept()).await {
        Ok(Ok(())) => {
            let is_http2 = stream.ssl().selected_alpn_protocol() == Some(b"h2");
            http(stream, peer, is_http2, router, watcher).await;
        }
        // Scanners and those who do not trust the certificate: nothing that an operator could mend here.
        _ => drop(stream),
    }
}

async fn http<S>(stream: S, peer: Peer, is_http2: bool, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(LONGEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(STALLED)
        .keep_alive_timeout(STALLED)
        .max_concurrent_streams(64)
        .max_header_list_size(u32::try_from(LONGEST_HEAD).unwrap_or(u32::MAX));
    // What breaks a connection is the other side's doing, or shows there.
    let _ = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned()).await;
}

/// The listener's certificate, which is read again when its files change.
struct Certificate {
    files: Tls,
    read: Mutex<Loaded>,
}

struct Loaded {
    acceptor: SslAcceptor,
    /// The state of the files that was tried last, successfully or not.
    tried: Option<[Stamp; 2]>,
    looked: Instant,
}

/// What changes when a file is written or replaced.
type Stamp = (u64, u64, i64, i64);

impl Certificate {
    fn read(files: Tls) -> Result<Certificate> {
        // Before the reading: a change in between is seen as one.
        let tried = stamps(&files);
        let acceptor = acceptor(&files)?;
        Ok(Certificate { files, read: Mutex::new(Loaded { acceptor, tried, looked: Instant::now() }) })
    }

    /// The certificate as it is now, or as it was before something unusable was put in its place.
    fn acceptor(&self) -> SslAcceptor {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.looked.elapsed() >= LOOK {
            read.looked = Instant::now();
            let found = stamps(&self.files);
            if found != read.tried {
                read.tried = found;
                match acceptor(&self.files) {
                    Ok(acceptor) => {
                        read.acceptor = acceptor;
                        crate::log::notice("tls: the certificate has changed and is in use");
                    }
                    Err(error) => crate::log::error(format!("{error}; the former certificate stays in use")),
                }
            }
        }
        read.acceptor.clone()
    }
}

fn stamps(files: &Tls) -> Option<[Stamp; 2]> {
    let stamp = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    };
    Some([stamp(&files.certificate)?, stamp(&files.key)?])
}

fn acceptor(files: &Tls) -> Result<SslAcceptor> {
    let of = |key: &str, path: &Path, error: &dyn std::fmt::Display| {
        Error::invalid(format!("tls.{key}: {}: {error}", path.display()))
    };
    let failed = |error: ErrorStack| Error::unavailable(format!("tls: {error}"));
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(failed)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(failed)?;
    let pem = std::fs::read(&files.key).map_err(|error| of("key", &files.key, &error))?;
    // Without this callback OpenSSL would ask the terminal for the passphrase of an encrypted key.
    let key = PKey::private_key_from_pem_callback(&pem, |_| Ok(0));
    let key = key.map_err(|_| of("key", &files.key, &"is no unencrypted private key in PEM"))?;
    // Opened first for the reason: OpenSSL's own is about its parser.
    std::fs::File::open(&files.certificate).map_err(|error| of("certificate", &files.certificate, &error))?;
    builder
        .set_certificate_chain_file(&files.certificate)
        .map_err(|_| of("certificate", &files.certificate, &"is no certificate in PEM"))?;
    let matches = builder.set_private_key(&key).and_then(|()| builder.check_private_key());
    matches.map_err(|_| of("key", &files.key, &"is not the key of tls.certificate"))?;
    builder.set_alpn_select_callback(|_, offered| {
        select_next_proto(b"\x02h2\x08http/1.1", offered).ok_or(AlpnError::NOACK)
    });
    Ok(builder.build())
}

/// The command line's socket. Its file goes with it.
struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: what another process has put in its place is not removed.
    file: Option<(u64, u64)>,
}

impl LocalSocket {
    async fn bind(path: &Path) -> Result<LocalSocket> {
        let named = |error: &dyn std::fmt::Display| format!("control_socket: {}: {error}", path.display());
        let failed = |error: std::io::Error| Error::unavailable(named(&error));
        match std::fs::symlink_metadata(path) {
            Ok(there) if !std::os::unix::fs::FileTypeExt::is_socket(&there.file_type()) => {
                return Err(Error::conflict(named(&"is there and is no socket")));
            }
            Ok(_) if tokio::net::UnixStream::connect(path).await.is_ok() => {
                return Err(Error::conflict(named(&"in use by another tel-control")));
            }
            _ => {}
        }
        // Made in a folder that nobody else can enter: between its making and its mode, too, only its owner can connect.
        let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = beside.join(format!(".tel-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let made = || {
            let hidden = folder.join("s");
            let listener = UnixListener::bind(&hidden)?;
            std::fs::set_permissions(&hidden, Permissions::from_mode(0o600))?;
            std::fs::rename(&hidden, path)?;
            Ok(listener)
        };
        let listener = made();
        let _ = std::fs::remove_dir_all(&folder);
        Ok(LocalSocket { listener: listener.map_err(failed)?, path: path.to_owned(), file: identity(path) })
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        if self.file.is_some() && identity(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
