//! Random secrets, and what is kept of them.

use crate::error::{Error, Result};

/// Bytes of randomness in a token, a cookie and a database's id.
const BYTES: usize = 32;

/// 64 hexadecimal digits that nobody can guess.
pub(super) fn random_hex() -> Result<String> {
    let mut bytes = [0; BYTES];
    openssl::rand::rand_bytes(&mut bytes).map_err(|e| Error::unavailable(format!("random numbers: {e}")))?;
    Ok(hex(&bytes))
}

/// What is stored of a secret. Without salt or stretching: there are 256 random bits in it.
pub(super) fn hash(secret: &str) -> String {
    hex(&openssl::sha::sha256(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
