//! The machine that is looked at. Where its folders are is a matter of its fields, so that a test can make one up.

use super::glob;
use super::process::{self, Process};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Below this are the users that the system and its packages make (Debian Policy 9.2.2).
const FIRST_ORDINARY_USER: u32 = 1000;

/// A machine, as it is seen by one of its users.
pub struct Machine {
    /// Its root folder.
    pub root: PathBuf,
    /// Where its processes are: proc(5).
    pub proc: PathBuf,
    /// The user who looks.
    pub user: u32,
}

impl Machine {
    /// The one that this process runs on.
    pub fn this() -> Machine {
        Machine { root: "/".into(), proc: "/proc".into(), user: rustix::process::geteuid().as_raw() }
    }

    /// The processes that can be seen, by their numbers.
    ///
    /// # Errors
    /// Those of listing them.
    pub fn processes(&self) -> io::Result<Vec<Process>> {
        process::list(&self.proc)
    }

    /// Processes of other users are hidden from this one (`hidepid` of proc(5)): the first process always runs.
    pub fn hides_processes(&self) -> bool {
        fs::read(self.proc.join("1/status")).is_err()
    }

    /// Its name; empty if it is not to be had.
    pub fn hostname(&self) -> String {
        let kernel = fs::read_to_string(self.proc.join("sys/kernel/hostname"));
        let name = kernel.or_else(|_| fs::read_to_string(self.path(Path::new("/etc/hostname"))));
        name.map_or_else(|_| String::new(), |name| name.trim().to_owned())
    }

    /// There is certainly nothing at this path.
    pub fn lacks(&self, path: &Path) -> bool {
        fs::metadata(self.path(path)).is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    /// There is a FIFO at this path.
    pub fn has_fifo(&self, path: &Path) -> bool {
        fs::metadata(self.path(path)).is_ok_and(|about| about.file_type().is_fifo())
    }

    /// What the file at this path holds.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(self.path(path))
    }

    /// [`glob::paths`] of this machine.
    pub fn paths(&self, pattern: &str, unseen: &mut Vec<String>) -> Vec<PathBuf> {
        glob::paths(&self.root, pattern, unseen)
    }

    /// What `user` runs is believed to be what it seems: the user is the one who looks, one of the system's own, or one
    /// of `others`, by name or number. Anybody else could call a program varnishd, and have its lines delivered.
    pub fn trusts(&self, user: u32, others: &[String]) -> bool {
        let is_other = |other: &String| *other == user.to_string() || self.number_of(other) == Some(user);
        user == self.user || user < FIRST_ORDINARY_USER || others.iter().any(is_other)
    }

    /// The number of the user of this name (passwd(5)).
    fn number_of(&self, name: &str) -> Option<u32> {
        let users = fs::read_to_string(self.path(Path::new("/etc/passwd"))).ok()?;
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
        })
    }

    fn path(&self, path: &Path) -> PathBuf {
        glob::below(&self.root, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fake::Fake;

    #[test]
    fn the_system_and_oneself_are_trusted_and_others_by_name() {
        let fake = Fake::new("trust");
        fake.file("/etc/passwd", "root:x:0:0::/:/bin/sh\ncdn:x:1005:1005::/:/bin/sh\n");
        let machine = Machine { user: 1003, ..fake.machine() };
        for user in [0, 999, 1003] {
            assert!(machine.trusts(user, &[]), "{user}");
        }
        assert!(!machine.trusts(1005, &[]));
        assert!(!machine.trusts(1005, &["root".into(), "nobody".into(), "100".into()]));
        assert!(machine.trusts(1005, &["cdn".into()]));
        assert!(machine.trusts(1006, &["1006".into()]));
    }

    #[test]
    fn the_name_is_the_kernels_or_that_of_etc() {
        let fake = Fake::new("hostname");
        assert_eq!(fake.machine().hostname(), "");
        fake.file("/etc/hostname", "from-etc\n");
        assert_eq!(fake.machine().hostname(), "from-etc");
        fake.file("/proc/sys/kernel/hostname", "from-kernel\n");
        assert_eq!(fake.machine().hostname(), "from-kernel");
    }
}
