//! What a client or an edge gets: a certificate, and its key if that was made here.

use super::{failed, Secret};
use crate::error::{Error, Result};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::stack::Stack;
use openssl::x509::{X509Ref, X509};
use time::OffsetDateTime;

pub(super) const DAY_SECONDS: i64 = 86_400;
/// Rounds of key derivation: more add nothing to a random password.
const ROUNDS: u32 = 10_000;

/// A certificate with what its holder needs beside it. The private key is nowhere else: once this is dropped it is gone.
#[derive(Clone, Debug)]
pub struct IssuedCredential {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key, PKCS#8, not encrypted; none where the key is the requester's own.
    pub key_pem: Option<Secret>,
    /// The certificate of the authority that issued it.
    pub ca_pem: String,
    /// Valid from then on.
    pub not_before: OffsetDateTime,
    /// Valid until then.
    pub not_after: OffsetDateTime,
    /// The serial number, lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint_sha256: String,
}

/// Key and certificate in one PKCS#12 file, with its password.
#[derive(Clone, Debug)]
pub struct KeyStore {
    /// The file: AES-256 and HMAC-SHA-256, which Java 17 and OpenSSL 3 both read without legacy providers.
    pub pkcs12: Secret,
    /// The password of the file and of the key in it: 32 hexadecimal digits, random.
    pub password: Secret,
}

impl IssuedCredential {
    pub(super) fn new(certificate: &X509, key_pem: Option<Secret>, authority: &X509) -> Result<IssuedCredential> {
        let read = failed("cannot read a certificate");
        let serial = certificate.serial_number().to_bn().and_then(|serial| serial.to_hex_str()).map_err(&read)?;
        Ok(IssuedCredential {
            certificate_pem: pem(certificate)?,
            key_pem,
            ca_pem: pem(authority)?,
            not_before: date(unix(certificate.not_before())?)?,
            not_after: date(unix(certificate.not_after())?)?,
            serial: serial.to_lowercase(),
            fingerprint_sha256: hex(&certificate.digest(MessageDigest::sha256()).map_err(&read)?),
        })
    }

    /// The same as PKCS#12, under a new random password.
    ///
    /// # Errors
    /// `Invalid` without a private key.
    pub fn key_store(&self) -> Result<KeyStore> {
        let Some(key_pem) = &self.key_pem else {
            return Err(Error::invalid("no PKCS#12 without the private key, which is the requester's own"));
        };
        let write = failed("cannot write PKCS#12");
        let mut random = [0; 16];
        openssl::rand::rand_bytes(&mut random).map_err(&write)?;
        let password = Secret::new(hex(&random).into_bytes());
        let pkcs12 = || {
            let mut chain = Stack::new()?;
            chain.push(X509::from_pem(self.ca_pem.as_bytes())?)?;
            Pkcs12::builder()
                .name("tel")
                .pkey(&*PKey::private_key_from_pem(key_pem.bytes())?)
                .cert(&*X509::from_pem(self.certificate_pem.as_bytes())?)
                .ca(chain)
                .key_algorithm(Nid::AES_256_CBC)
                .cert_algorithm(Nid::AES_256_CBC)
                .key_iter(ROUNDS)
                .mac_iter(ROUNDS)
                .mac_md(MessageDigest::sha256())
                .build2(password.text())?
                .to_der()
        };
        let pkcs12 = Secret::new(pkcs12().map_err(&write)?);
        Ok(KeyStore { pkcs12, password })
    }
}

pub(super) fn pem(certificate: &X509Ref) -> Result<String> {
    let bytes = certificate.to_pem().map_err(failed("cannot write a certificate"))?;
    String::from_utf8(bytes).map_err(|_| Error::unavailable("cannot write a certificate: not text"))
}

/// Seconds since 1970.
pub(super) fn unix(time: &Asn1TimeRef) -> Result<i64> {
    let since = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time)).map_err(failed("cannot read a date"))?;
    Ok(i64::from(since.days) * DAY_SECONDS + i64::from(since.secs))
}

pub(super) fn date(unix: i64) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(unix).map_err(|_| Error::invalid("a certificate's date is out of range"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
