//! A machine in a temporary folder, for tests.

use super::machine::Machine;
use std::fs;
use std::path::{Path, PathBuf};

/// It goes with this value.
pub struct Fake {
    folder: PathBuf,
}

impl Fake {
    /// One with a first process, as every machine has. `name` tells tests that run at once apart.
    pub fn new(name: &str) -> Fake {
        let folder = std::env::temp_dir().join(format!("teld-detect-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let fake = Fake { folder };
        fake.process(1, 0, "init").arguments(&["/sbin/init"]);
        fake
    }

    pub fn root(&self) -> PathBuf {
        self.folder.clone()
    }

    /// As root sees it.
    pub fn machine(&self) -> Machine {
        Machine { root: self.root(), proc: self.folder.join("proc"), user: 0 }
    }

    pub fn bytes(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn file(&self, path: &str, text: &str) {
        self.bytes(path, text.as_bytes());
    }

    pub fn folder(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    pub fn fifo(&self, path: &str) {
        use rustix::fs::{mknodat, FileType, Mode, CWD};
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    /// A process of root, which still needs its arguments.
    pub fn process(&self, id: u32, parent: u32, name: &str) -> FakeProcess {
        let process = FakeProcess {
            folder: self.folder.join(format!("proc/{id}")),
            parent,
            user: 0,
            name: name.into(),
            state: 'S',
        };
        fs::create_dir_all(&process.folder).unwrap();
        process
    }

    /// The process ends.
    pub fn end(&self, id: u32) {
        fs::remove_dir_all(self.folder.join(format!("proc/{id}"))).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process that is being made up.
pub struct FakeProcess {
    folder: PathBuf,
    parent: u32,
    user: u32,
    name: String,
    state: char,
}

impl FakeProcess {
    pub fn user(self, user: u32) -> FakeProcess {
        FakeProcess { user, ..self }
    }

    pub fn state(self, state: char) -> FakeProcess {
        FakeProcess { state, ..self }
    }

    /// Its program can be seen.
    pub fn program(self, path: &str) -> FakeProcess {
        std::os::unix::fs::symlink(path, self.folder.join("exe")).unwrap();
        self
    }

    /// With these it is complete.
    pub fn arguments<A: AsRef<[u8]>>(self, arguments: &[A]) -> FakeProcess {
        let FakeProcess { parent, user, name, state, .. } = &self;
        let status = format!(
            "Name:\t{name}\nUmask:\t0022\nState:\t{state} (in words)\nTgid:\t7\nPid:\t7\nPPid:\t{parent}\n\
             Uid:\t{user}\t990\t990\t990\nGid:\t0\t0\t0\t0\n"
        );
        fs::write(self.folder.join("status"), status).unwrap();
        let terminated = |argument: &A| [argument.as_ref(), b"\0"].concat();
        fs::write(self.folder.join("cmdline"), arguments.iter().flat_map(terminated).collect::<Vec<u8>>()).unwrap();
        self
    }

    pub fn maps(self, maps: &str) -> FakeProcess {
        fs::write(self.folder.join("maps"), maps).unwrap();
        self
    }

    /// Its maps cannot be read. They are a folder, as root may read every file.
    pub fn hides_maps(self) -> FakeProcess {
        fs::create_dir(Path::join(&self.folder, "maps")).unwrap();
        self
    }
}
