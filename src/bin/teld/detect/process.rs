//! Processes, as proc(5) shows them. One may end while it is read: then it is as if it had ended before.

use super::glob::matches;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// So much of a program's name the kernel keeps (TASK_COMM_LEN without its NUL).
const KEPT: usize = 15;
/// What stands behind the name of a file that was replaced or removed since, as by an upgrade.
const DELETED: &[u8] = b" (deleted)";

/// A running process.
#[derive(Debug)]
pub struct Process {
    pub id: u32,
    pub parent: u32,
    /// Its real user: a server may put on another one for a while.
    pub user: u32,
    /// What it is called: the file name of its program or script, cut to [`KEPT`] bytes, or what it has called itself.
    name: Vec<u8>,
    /// The file name of its program. Only for the process's own user and root to see.
    program: Option<Vec<u8>>,
    /// Its command line, with the program in front; a process may write what it likes there.
    pub arguments: Vec<Vec<u8>>,
    folder: PathBuf,
}

/// The processes that are shown in the folder `proc`, by their numbers.
pub fn list(proc: &Path) -> io::Result<Vec<Process>> {
    let names = fs::read_dir(proc)?.flatten().map(|entry| entry.file_name());
    let ids = names.filter_map(|name| name.to_str()?.parse::<u32>().ok());
    let mut processes: Vec<_> = ids.filter_map(|id| Process::read(id, proc.join(id.to_string()))).collect();
    processes.sort_by_key(|process| process.id);
    Ok(processes)
}

impl Process {
    /// `None`: it has ended, or is one of the kernel's own.
    fn read(id: u32, folder: PathBuf) -> Option<Process> {
        let status = fs::read(folder.join("status")).ok()?;
        // A zombie has ended; it only waits for its parent to notice.
        if matches!(field(&status, "State")?.first()?, b'Z' | b'X') {
            return None;
        }
        let command_line = fs::read(folder.join("cmdline")).ok()?;
        if command_line.is_empty() {
            return None;
        }
        let arguments = command_line.strip_suffix(b"\0").unwrap_or(&command_line);
        Some(Process {
            id,
            parent: number(field(&status, "PPid")?)?,
            user: number(field(&status, "Uid")?)?,
            name: field(&status, "Name")?.to_vec(),
            program: fs::read_link(folder.join("exe")).ok().and_then(|path| {
                let name = path.file_name()?.as_bytes();
                Some(name.strip_suffix(DELETED).unwrap_or(name).to_vec())
            }),
            arguments: arguments.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect(),
            folder,
        })
    }

    /// It runs the program or script of this file name.
    pub fn runs(&self, name: &str) -> bool {
        let name = name.as_bytes();
        self.program.as_deref() == Some(name) || self.name == name[..name.len().min(KEPT)]
    }

    /// It may be a fork of `other`: it runs the same program, as far as can be seen.
    pub fn may_be_fork_of(&self, other: &Process) -> bool {
        self.program == other.program || self.program.is_none() || other.program.is_none()
    }

    /// It has mapped a file whose name is as one of the patterns: a shared object that it has loaded.
    ///
    /// # Errors
    /// Those of reading its maps, which are for the process's own user and root to see.
    pub fn has_mapped(&self, patterns: &[String]) -> io::Result<bool> {
        let maps = fs::read(self.folder.join("maps"))?;
        let mut files = maps.split(|byte| *byte == b'\n').filter_map(mapped_file);
        Ok(files.any(|file| patterns.iter().any(|pattern| matches(pattern, file))))
    }
}

/// The field of this name in a `status` file. The kernel escapes newlines in the process's name, so that no process
/// can write fields of its own.
fn field<'a>(status: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = |line: &'a [u8]| line.strip_prefix(name.as_bytes())?.strip_prefix(b":");
    status.split(|byte| *byte == b'\n').find_map(value).map(<[u8]>::trim_ascii)
}

/// The first number of a field.
fn number(field: &[u8]) -> Option<u32> {
    let first = field.split(u8::is_ascii_whitespace).next()?;
    std::str::from_utf8(first).ok()?.parse().ok()
}

