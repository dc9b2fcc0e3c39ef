//! Sub-paths of volumes. The path below a volume may hold symbolic links that a container planted, so it is resolved
//! by the kernel inside the volume only (openat2, RESOLVE_IN_ROOT), and what was found is pinned by a bind mount before
//! anybody can swap it (CVE-2017-1002101, CVE-2021-25741).

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2};

/// Components of a sub-path; a longer one is refused.
const DEPTH_LIMIT: usize = 64;

/// Binds `sub_path` of the volume at `root` to `target` and returns `target`. A missing directory is made.
pub(crate) fn bind(root: &Path, sub_path: &str, target: &Path) -> io::Result<PathBuf> {
    let found = resolve(root, sub_path)?;
    let is_dir = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode).is_dir();
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    kernel::mount::unmount_below(target).map_err(io::Error::other)?;
    if is_dir {
        fs::create_dir_all(target)?;
    } else if !target.exists() {
        fs::File::create(target)?;
    }
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    mount(Some(source.as_str()), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    Ok(target.to_owned())
}

fn resolve(root: &Path, sub_path: &str) -> io::Result<OwnedFd> {
    let root_is_file = fs::metadata(root)?.is_file();
    if root_is_file {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "the volume is a file and has no sub-paths"));
    }
    let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let parts: Vec<&str> = sub_path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.len() > DEPTH_LIMIT || parts.contains(&"..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the sub-path is too deep or leaves the volume"));
    }
    match inside(&root, &parts.join("/")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    // Make what is missing, one directory at a time, each resolved inside the volume.
    let mut made = String::new();
    for part in parts {
        let parent = inside(&root, if made.is_empty() { "." } else { &made })?;
        match mkdirat(&parent, part, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        made = if made.is_empty() { part.to_owned() } else { format!("{made}/{part}") };
    }
    inside(&root, &made)
}

fn inside(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

#[cfg(test)]
mod tests;
