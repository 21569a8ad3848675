//! Certificates: an own authority, what it issues, and what it takes from certificate requests.
//!
//! All of it is OpenSSL's, through the `openssl` crate: it is linked already for the connections to Kafka, and it has certificate
//! requests, PKCS#12 and encrypted keys as well, which a crate that only makes certificates (rcgen) would need others for.
//!
//! Brokers take the whole subject as the principal, so a certificate made here has the common name as its sole subject attribute,
//! is for TLS clients alone and names no host: it can never pass for a broker.

mod authority;
mod credential;
mod request;
mod secret;
mod storage;

pub use authority::Authority;
pub use credential::{IssuedCredential, KeyStore};
pub use secret::Secret;
pub use storage::Protection;

use crate::error::Error;
use openssl::error::ErrorStack;

/// An error of OpenSSL's own, with what was being done.
fn failed(what: &'static str) -> impl Fn(ErrorStack) -> Error {
    move |error| Error::unavailable(format!("{what}: {error}"))
}
