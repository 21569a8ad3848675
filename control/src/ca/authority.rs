//! The authority itself: its key, its certificate, and what it signs.

use super::credential::{self, unix, IssuedCredential, DAY_SECONDS};
use super::{failed, request, Secret};
use crate::error::{Error, Result};
use crate::names::{ClientId, EdgeName};
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};
use openssl::stack::Stack;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509Builder, X509Name, X509NameRef, X509PurposeId, X509StoreContext, X509};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long an authority made here is valid.
const AUTHORITY_DAYS: i64 = 3650;
/// Certificates are valid a little before they are made: clocks differ.
const BACKDATED_SECONDS: i64 = 300;
/// OpenSSL's and X.509's own limit.
const LONGEST_COMMON_NAME: usize = 64;

/// A certificate authority for clients and edges. It signs; it keeps no record of what it signed.
pub struct Authority {
    key: PKey<Private>,
    certificate: X509,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority: P-256, self-signed, valid for ten years, its subject `CN=<common_name>`, good for signing certificates
    /// that sign nothing themselves.
    ///
    /// # Errors
    /// `Invalid` for a common name that is empty, longer than 64 bytes or holds control characters.
    pub fn generate(common_name: &str) -> Result<Authority> {
        if common_name.is_empty()
            || common_name.len() > LONGEST_COMMON_NAME
            || common_name.chars().any(|c| c.is_control())
        {
            return Err(Error::invalid(format!(
                "the authority's name: 1 to {LONGEST_COMMON_NAME} bytes, no control characters"
            )));
        }
        let key = new_key()?;
        let now = unix_now()?;
        let certificate = self_signed(common_name, &key, now).map_err(failed("cannot make the authority"))?;
        Authority::of(key, certificate)
    }

    /// An authority of this key and certificate.
    ///
    /// # Errors
    /// `Invalid` if the key is not the certificate's, or if what it signs would not be taken for a TLS client's.
    pub fn of(key: PKey<Private>, certificate: X509) -> Result<Authority> {
        let public = certificate.public_key().map_err(failed("cannot read the authority's public key"))?;
        if !public.public_eq(&key) {
            return Err(Error::invalid("the authority's key is not its certificate's"));
        }
        let authority = Authority { key, certificate };
        // Whatever is wrong with it (no CA, expired, not for clients) shows in what it signs.
        let trial = new_key()?;
        let trial = public_half(&trial)?;
        authority.sign("trial", &trial, 1)?;
        Ok(authority)
    }

    /// A new key and a certificate for the client `CN=<id>:<generation>`, valid for `days` but never beyond the authority itself.
    ///
    /// # Errors
    /// `Invalid` for generation 0 or no days; `Unavailable` if the authority has expired.
    pub fn client(&self, id: &ClientId, generation: u32, days: u32) -> Result<IssuedCredential> {
        self.with_new_key(&client_name(id, generation)?, days)
    }

    /// The same for the public key of a PEM certificate request, of which nothing else is taken: neither name nor extension.
    ///
    /// # Errors
    /// As [`Authority::client`]; `Invalid` for a request that is too large, malformed, not signed by its own key or of a key that is
    /// weak or of another kind than EC P-256, EC P-384, RSA of 2048 to 8192 bits and Ed25519.
    pub fn client_for(&self, id: &ClientId, generation: u32, days: u32, request: &[u8]) -> Result<IssuedCredential> {
        self.for_request(&client_name(id, generation)?, days, request)
    }

    /// A new key and a certificate for the edge `CN=edge:<name>`; days and errors as with [`Authority::client`].
    ///
    /// # Errors
    /// See there.
    pub fn edge(&self, name: &EdgeName, days: u32) -> Result<IssuedCredential> {
        self.with_new_key(&name.common_name(), days)
    }

    /// The edge's certificate for a request's public key, as with [`Authority::client_for`].
    ///
    /// # Errors
    /// See there.
    pub fn edge_for(&self, name: &EdgeName, days: u32, request: &[u8]) -> Result<IssuedCredential> {
        self.for_request(&name.common_name(), days, request)
    }

