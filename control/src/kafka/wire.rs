//! One connection to a broker, for the few requests that librdkafka does not have. Over TLS or plain TCP; SASL is not spoken here.

use super::Connection;
use crate::error::{Error, Result};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::X509;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// More than any answer here; a length beyond it is no Kafka.
const LONGEST_ANSWER: usize = 64 << 20;
const CLIENT_ID: &str = "tel-control";

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A connection. After an error it is of no more use.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    /// The same socket, for its deadlines.
    socket: TcpStream,
    server: String,
    correlation: i32,
}

impl Wire {
    /// Connects to the first of the bootstrap servers that answers.
    pub fn open(connection: &Connection, timeout: Duration) -> Result<Wire> {
        let deadline = Instant::now() + timeout;
        let protocol = connection.get("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
        let connector = match protocol.as_str() {
            "plaintext" => None,
            "ssl" => Some(connector(connection)?),
            other => {
                return Err(Error::invalid(format!(
                    "kafka: security.protocol {other}: quotas are set over ssl or plaintext alone"
                )))
            }
        };
        let servers =
            connection.get("bootstrap.servers").or(connection.get("metadata.broker.list")).unwrap_or_default();
        let mut last = Error::invalid("kafka: bootstrap.servers is empty");
        for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
            match open(server, connector.as_ref(), connection, deadline) {
                Ok(wire) => return Ok(wire),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends a request of the old, inflexible kind, and returns the body of its answer.
    pub fn request(&mut self, api: i16, version: i16, body: &Encoder, timeout: Duration) -> Result<Vec<u8>> {
        let deadline = Instant::now() + timeout;
        self.correlation = self.correlation.wrapping_add(1);
        let mut request = Encoder::default();
        request.i16(api).i16(version).i32(self.correlation).string(CLIENT_ID);
        request.0.extend_from_slice(&body.0);
        let length = u32::try_from(request.0.len()).map_err(|_| Error::invalid("kafka: the request is too long"))?;
        let answer = self.exchange(length, &request.0, deadline);
        let answer = answer.map_err(|error| Error::unavailable(format!("kafka: {}: {error}", self.server)))?;
        let mut decoder = Decoder(&answer);
        if decoder.i32() != Some(self.correlation) {
            return Err(Error::unavailable(format!("kafka: {}: the answer belongs to no request", self.server)));
        }
        Ok(decoder.0.to_vec())
    }

    fn exchange(&mut self, length: u32, request: &[u8], deadline: Instant) -> std::io::Result<Vec<u8>> {
        limit(&self.socket, deadline)?;
        self.stream.write_all(&[&length.to_be_bytes(), request].concat())?;
        self.stream.flush()?;
        let mut length = [0; 4];
        self.fill(&mut length, deadline)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_ANSWER {
            return Err(std::io::Error::other("the answer is no Kafka's"));
        }
        let mut answer = vec![0; length];
        self.fill(&mut answer, deadline)?;
        Ok(answer)
    }

    /// A socket's own limit is for each read; this one is for all.
    fn fill(&mut self, mut into: &mut [u8], deadline: Instant) -> std::io::Result<()> {
        while !into.is_empty() {
            limit(&self.socket, deadline)?;
            match self.stream.read(into) {
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => into = &mut into[count..],
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn limit(socket: &TcpStream, deadline: Instant) -> std::io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    socket.set_read_timeout(Some(left))?;
    socket.set_write_timeout(Some(left))
}

fn open(server: &str, connector: Option<&SslConnector>, connection: &Connection, deadline: Instant) -> Result<Wire> {
    let failed = |error: &dyn std::fmt::Display| Error::unavailable(format!("kafka: {server}: {error}"));
    // A listener's name may stand before it.
    let address = server.rsplit("//").next().unwrap_or(server);
    let (host, _) = address.rsplit_once(':').ok_or_else(|| Error::invalid(format!("kafka: {server}: has no port")))?;
    let host = host.trim_matches(['[', ']']);
    let mut last = failed(&"has no address");
    for address in address.to_socket_addrs().map_err(|error| failed(&error))? {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let socket = match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => socket,
            Err(error) => {
                last = failed(&error);
                continue;
            }
        };
        limit(&socket, deadline).map_err(|error| failed(&error))?;
        let plain = socket.try_clone().map_err(|error| failed(&error))?;
        let stream: Box<dyn Stream> = match connector {
            None => Box::new(plain),
            Some(connector) => {
                let mut config = connector.configure().map_err(|error| failed(&error))?;
                config.set_verify_hostname(connection.get("ssl.endpoint.identification.algorithm") != Some("none"));
                Box::new(config.connect(host, plain).map_err(|error| failed(&error))?)
            }
        };
        return Ok(Wire { stream, socket, server: server.to_owned(), correlation: 0 });
    }
    Err(last)
}

/// TLS as librdkafka's properties say.
fn connector(connection: &Connection) -> Result<SslConnector> {
    let failed = |what: &str| {
        let what = what.to_owned();
        // OpenSSL's own text has no secret, but nothing that helps either.
        move |_: openssl::error::ErrorStack| Error::invalid(format!("kafka: {what}: cannot be used"))
    };
    let mut builder = SslConnector::builder(SslMethod::tls()).map_err(failed("ssl"))?;
    if let Some(path) = connection.get("ssl.ca.location") {
        builder.set_ca_file(path).map_err(failed("ssl.ca.location"))?;
    }
    if let Some(pem) = connection.get("ssl.ca.pem") {
        let mut store = X509StoreBuilder::new().map_err(failed("ssl.ca.pem"))?;
        for certificate in X509::stack_from_pem(pem.as_bytes()).map_err(failed("ssl.ca.pem"))? {
            store.add_cert(certificate).map_err(failed("ssl.ca.pem"))?;
        }
        builder.set_cert_store(store.build());
    }
    if connection.get("enable.ssl.certificate.verification") == Some("false") {
        builder.set_verify(SslVerifyMode::NONE);
    }
    identity(connection, &mut builder)?;
    Ok(builder.build())
}

/// The certificate and key of this side.
fn identity(connection: &Connection, builder: &mut SslConnectorBuilder) -> Result<()> {
    let unusable = |name: &str| Error::invalid(format!("kafka: {name}: cannot be used"));
    let text = |name: &str| {
        connection
            .get(name)
            .map(|path| fs::read(path).map_err(|error| Error::invalid(format!("kafka: {name}: {error}"))))
            .transpose()
    };
    if let Some(path) = connection.get("ssl.certificate.location") {
        builder.set_certificate_chain_file(path).map_err(|_| unusable("ssl.certificate.location"))?;
    } else if let Some(pem) = connection.get("ssl.certificate.pem") {
        let chain = X509::stack_from_pem(pem.as_bytes()).map_err(|_| unusable("ssl.certificate.pem"))?;
        take_chain(builder, chain).map_err(|_| unusable("ssl.certificate.pem"))?;
    }
    let pem = match connection.get("ssl.key.pem") {
        Some(pem) => Some(pem.as_bytes().to_vec()),
        None => text("ssl.key.location")?,
    };
    if let Some(pem) = pem {
        let password = connection.get("ssl.key.password").unwrap_or_default();
        let key = PKey::private_key_from_pem_passphrase(&pem, password.as_bytes()).map_err(|_| unusable("ssl.key"))?;
        builder.set_private_key(&key).map_err(|_| unusable("ssl.key"))?;
    }
    if let Some(bytes) = text("ssl.keystore.location")? {
        let password = connection.get("ssl.keystore.password").unwrap_or_default();
        let store = Pkcs12::from_der(&bytes)
            .and_then(|store| store.parse2(password))
            .map_err(|_| unusable("ssl.keystore.location"))?;
        if let Some(key) = store.pkey {
            builder.set_private_key(&key).map_err(|_| unusable("ssl.keystore.location"))?;
        }
        let chain = store.cert.into_iter().chain(store.ca.into_iter().flatten()).collect();
        take_chain(builder, chain).map_err(|_| unusable("ssl.keystore.location"))?;
    }
    Ok(())
}

fn take_chain(
    builder: &mut SslConnectorBuilder,
    chain: Vec<X509>,
) -> std::result::Result<(), openssl::error::ErrorStack> {
    let mut chain = chain.into_iter();
    if let Some(own) = chain.next() {
        builder.set_certificate(&own)?;
    }
    chain.try_for_each(|certificate| builder.add_extra_chain_cert(certificate))
}

/// Kafka's older encoding.
#[derive(Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub fn i8(&mut self, value: i8) -> &mut Encoder {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn i16(&mut self, value: i16) -> &mut Encoder {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn i32(&mut self, value: i32) -> &mut Encoder {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn f64(&mut self, value: f64) -> &mut Encoder {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// At most 32,767 bytes; the rest is left out, and refused by the broker as another name would be.
    pub fn string(&mut self, text: &str) -> &mut Encoder {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.i16(length);
        self.0.extend_from_slice(&text.as_bytes()[..length as usize]);
        self
    }

    pub fn null_string(&mut self) -> &mut Encoder {
        self.i16(-1)
    }

    pub fn array(&mut self, length: usize) -> &mut Encoder {
        self.i32(i32::try_from(length).unwrap_or(i32::MAX))
    }
}

/// Reads what [`Encoder`] writes; `None` once there is not enough.
pub(super) struct Decoder<'a>(pub &'a [u8]);

impl Decoder<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub fn i16(&mut self) -> Option<i16> {
        self.bytes().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_be_bytes)
    }

    pub fn f64(&mut self) -> Option<f64> {
        self.bytes().map(f64::from_be_bytes)
    }

    /// The inner `None` is null.
    pub fn string(&mut self) -> Option<Option<String>> {
        let Ok(length) = usize::try_from(self.i16()?) else { return Some(None) };
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(String::from_utf8_lossy(text).into_owned()))
    }

    /// Null is empty.
    pub fn array<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.i32()?.max(0);
        // Not taken from the number alone: it may be nonsense.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Some(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut encoder = Encoder::default();
        encoder.i16(-2).i32(7).f64(0.5).string("c83:1").null_string().array(2).i32(1).i32(2);
        let mut decoder = Decoder(&encoder.0);
        assert_eq!((decoder.i16(), decoder.i32(), decoder.f64()), (Some(-2), Some(7), Some(0.5)));
        assert_eq!((decoder.string(), decoder.string()), (Some(Some("c83:1".into())), Some(None)));
        assert_eq!(decoder.array(|decoder| decoder.i32()), Some(vec![1, 2]));
        assert_eq!(decoder.i16(), None);
    }

    #[test]
    fn an_answer_that_is_cut_or_lies_is_no_answer() {
        let mut encoder = Encoder::default();
        encoder.array(usize::MAX).i32(1);
        assert_eq!(Decoder(&encoder.0).array(|decoder| decoder.i32()), None);
        let mut encoder = Encoder::default();
        encoder.i16(10).i8(1);
        assert_eq!(Decoder(&encoder.0).string(), None);
    }
}
