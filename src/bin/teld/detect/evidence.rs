//! What tells a process apart from others of the same program: a shared object that it has loaded, or a line of its
//! configuration. One of them is enough: what is built in cannot be seen as a shared object, and a process's maps are
//! only for its own user and root to see.

use super::glob::{absolute, matches};
use super::machine::Machine;
use super::process::Process;
use crate::config::keys::Keys;
use rustix::io::Errno;
use std::io::{self, ErrorKind};

/// The `with` key of a rule.
#[derive(Debug)]
pub struct Evidence {
    /// Names of shared objects.
    mapped: Vec<String>,
    /// Paths of configuration files.
    files: Vec<String>,
    /// Lines of theirs, without the blanks around them.
    lines: Vec<String>,
}

/// Whether a process has what is looked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    No,
    /// It was not found, and what was not to be seen may hold it.
    Unseen(String),
}

impl Evidence {
    pub fn read(mut keys: Keys) -> Result<Evidence, String> {
        let name = keys.full_name("");
        let name = name.trim_end_matches('.');
        let mapped = keys.texts("mapped")?.unwrap_or_default();
        let files_name = keys.full_name("files");
        let files = keys.texts("files")?.unwrap_or_default();
        absolute(&files, &files_name)?;
        let lines = keys.texts("lines")?.unwrap_or_default();
        keys.finish()?;
        if files.is_empty() != lines.is_empty() {
            return Err(format!("{name}: files and lines go together"));
        }
        if mapped.is_empty() && files.is_empty() {
            return Err(format!("{name}: must have the key mapped, or files and lines"));
        }
        Ok(Evidence { mapped, files, lines })
    }

    /// Looks whether the process has it.
    pub fn look(&self, process: &Process, machine: &Machine) -> Verdict {
        let mut unseen = Vec::new();
        if !self.mapped.is_empty() {
            match process.has_mapped(&self.mapped) {
                Ok(true) => return Verdict::Yes,
                Ok(false) => {}
                Err(error) if is_gone(&error) => return Verdict::No,
                Err(error) => unseen.push(format!("/proc/{}/maps: {error}", process.id)),
            }
        }
        let is_wanted = |line: &[u8]| self.lines.iter().any(|pattern| matches(pattern, line.trim_ascii()));
        for pattern in &self.files {
            for path in machine.paths(pattern, &mut unseen) {
                match machine.read(&path) {
                    Ok(text) if text.split(|byte| *byte == b'\n').any(is_wanted) => return Verdict::Yes,
                    Ok(_) => {}
                    Err(error) if is_gone(&error) => {}
                    Err(error) => unseen.push(format!("{}: {error}", path.display())),
                }
            }
        }
        if unseen.is_empty() {
            Verdict::No
        } else {
            Verdict::Unseen(unseen.join("; "))
        }
    }
}

/// The file is not there, or its process has ended.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || Errno::from_io_error(error) == Some(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fake::Fake;

    const RTMP: &str = r#"{"mapped": ["ngx_rtmp_module.so"], "files": ["/etc/nginx/nginx.conf", "/etc/nginx/on/*.conf"],
        "lines": ["load_module*ngx_rtmp_module.so*", "rtmp*{*"]}"#;
    const MAPS: &str = "7f10-7f11 r-xp 00000000 00:1f 77 /usr/lib/nginx/modules/ngx_rtmp_module.so\n";

    fn evidence(keys: &str) -> Result<Evidence, String> {
        Evidence::read(Keys::read("nginx.process.with".into(), keys).unwrap())
    }

    fn verdict(fake: &Fake) -> Verdict {
        let machine = fake.machine();
        let processes = machine.processes().unwrap();
        let nginx = processes.iter().find(|process| process.runs("nginx")).unwrap();
        evidence(RTMP).unwrap().look(nginx, &machine)
    }

    #[test]
    fn a_shared_object_is_enough() {
        let fake = Fake::new("shared-object");
        fake.process(9, 1, "nginx").arguments(&["nginx"]).maps(MAPS);
        assert_eq!(verdict(&fake), Verdict::Yes);
    }

    #[test]
    fn a_line_is_enough() {
        let fake = Fake::new("line");
        fake.process(9, 1, "nginx").arguments(&["nginx"]).hides_maps();
        fake.file("/etc/nginx/nginx.conf", "worker_processes 1;\n# rtmp {\nhttp {\n}\n");
        fake.file("/etc/nginx/on/50-mod-rtmp.conf", "load_module modules/ngx_other_module.so;\n");
        assert!(matches!(verdict(&fake), Verdict::Unseen(_)));
        fake.file("/etc/nginx/on/50-mod-rtmp.conf", "  load_module modules/ngx_rtmp_module.so;\r\n");
        assert_eq!(verdict(&fake), Verdict::Yes);
        fake.file("/etc/nginx/on/50-mod-rtmp.conf", "");
        fake.file("/etc/nginx/nginx.conf", "http {\n}\n\trtmp {\n}\n");
        assert_eq!(verdict(&fake), Verdict::Yes, "a module that is built in");
    }

    #[test]
    fn what_is_not_there_is_no_and_what_cannot_be_seen_is_said() {
        let fake = Fake::new("unseen");
        let process = fake.process(9, 1, "nginx").arguments(&["nginx"]);
        assert_eq!(verdict(&fake), Verdict::No, "it has ended meanwhile");
        let process = process.maps("7f10-7f11 r-xp 00000000 00:1f 77 /usr/sbin/nginx\n");
        assert_eq!(verdict(&fake), Verdict::No);
        fake.folder("/etc/nginx/nginx.conf");
        let Verdict::Unseen(why) = verdict(&fake) else { panic!("a file that cannot be read") };
        assert!(why.starts_with("/etc/nginx/nginx.conf: "), "{why}");
        fake.end(9);
        drop(process);
        fake.process(9, 1, "nginx").arguments(&["nginx"]).hides_maps();
        let Verdict::Unseen(why) = verdict(&fake) else { panic!("maps that cannot be read") };
        assert!(why.starts_with("/proc/9/maps: "), "{why}");
    }

    #[test]
    fn wrong_keys_are_named() {
        for (keys, error) in [
            ("{}", "nginx.process.with: must have the key mapped, or files and lines"),
            (r#"{"files": ["/x"]}"#, "nginx.process.with: files and lines go together"),
            (r#"{"mapped": ["a"], "lines": ["x"]}"#, "nginx.process.with: files and lines go together"),
            (r#"{"mapped": "a"}"#, "nginx.process.with.mapped: must be a list of texts"),
            (r#"{"files": ["x"], "lines": ["x"]}"#, "nginx.process.with.files: x: must be a path from the root"),
            (r#"{"mapped": ["a"], "loaded": 1}"#, "nginx.process.with.loaded: no such key"),
        ] {
            assert_eq!(evidence(keys).unwrap_err(), error);
        }
    }
}
