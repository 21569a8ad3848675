//! Certificate requests, of which the public key alone is taken.

use crate::error::{Error, Result};
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::x509::X509Req;

/// Far more than any real request; checked before anything is parsed.
const LONGEST: usize = 16 * 1024;
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;
const SMALLEST_EXPONENT: u32 = 65_537;

/// The public key of a PEM request whose signature shows that the asker has the private one.
///
/// # Errors
/// `Invalid`, saying what is wrong.
pub(super) fn public_key(request: &[u8]) -> Result<PKey<Public>> {
    if request.len() > LONGEST {
        return Err(invalid(format!("{} bytes, more than {LONGEST}", request.len())));
    }
    let text = std::str::from_utf8(request).map_err(|_| invalid("not PEM text"))?;
    if text.contains("PRIVATE KEY-----") {
        return Err(invalid(
            "holds a private key, which is no secret any more: make a new one, and send the request alone",
        ));
    }
    let labels = ["-----BEGIN CERTIFICATE REQUEST-----", "-----BEGIN NEW CERTIFICATE REQUEST-----"];
    if text.matches("-----BEGIN ").count() != 1 || !labels.iter().any(|label| text.contains(label)) {
        return Err(invalid("not one PEM block CERTIFICATE REQUEST"));
    }
    // OpenSSL's own words are about its parser, and help nobody.
    let parsed = X509Req::from_pem(request).map_err(|_| invalid("malformed"))?;
    let key = parsed.public_key().map_err(|_| invalid("its public key cannot be read"))?;
    // Before the signature: verifying with a huge or odd key would be work for nothing.
    let key = accepted(key)?;
    match parsed.verify(&key) {
        Ok(true) => Ok(key),
        _ => Err(invalid("not signed by its own key")),
    }
}

fn accepted(key: PKey<Public>) -> Result<PKey<Public>> {
    let unreadable = |_: ErrorStack| invalid("its public key cannot be read");
    match key.id() {
        Id::ED25519 => Ok(key),
        Id::EC => {
            let given = key.ec_key().map_err(unreadable)?;
            let curve = match given.group().curve_name() {
                Some(curve @ (Nid::X9_62_PRIME256V1 | Nid::SECP384R1)) => curve,
                _ => return Err(invalid("EC keys must be on P-256 or P-384")),
            };
            // Made anew, so that the certificate names the curve however the request wrote it down.
            let named = || -> std::result::Result<PKey<Public>, ErrorStack> {
                let group = EcGroup::from_curve_name(curve)?;
                let mut context = BigNumContext::new()?;
                let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
                let bytes = given.public_key().to_bytes(given.group(), form, &mut context)?;
                let point = openssl::ec::EcPoint::from_bytes(&group, &bytes, &mut context)?;
                let key = EcKey::from_public_key(&group, &point)?;
                key.check_key()?;
                PKey::from_ec_key(key)
            };
            named().map_err(|_| invalid("its public key is no point of its curve"))
        }
        Id::RSA => {
            let rsa = key.rsa().map_err(unreadable)?;
            let bits = key.bits();
            if !RSA_BITS.contains(&bits) {
                return Err(invalid(format!(
                    "RSA keys must have {} to {} bits, this has {bits}",
                    RSA_BITS.start(),
                    RSA_BITS.end()
                )));
            }
            let smallest = openssl::bn::BigNum::from_u32(SMALLEST_EXPONENT).map_err(unreadable)?;
            if rsa.e().ucmp(&smallest).is_lt() || !rsa.e().is_bit_set(0) || rsa.e().num_bits() > 64 {
                return Err(invalid(format!("RSA keys must have an odd exponent of {SMALLEST_EXPONENT} to 64 bits")));
            }
            Ok(key)
        }
        _ => Err(invalid("the key must be EC P-256, EC P-384, RSA of 2048 bits or more, or Ed25519")),
    }
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("certificate request: {what}"))
}
