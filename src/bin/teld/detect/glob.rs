//! Patterns: `*` stands for any bytes or none, `?` for any one byte.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The whole of `text` is as the pattern says.
pub fn matches(pattern: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> bool {
    let (pattern, text) = (pattern.as_ref(), text.as_ref());
    let (mut at, mut read) = (0, 0);
    // The last star, and where what it stands for ends so far. Only the last one has to be tried again, as whatever an
    // earlier one could take, it can: so the time is bounded by the product of the lengths.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((place, end)) = star else { return false };
                star = Some((place, end + 1));
                (at, read) = (place + 1, end + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

/// The paths that the pattern may mean below the folder `root`, sorted; each begins with a slash, and stands for what
/// is there under `root`. A part of the pattern without `*` and `?` is taken as it is, whether it is there or not. A
/// name with a dot in front is only found by a pattern with one. Folders that cannot be read are put into `unseen`.
pub fn paths(root: &Path, pattern: &str, unseen: &mut Vec<String>) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for folder in found {
            if part.contains(['*', '?']) {
                next.extend(entries(root, &folder, part, unseen));
            } else {
                next.push(folder.join(part));
            }
        }
        found = next;
    }
    found.sort();
    found
}

fn entries(root: &Path, folder: &Path, pattern: &str, unseen: &mut Vec<String>) -> Vec<PathBuf> {
    let entries = match fs::read_dir(below(root, folder)) {
        Ok(entries) => entries,
        Err(error) => {
            if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                unseen.push(format!("{}: {error}", folder.display()));
            }
            return Vec::new();
        }
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter(|name| pattern.starts_with('.') || !name.as_bytes().starts_with(b"."))
        .filter(|name| matches(pattern, name.as_bytes()))
        .map(|name| folder.join(name))
        .collect()
}

/// Where `path` is, if `root` is the root folder.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The patterns of the key `full_name` are paths from the root.
pub fn absolute(patterns: &[String], full_name: &str) -> Result<(), String> {
    match patterns.iter().find(|pattern| !pattern.starts_with('/')) {
        Some(pattern) => Err(format!("{full_name}: {pattern}: must be a path from the root")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fake::Fake;

    #[test]
    fn stars_and_question_marks_stand_for_bytes() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("**", "a"),
            ("a", "a"),
            ("a*c", "abbbc"),
            ("*.fifo", "media.fifo"),
            ("*a*b", "xaxbxab"),
            ("a?c", "abc"),
            ("load_module*ngx_rtmp_module.so*", "load_module modules/ngx_rtmp_module.so;"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a", ""), ("?", ""), ("a", "ab"), ("*.fifo", "media.fifo2"), ("a*b", "acbc"), ("a?c", "ac")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_long() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!matches(pattern, "a".repeat(5000)));
    }

    #[test]
    fn paths_are_found_part_by_part() {
        let fake = Fake::new("glob");
        for path in ["/run/a/x.fifo", "/run/b/y.fifo", "/run/b/.z.fifo", "/run/b/y.txt", "/run/c"] {
            fake.file(path, "");
        }
        let found = |pattern| {
            let mut unseen = Vec::new();
            let found = paths(&fake.root(), pattern, &mut unseen);
            assert!(unseen.is_empty(), "{unseen:?}");
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found("/run/*/*.fifo"), ["/run/a/x.fifo", "/run/b/y.fifo"]);
        assert_eq!(found("/run/b/.*"), ["/run/b/.z.fifo"]);
        assert_eq!(found("/run/?/x.fifo"), ["/run/a/x.fifo", "/run/b/x.fifo", "/run/c/x.fifo"]);
        assert_eq!(found("/nowhere/*"), [""; 0]);
    }
}
