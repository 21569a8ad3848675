//! What the integration tests share. A test file takes the parts it needs.
#![allow(dead_code)]

pub mod account;
pub mod kafka;
pub mod lines;
pub mod stream;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of its own, gone with the value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes a file as whoever changes a client list does: whole, and then renamed into place.
pub fn replace_file(path: &Path, text: &str) {
    let part = path.with_extension("part");
    std::fs::write(&part, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", part.display()));
    std::fs::rename(&part, path).unwrap_or_else(|error| panic!("cannot rename to {}: {error}", path.display()));
}

/// The time until `is_done`; fails when `deadline` has passed.
pub fn wait_until(what: &str, deadline: Duration, mut is_done: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}

/// A client list of these ids, the topic of each being `prefix` and the id.
pub fn client_list(revision: u64, prefix: &str, ids: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let entries: Vec<String> =
        ids.into_iter().map(|id| format!(r#"{{"id":"{id}","topic":"{prefix}{id}"}}"#, id = id.as_ref())).collect();
    format!(r#"{{"revision":{revision},"clients":[{}]}}"#, entries.join(","))
}
