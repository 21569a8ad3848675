//! A Java trust store.
//!
//! Java takes trusted certificates from a PKCS#12 file only with an attribute of its own, which OpenSSL writes from 3.2 on. Its older
//! format JKS, which every Java reads and Logstash asks for, is a few lines: the certificates, and a keyed SHA-1 that is a checksum
//! more than a protection. What is in it is public.

use crate::error::{Error, Result};
use openssl::sha::Sha1;

/// Java's customary password of trust stores, which hold nothing secret.
pub(super) const PUBLIC_PASSWORD: &str = "changeit";

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
/// Mixed into the checksum by every JKS reader and writer.
const SALT: &[u8] = b"Mighty Aphrodite";

/// A JKS file in which the DER certificates are trusted.
///
/// # Errors
/// `Invalid` for more certificates, or larger ones, than the format can count.
pub(super) fn trust_store(certificates: &[Vec<u8>], password: &str) -> Result<Vec<u8>> {
    let length = |length: usize| {
        u32::try_from(length).map_err(|_| Error::invalid("the brokers' certificates are too large for a trust store"))
    };
    let mut store = Vec::new();
    for number in [MAGIC, VERSION, length(certificates.len())?] {
        store.extend(number.to_be_bytes());
    }
    for (index, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &format!("brokers-{index}"));
        // When it was added, in milliseconds: nobody asks, and the same bundle has the same bytes.
        store.extend(0_u64.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(certificate.len())?.to_be_bytes());
        store.extend(certificate);
    }
    let mut sum = Sha1::new();
    for unit in password.encode_utf16() {
        sum.update(&unit.to_be_bytes());
    }
    sum.update(SALT);
    sum.update(&store);
    store.extend(sum.finish());
    Ok(store)
}

/// Java's modified UTF-8, which is ASCII for what is written here.
fn text(store: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or_default();
    store.extend(length.to_be_bytes());
    store.extend(text.as_bytes());
}