    /// The authority's certificate, for the brokers' trust store.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn certificate_pem(&self) -> Result<String> {
        credential::pem(&self.certificate)
    }

    /// When the authority ends, in seconds since 1970.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn not_after(&self) -> Result<i64> {
        unix(self.certificate.not_after())
    }

    pub(super) fn key(&self) -> &PKeyRef<Private> {
        &self.key
    }

    fn with_new_key(&self, common_name: &str, days: u32) -> Result<IssuedCredential> {
        let key = new_key()?;
        let public = public_half(&key)?;
        let certificate = self.sign(common_name, &public, days)?;
        let pem = key.private_key_to_pem_pkcs8().map_err(failed("cannot write the key"))?;
        IssuedCredential::new(&certificate, Some(Secret::new(pem)), &self.certificate)
    }

    fn for_request(&self, common_name: &str, days: u32, request: &[u8]) -> Result<IssuedCredential> {
        let key = request::public_key(request)?;
        if key.public_eq(&self.key) {
            return Err(Error::invalid("certificate request: that is the authority's own key"));
        }
        let certificate = self.sign(common_name, &key, days)?;
        IssuedCredential::new(&certificate, None, &self.certificate)
    }

    fn sign(&self, common_name: &str, key: &PKeyRef<Public>, days: u32) -> Result<X509> {
        if days == 0 {
            return Err(Error::invalid("a certificate is valid for one day at least"));
        }
        let now = unix_now()?;
        let last = self.not_after()?;
        if last <= now {
            return Err(Error::unavailable(format!("the authority ended on {}", credential::date(last)?.date())));
        }
        let not_before = (now - BACKDATED_SECONDS).max(unix(self.certificate.not_before())?);
        let not_after = now.saturating_add(i64::from(days) * DAY_SECONDS).min(last);
        let certificate =
            self.signed(common_name, key, not_before, not_after).map_err(failed("cannot sign a certificate"))?;
        self.verify(&certificate)?;
        Ok(certificate)
    }

    fn signed(
        &self,
        common_name: &str,
        key: &PKeyRef<Public>,
        not_before: i64,
        not_after: i64,
    ) -> std::result::Result<X509, ErrorStack> {
        let subject = name(common_name)?;
        let mut builder = unsigned(&subject, self.certificate.subject_name(), key, not_before, not_after)?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
        let id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(Some(&self.certificate), None))?;
        builder.append_extension(id)?;
        if self.certificate.subject_key_id().is_some() {
            let mut issuer = AuthorityKeyIdentifier::new();
            let issuer = issuer.keyid(true).build(&builder.x509v3_context(Some(&self.certificate), None))?;
            builder.append_extension(issuer)?;
        }
        builder.sign(&self.key, digest(&self.key))?;
        Ok(builder.build())
    }

    /// Asks OpenSSL what a broker will ask: is this a TLS client's certificate, signed by this authority?
    fn verify(&self, certificate: &X509) -> Result<()> {
        let verdict = || {
            let mut store = X509StoreBuilder::new()?;
            store.add_cert(self.certificate.clone())?;
            // An authority given as files may be an intermediate one.
            store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
            store.set_purpose(X509PurposeId::SSL_CLIENT)?;
            let chain = Stack::new()?;
            X509StoreContext::new()?
                .init(&store.build(), certificate, &chain, |context| Ok((context.verify_cert()?, context.error())))
        };
        match verdict().map_err(failed("cannot verify a certificate"))? {
            (true, _) => Ok(()),
            (false, why) => {
                Err(Error::invalid(format!("brokers would refuse what this authority signs: {}", why.error_string())))
            }
        }
    }
}

fn client_name(id: &ClientId, generation: u32) -> Result<String> {
    if generation == 0 {
        return Err(Error::invalid(format!("client {id}: generations begin with 1")));
    }
    Ok(id.common_name(generation))
}

fn self_signed(common_name: &str, key: &PKey<Private>, now: i64) -> std::result::Result<X509, ErrorStack> {
    let name = name(common_name)?;
    let mut builder = unsigned(&name, &name, key, now - BACKDATED_SECONDS, now + AUTHORITY_DAYS * DAY_SECONDS)?;
    builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    let id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(id)?;
    builder.sign(key, digest(key))?;
    Ok(builder.build())
}

fn unsigned<K: HasPublic>(
    subject: &X509NameRef,
    issuer: &X509NameRef,
    key: &PKeyRef<K>,
    not_before: i64,
    not_after: i64,
) -> std::result::Result<X509Builder, ErrorStack> {
    let mut builder = X509Builder::new()?;
    // Version 3, counted from 0.
    builder.set_version(2)?;
    builder.set_serial_number(&*serial()?)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::from_unix(not_before)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(not_after)?)?;
    Ok(builder)
}

fn serial() -> std::result::Result<Asn1Integer, ErrorStack> {
    let mut bytes = [0; 16];
    // X.509 forbids 0.
    while bytes == [0; 16] {
        openssl::rand::rand_bytes(&mut bytes)?;
    }
    BigNum::from_slice(&bytes)?.to_asn1_integer()
}

fn name(common_name: &str) -> std::result::Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(name.build())
}

fn new_key() -> Result<PKey<Private>> {
    let make = || PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?);
    make().map_err(failed("cannot make a key"))
}

fn public_half(key: &PKeyRef<Private>) -> Result<PKey<Public>> {
    key.public_key_to_der().and_then(|der| PKey::public_key_from_der(&der)).map_err(failed("cannot read a key"))
}

/// What goes with the authority's key: Ed25519 and Ed448 bring their own.
fn digest(key: &PKeyRef<Private>) -> MessageDigest {
    match key.id() {
        Id::ED25519 | Id::ED448 => MessageDigest::null(),
        _ if key.id() == Id::EC && key.bits() > 256 => MessageDigest::sha384(),
        _ => MessageDigest::sha256(),
    }
}

fn unix_now() -> Result<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.ok()
        .and_then(|now| i64::try_from(now.as_secs()).ok())
        .ok_or_else(|| Error::unavailable("the clock is before 1970"))
}
