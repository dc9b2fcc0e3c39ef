//! One process a role and data directory: a locked file that names the process.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;

/// Held while the role is played; the kernel lets go of it when the process ends, however it ends.
pub struct RoleLock {
    _file: Flock<File>,
}

fn path(data_dir: &Path, role: &str) -> PathBuf {
    data_dir.join("run").join(format!("{role}.pid"))
}

/// Takes the role, or says which process has it and how to stop that.
pub fn take(data_dir: &Path, role: &str, fix: &str) -> anyhow::Result<RoleLock> {
    let path = path(data_dir, role);
    let directory = path.parent().expect("a file in a directory has a parent");
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())?;
            Ok(RoleLock { _file: file })
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            bail!("`gannet {role}` runs already on {} as process {pid}; {fix}", data_dir.display())
        }
        Err((_, errno)) => bail!("cannot lock {}: {errno}", path.display()),
    }
}

/// The process that plays the role now.
pub fn holder(data_dir: &Path, role: &str) -> Option<Pid> {
    let mut file = OpenOptions::new().read(true).write(true).open(path(data_dir, role)).ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        // Nobody held it: the number is that of a process long gone.
        Ok(_) => None,
        Err(_) => text.trim().parse().ok().map(Pid::from_raw),
    }
}

#[cfg(test)]
mod tests;