/// The name of the file in a line of `maps`. No field before the path has a slash, and the path may have spaces.
fn mapped_file(line: &[u8]) -> Option<&[u8]> {
    let path = line.iter().position(|byte| *byte == b'/').map(|start| &line[start..])?;
    let name = Path::new(OsStr::from_bytes(path)).file_name()?.as_bytes();
    Some(name.strip_suffix(DELETED).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fake::Fake;
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn ids(processes: &[Process]) -> Vec<u32> {
        processes.iter().map(|process| process.id).collect()
    }

    #[test]
    fn a_process_is_known_by_its_name_and_by_its_program() {
        let fake = Fake::new("names");
        fake.process(10, 1, "cache-main").program("/usr/sbin/varnishd").arguments(&["varnishd", "-F"]);
        fake.process(11, 1, "varnishd").arguments(&["/usr/sbin/varnishd"]);
        fake.process(12, 1, "a-very-long-nam").arguments(&["a-very-long-name-of-a-server"]);
        fake.process(13, 1, "x").program("/usr/sbin/nginx (deleted)").arguments(&["x"]);
        let found = fake.machine().processes().unwrap();
        let running = |name: &str| {
            found.iter().filter(|process| process.runs(name)).map(|process| process.id).collect::<Vec<_>>()
        };
        assert_eq!(running("varnishd"), [10, 11]);
        assert_eq!(running("a-very-long-name-of-a-server"), [12]);
        assert_eq!(running("nginx"), [13]);
        assert_eq!(running(""), [0; 0]);
    }

    #[test]
    fn what_has_ended_is_not_there() {
        let fake = Fake::new("ended");
        fake.process(20, 1, "varnishd").arguments(&["varnishd"]);
        fake.process(21, 1, "varnishd").state('Z').arguments(&["varnishd"]);
        fake.process(22, 2, "kworker/0:0").arguments::<&str>(&[]);
        fake.file("/proc/23/cmdline", "varnishd\0");
        fake.file("/proc/24/status", "Name:\tvarnishd\nState:\tS (sleeping)\nPPid:\t1\nUid:\t0\t0\t0\t0\n");
        assert_eq!(ids(&fake.machine().processes().unwrap()), [1, 20]);
    }

    #[test]
    fn mapped_files_are_known_by_their_names() {
        let fake = Fake::new("maps");
        let process = fake.process(30, 1, "nginx").arguments(&["nginx"]);
        process.maps(
            "55d0-55d1 r-xp 00000000 08:01 131 /usr/sbin/nginx\n\
                      7f10-7f11 r-xp 00000000 00:1f 77    /a folder/modules/ngx_rtmp_module.so (deleted)\n\
                      7ffc-7ffd rw-p 00000000 00:00 0     [stack]\n",
        );
        let processes = fake.machine().processes().unwrap();
        let has = |pattern: &str| processes[1].has_mapped(&[pattern.to_owned()]).unwrap();
        assert!(has("ngx_rtmp_module.so") && has("ngx_*.so") && has("nginx"));
        assert!(!has("ngx_rtmp") && !has("*stack*") && !has("module*"));
    }

    #[test]
    fn no_bytes_are_too_strange() {
        let fake = Fake::new("strange");
        let mut seed = 1_u64;
        for round in 0..500 {
            let mut noise = |most: usize| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let length = (seed >> 33) as usize % most;
                let mut bytes = Vec::new();
                for index in 0..length {
                    bytes.push((seed >> (index % 7 * 8)) as u8 ^ index as u8);
                }
                bytes
            };
            fake.bytes(
                "/proc/40/status",
                &[b"Name:\t".as_slice(), &noise(40), b"\nState:\tS\nPPid:\t1\nUid:\t0\n"].concat(),
            );
            fake.bytes("/proc/40/cmdline", &noise(80));
            fake.bytes("/proc/40/maps", &[noise(90), b"\n/".to_vec(), noise(9)].concat());
            fake.bytes("/proc/41/status", &noise(200));
            for process in fake.machine().processes().unwrap() {
                assert!(!process.runs("varnishd"), "{round}");
                let _ = process.has_mapped(&["x*".into()]);
            }
        }
    }

    #[test]
    fn this_process_is_found_with_its_libraries() {
        let processes = list(Path::new("/proc")).unwrap();
        let own = processes.iter().find(|process| process.id == std::process::id()).unwrap();
        let program = std::env::current_exe().unwrap();
        assert!(own.runs(program.file_name().unwrap().to_str().unwrap()), "{own:?}");
        assert!(own.has_mapped(&["libc.so*".into()]).unwrap());
        assert_eq!(own.user, rustix::process::getuid().as_raw());
    }

    #[test]
    fn a_real_zombie_is_not_found() {
        let mut child = Command::new("true").spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_zombie = |id: u32| {
            let status = fs::read(format!("/proc/{id}/status")).unwrap();
            field(&status, "State").unwrap().starts_with(b"Z")
        };
        while !is_zombie(child.id()) {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!ids(&list(Path::new("/proc")).unwrap()).contains(&child.id()));
        child.wait().unwrap();
    }
}
