//! The last good list: the file that hosts read. It also says where in the topic it is from, so that list and place are
//! never of different times.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{fchown, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tel::ClientList;

/// Of a new file: hosts of any user read it.
const MODE: u32 = 0o644;

/// Clients by id, each with the JSON text of its object.
pub type Entries = BTreeMap<Arc<str>, Arc<str>>;

/// Where a list is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub topic: String,
    pub topic_id: String,
    /// The records before it are in the list.
    pub offset: i64,
}

/// What is in the file.
#[derive(Clone, Debug, Default)]
pub struct Good {
    /// There is a list.
    pub is_there: bool,
    pub revision: u64,
    /// `None` if it was written by somebody else.
    pub source: Option<Source>,
    pub clients: Entries,
}

/// The file's object; whoever else reads it ignores `sync`.
#[derive(Deserialize)]
struct Content<'a> {
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    sync: Option<Source>,
    #[serde(borrow)]
    clients: Vec<&'a RawValue>,
}

impl Good {
    /// Reads the file. One that is not there holds no list.
    ///
    /// # Errors
    /// Those of reading it, or it is no client list.
    pub fn read(path: &Path) -> io::Result<Good> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Good::default()),
            Err(error) => return Err(error),
        };
        let content: Content<'_> = serde_json::from_slice(&text).map_err(io::Error::other)?;
        let entries = content.clients.into_iter().filter_map(|text| Some((Arc::from(id_of(text).ok()?), text)));
        let clients = entries.map(|(id, text)| (id, Arc::from(text.get()))).collect();
        Ok(Good { is_there: true, revision: content.revision, source: content.sync, clients })
    }

    /// The revision of the next list, written at this offset: more than the one before, whatever that came from.
    pub fn next_revision(&self, offset: i64) -> u64 {
        (self.revision + 1).max(u64::try_from(offset).unwrap_or(0))
    }

    /// Writes the file whole, or leaves the one that is there.
    ///
    /// # Errors
    /// Those of writing it.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        // A link stays one.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let new = beside(&path);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        self.print(&mut out)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let before = fs::metadata(&path).ok();
        if let Some(before) = &before {
            // Only root may give it away; for others it stays their own.
            let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
        }
        file.set_permissions(Permissions::from_mode(before.map_or(MODE, |before| before.mode() & 0o777)))?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{{\"revision\": {},", self.revision)?;
        if let Some(source) = &self.source {
            writeln!(out, " \"sync\": {},", serde_json::to_string(source)?)?;
        }
        out.write_all(b" \"clients\": [")?;
        for (number, text) in self.clients.values().enumerate() {
            write!(out, "{}\n  {text}", if number == 0 { "" } else { "," })?;
        }
        out.write_all(b"]}\n")
    }
}

/// Where the new file is written: in the same folder, as it is to be renamed.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// The id of the client that `text` is.
///
/// # Errors
/// Why it is none.
pub fn id_of(text: &RawValue) -> Result<String, String> {
    let list = ClientList::from_json(format!("{{\"clients\":[{}]}}", text.get()).as_bytes())
        .map_err(|error| error.to_string())?;
    let reason = list.reasons.into_iter().next().unwrap_or_default();
    let client = list.clients.into_iter().next();
    client.map(|client| client.id).ok_or_else(|| reason.trim_start_matches("clients[0]: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("teld-good-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn list(ids: &[&str]) -> Good {
        let entries = ids.iter().map(|id| (Arc::from(*id), Arc::from(format!(r#"{{"id": "{id}", "later": 1}}"#))));
        let source = Source { topic: "tel.clients".into(), topic_id: "one".into(), offset: 7 };
        Good { is_there: true, revision: 9, source: Some(source), clients: entries.collect() }
    }

    #[test]
    fn what_is_written_is_read_again_by_itself_and_by_the_library() {
        let folder = folder("again");
        let path = folder.join("clients.json");
        assert!(!Good::read(&path).unwrap().is_there);
        for ids in [&[][..], &["a"], &["a", "b", "c"]] {
            list(ids).write(&path).unwrap();
            let read = Good::read(&path).unwrap();
            assert_eq!((read.revision, read.source, read.clients), (9, list(ids).source, list(ids).clients));
            let text = fs::read(&path).unwrap();
            let parsed = ClientList::from_json(&text).unwrap();
            assert_eq!((parsed.revision, parsed.rejected, parsed.clients.len()), (Some(9), 0, ids.len()));
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn mode_and_links_stay() {
        let folder = folder("mode");
        let (path, link) = (folder.join("clients.json"), folder.join("link.json"));
        list(&["a"]).write(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        list(&["b"]).write(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && mode(&path) == 0o640);
        assert!(Good::read(&path).unwrap().clients.contains_key("b"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_list_by_hand_is_taken_as_one_without_a_place() {
        let folder = folder("hand");
        let path = folder.join("clients.json");
        fs::write(&path, r#"{"revision": 3, "clients": [{"id": "a"}, {"id": "/"}, 7, {"id": "b"}]}"#).unwrap();
        let read = Good::read(&path).unwrap();
        assert_eq!((read.revision, read.source.is_none(), read.clients.len()), (3, true, 2));
        assert_eq!((read.next_revision(2), read.next_revision(100)), (4, 100));
        fs::write(&path, "{").unwrap();
        assert!(Good::read(&path).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
