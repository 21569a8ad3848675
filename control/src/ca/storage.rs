//! The authority's two files: `ca.crt`, which everybody may read, and `ca.key`, which is encrypted unless the operator says otherwise.

use super::{failed, Authority, Secret};
use crate::error::{Error, Result};
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::X509;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
/// OpenSSL cuts longer ones off.
const LONGEST_PASSPHRASE: usize = 1023;
const SHORTEST_PASSPHRASE: usize = 8;

/// How the key lies on the disk.
#[derive(Clone, Copy)]
pub enum Protection<'a> {
    /// Encrypted (PKCS#8, AES-256) with a passphrase of 8 to 1023 bytes.
    Passphrase(&'a [u8]),
    /// Not encrypted: whoever reads the file can make certificates.
    Plain,
}

impl Authority {
    /// Makes an authority as [`Authority::generate`] does and stores it in folder `dir`, which is made if need be: `ca.crt` with mode
    /// 0644 and `ca.key` with mode 0600. One that was interrupted is begun anew.
    ///
    /// # Errors
    /// `Conflict` if there is an authority, `Invalid` for the name or the passphrase, `Unavailable` if the files cannot be written.
    pub fn create(dir: &Path, common_name: &str, protection: Protection<'_>) -> Result<Authority> {
        let (certificate, key) = (dir.join(CERTIFICATE), dir.join(KEY));
        if certificate.exists() {
            return Err(Error::conflict(format!("{} exists already", certificate.display())));
        }
        // An interrupted attempt leaves the certificate's part beside its key; any other key is somebody's.
        if key.exists() && !part(&certificate).exists() {
            return Err(Error::conflict(format!("{} exists already, without {CERTIFICATE}", key.display())));
        }
        let authority = Authority::generate(common_name)?;
        let pem = private_pem(&authority, protection)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| denied("make", dir, &error))?;
        write_part(&certificate, 0o644, authority.certificate_pem()?.as_bytes())?;
        write_part(&key, 0o600, pem.bytes())?;
        publish(dir, &[&key, &certificate])?;
        Ok(authority)
    }

    /// Opens what [`Authority::create`] has stored in `dir`.
    ///
    /// # Errors
    /// `NotFound` if it is not there, `Invalid` if it is not what it should be (the passphrase, a key that others can read).
    pub fn open(dir: &Path, passphrase: Option<&[u8]>) -> Result<Authority> {
        let key = dir.join(KEY);
        let mode = fs::metadata(&key).map_err(|error| denied("read", &key, &error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::invalid(format!("{}: mode {:o}, but it must be 600", key.display(), mode & 0o7777)));
        }
        Authority::from_files(&dir.join(CERTIFICATE), &key, passphrase)
    }

    /// Opens an authority that the operator has made: a PEM certificate and its PEM key.
    ///
    /// # Errors
    /// As [`Authority::open`], and `Invalid` if it cannot sign clients' certificates.
    pub fn from_files(certificate: &Path, key: &Path, passphrase: Option<&[u8]>) -> Result<Authority> {
        let pem = fs::read(certificate).map_err(|error| denied("read", certificate, &error))?;
        let parsed = X509::from_pem(&pem)
            .map_err(|_| Error::invalid(format!("{}: not a PEM certificate", certificate.display())))?;
        let pem = Secret::new(fs::read(key).map_err(|error| denied("read", key, &error))?);
        Authority::of(private_key(key, pem.bytes(), passphrase)?, parsed)
    }
}

fn private_key(path: &Path, pem: &[u8], passphrase: Option<&[u8]>) -> Result<PKey<Private>> {
    let mut encrypted = false;
    // Without the callback OpenSSL would ask on the terminal.
    let key = PKey::private_key_from_pem_callback(pem, |buffer| {
        encrypted = true;
        let passphrase = passphrase.unwrap_or_default();
        let length = passphrase.len().min(buffer.len());
        buffer[..length].copy_from_slice(&passphrase[..length]);
        Ok(length)
    });
    key.map_err(|_| {
        let why = match (encrypted, passphrase) {
            (true, None) => "is encrypted, and no passphrase is given",
            (true, Some(_)) => "cannot be decrypted with the passphrase given",
            (false, _) => "not a PEM private key",
        };
        Error::invalid(format!("{}: {why}", path.display()))
    })
}

fn private_pem(authority: &Authority, protection: Protection<'_>) -> Result<Secret> {
    let pem = match protection {
        Protection::Plain => authority.key().private_key_to_pem_pkcs8(),
        Protection::Passphrase(passphrase) => {
            if !(SHORTEST_PASSPHRASE..=LONGEST_PASSPHRASE).contains(&passphrase.len()) {
                return Err(Error::invalid(format!(
                    "the passphrase must have {SHORTEST_PASSPHRASE} to {LONGEST_PASSPHRASE} bytes"
                )));
            }
            authority.key().private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), passphrase)
        }
    };
    Ok(Secret::new(pem.map_err(failed("cannot write the authority's key"))?))
}

/// Where a file is written before it takes its place.
fn part(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.part", path.extension().unwrap_or_default().to_string_lossy()))
}

fn write_part(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let part = part(path);
    let write = || -> io::Result<()> {
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
        // The mode given at opening is cut by the umask.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| denied("write", &part, &error))
}

/// Gives the parts their names, and makes sure that they are there after a crash.
fn publish(dir: &Path, paths: &[&PathBuf]) -> Result<()> {
    for path in paths {
        fs::rename(part(path), path).map_err(|error| denied("write", path, &error))?;
    }
    File::open(dir).and_then(|folder| folder.sync_all()).map_err(|error| denied("write", dir, &error))
}

fn denied(what: &str, path: &Path, error: &io::Error) -> Error {
    let text = format!("cannot {what} {}: {error}", path.display());
    if error.kind() == io::ErrorKind::NotFound {
        Error::not_found(text)
    } else {
        Error::unavailable(text)
    }
}
