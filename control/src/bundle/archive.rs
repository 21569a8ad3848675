//! The zip.

use super::BundleFile;
use crate::error::{Error, Result};
use crate::names::ClientId;
use std::io::{Cursor, Write};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// The files as a zip archive in the one folder `tel-<id>/`, stored, with their Unix modes. The same files give the same bytes.
///
/// The result holds what the files hold, keys too, and is the caller's to guard.
///
/// # Errors
/// `Unavailable`, the zip writer's own.
pub fn zip(id: &ClientId, files: &[BundleFile]) -> Result<Vec<u8>> {
    zip_folder(&format!("tel-{id}"), files)
}

/// The same in a folder of another name.
///
/// # Errors
/// As [`zip()`].
pub fn zip_folder(folder: &str, files: &[BundleFile]) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| Error::unavailable(format!("cannot write the zip: {error}"));
    let size = files.iter().map(|file| file.contents.bytes().len() + 256).sum();
    // Room for all of it, so that growing leaves no copies of keys behind.
    let mut archive = ZipWriter::new(Cursor::new(Vec::with_capacity(size)));
    for file in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(file.mode);
        archive.start_file(format!("{folder}/{}", file.name), options).map_err(|error: ZipError| failed(&error))?;
        archive.write_all(file.contents.bytes()).map_err(|error| failed(&error))?;
    }
    Ok(archive.finish().map_err(|error| failed(&error))?.into_inner())
}
