//! The server itself: TLS, the command line's socket, the way it starts and stops.

use crate::app::Control;
use axum::body::Body;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509Name, X509};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tel_control::error::Kind;
use tel_control::http::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;

/// A running server.
struct Running {
    control: Control,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    done: JoinHandle<tel_control::error::Result<()>>,
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn started(more: &str, before: impl FnOnce(&Path)) -> Running {
    let address = free_address();
    let control = Control::with(&format!(r#", "listen": "{address}"{more}"#)).await;
    before(&control.folder.0);
    let (stop, stopped) = watch::channel(false);
    let server = Server::bind(&control.app).await.unwrap();
    let done = tokio::spawn(server.run(control.app.clone(), stopped));
    Running { control, address, stop, done }
}

/// Writes a certificate for 127.0.0.1, signed by itself, and its key.
fn certificate(folder: &Path, name: &str) -> X509 {
    let key = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let key = PKey::from_ec_key(key).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(64, openssl::bn::MsbOption::ONE, false).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder.set_pubkey(&key).unwrap();
    let names = SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let made = builder.build();
    for (file, bytes) in [("tls.pem", made.to_pem().unwrap()), ("tls.key", key.private_key_to_pem_pkcs8().unwrap())] {
        std::fs::write(folder.join("new"), bytes).unwrap();
        std::fs::rename(folder.join("new"), folder.join(file)).unwrap();
    }
    made
}

async fn connected(
    address: SocketAddr,
    trusted: &X509,
    protocols: &[u8],
    most: Option<SslVersion>,
) -> Result<SslStream<TcpStream>, String> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.cert_store_mut().add_cert(trusted.clone()).unwrap();
    connector.set_alpn_protos(protocols).unwrap();
    connector.set_max_proto_version(most).unwrap();
    connector.set_security_level(0);
    let ssl = connector.build().configure().unwrap().into_ssl("127.0.0.1").unwrap();
    let mut stream = SslStream::new(ssl, TcpStream::connect(address).await.unwrap()).unwrap();
    Pin::new(&mut stream).connect().await.map_err(|error| error.to_string())?;
    Ok(stream)
}

async fn asked<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const TLS: &str = r#", "tls": {"certificate": "tls.pem", "key": "tls.key"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_serves_both_versions_of_http_and_takes_a_renewed_certificate() {
    let mut first = None;
    let running = started(TLS, |folder| first = Some(certificate(folder, "first"))).await;
    let (first, folder) = (first.unwrap(), running.control.folder.0.clone());

    let stream = connected(running.address, &first, b"\x08http/1.1", None).await.unwrap();
    let answer = asked(stream, HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("strict-transport-security"), "{answer}");
    let old = connected(running.address, &first, b"\x08http/1.1", Some(SslVersion::TLS1_1)).await;
    assert!(old.is_err(), "TLS 1.1 is not taken");

    let stream = connected(running.address, &first, b"\x02h2", None).await.unwrap();
    assert_eq!(stream.ssl().selected_alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = axum::http::Request::get(format!("https://{}/api/v1/status", running.address))
        .header("authorization", format!("Bearer {}", running.control.operator))
        .body(Body::empty())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.unwrap().to_bytes().starts_with(b"{"));
    drop(sender);

    // Something unusable changes nothing; a renewed certificate is taken without a restart.
    std::fs::write(folder.join("tls.pem"), "half a file").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(connected(running.address, &first, b"\x08http/1.1", None).await.is_ok());
    let second = certificate(&folder, "second");
    let until = Instant::now() + Duration::from_secs(20);
    while connected(running.address, &second, b"\x08http/1.1", None).await.is_err() {
        assert!(Instant::now() < until, "the new certificate is not used");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.stop.send(true).unwrap();
    running.done.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_s_socket_is_its_owner_s_alone() {
    let running = started("", |_| {}).await;
    let path = running.control.app.config().control_socket.clone();
    let file = std::fs::metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);

    let body = r#"{"id": "c83"}"#;
    let request = format!(
        "POST /api/v1/clients HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = asked(UnixStream::connect(&path).await.unwrap(), &request).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(running.control.audited("client:c83").await[0].0, "command line");
    let answer = asked(TcpStream::connect(running.address).await.unwrap(), &request).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");

    let error = Server::bind(&running.control.app).await.err().expect("the address is taken");
    assert_eq!(error.kind, Kind::Conflict);
    assert!(error.text.starts_with("listen: "), "{error}");
    running.stop.send(true).unwrap();
    running.done.await.unwrap().unwrap();
    assert!(!path.exists(), "it goes with its server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    let control = Control::with(&format!(r#", "listen": "{}""#, free_address())).await;
    let path = control.app.config().control_socket.clone();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::bind(&control.app).await.unwrap();
    let others =
        Control::with(&format!(r#", "listen": "{}", "control_socket": "{}""#, free_address(), path.display())).await;
    let error = Server::bind(&others.app).await.err().expect("the socket is in use");
    assert!(error.kind == Kind::Conflict && error.text.contains("in use"), "{error}");
    assert!(path.exists());
    drop(server);
    assert!(!path.exists());
    std::fs::write(&path, "somebody's").unwrap();
    let error = Server::bind(&others.app).await.err().expect("a file is no socket");
    assert!(error.text.contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named() {
    let control = Control::with(&format!(r#", "listen": "{}"{TLS}"#, free_address())).await;
    let folder = control.folder.0.clone();
    let error = |text: &'static str| {
        let control = &control;
        async move {
            let error = Server::bind(&control.app).await.err().expect("no server");
            assert!(error.kind == Kind::Invalid && error.text.contains(text), "{error}");
        }
    };
    error("tls.key: ").await;
    certificate(&folder, "first");
    let key = std::fs::read(folder.join("tls.key")).unwrap();
    certificate(&folder, "second");
    std::fs::write(folder.join("tls.key"), key).unwrap();
    error("is not the key of tls.certificate").await;
    std::fs::write(folder.join("tls.pem"), "x").unwrap();
    error("tls.certificate: ").await;
    let key =
        PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap()).unwrap();
    let encrypted = key.private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_256_cbc(), b"secret").unwrap();
    std::fs::write(folder.join("tls.key"), encrypted).unwrap();
    error("no unencrypted private key").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_what_has_begun_and_slow_clients_hold_up_nothing() {
    let running = started("", |_| {}).await;
    // Half a request: it is not waited for longer than the stop's own bound.
    let mut half = TcpStream::connect(running.address).await.unwrap();
    half.write_all(b"POST /api/v1/clients HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    let idle = TcpStream::connect(running.address).await.unwrap();
    let answer = asked(TcpStream::connect(running.address).await.unwrap(), HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.stop.send(true).unwrap();
    running.done.await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens");
    drop((half, idle));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_done_although_its_asker_is_gone() {
    let running = started("", |_| {}).await;
    running
        .control
        .ask(axum::http::Method::POST, "/api/v1/clients", Some(serde_json::json!({"id": "c83"})))
        .await
        .is(201);
    let request = format!(
        "POST /api/v1/clients/c83/credentials HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: k\r\ncontent-length: 0\r\n\r\n",
        running.control.operator
    );
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = running.control.app.store().clone();
    let id = tel_control::names::ClientId::new("c83").unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    // Gone as soon as it has begun.
    while head.credentials(&id).await.unwrap().is_empty() {
        assert!(Instant::now() < until, "it has not begun");
    }
    drop(stream);
    while head.credentials(&id).await.unwrap()[0].fingerprint.is_none() {
        assert!(Instant::now() < until, "it is not done");
    }
    running.stop.send(true).unwrap();
    running.done.await.unwrap().unwrap();
}
