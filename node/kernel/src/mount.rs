//! Mounts of this mount namespace: the bpffs of a data directory, and clean-up by path prefix.
use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Why a mount operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("create directory {path}: {source}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("mount a BPF file system at {path} (the kernel needs CONFIG_BPF_SYSCALL, we need CAP_SYS_ADMIN): {source}")]
    Bpffs { path: PathBuf, source: io::Error },
    #[error("unmount {path}: {source}")]
    Unmount { path: PathBuf, source: io::Error },
    #[error("read /proc/self/mountinfo: {0}")]
    MountInfo(#[source] io::Error),
}

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub target: PathBuf,
    pub kind: String,
}

/// All mounts, in the order they were made.
pub fn list() -> Result<Vec<Mount>, Error> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(Error::MountInfo)?;
    Ok(text.lines().filter_map(parse).collect())
}

/// Makes sure that a BPF file system is mounted exactly at `dir`, creating the directory.
pub fn ensure_bpffs(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|source| Error::Directory { path: dir.into(), source })?;
    let dir = dir.canonicalize().map_err(|source| Error::Directory { path: dir.into(), source })?;
    if list()?.iter().any(|m| m.target == dir && m.kind == "bpf") {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), &dir, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|e| Error::Bpffs { path: dir, source: e.into() })
}

/// Unmounts everything mounted at or below `prefix`, last mounted first; returns how many. Nothing there is fine.
pub fn unmount_below(prefix: &Path) -> Result<usize, Error> {
    let prefix = prefix.canonicalize().unwrap_or_else(|_| prefix.to_owned());
    let mut count = 0;
    for mount in list()?.into_iter().rev().filter(|m| m.target.starts_with(&prefix)) {
        match umount2(&mount.target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => count += 1,
            Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(e) => return Err(Error::Unmount { path: mount.target, source: e.into() }),
        }
    }
    Ok(count)
}

/// proc_pid_mountinfo(5): fields up to a lone `-`, then the file system type.
fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let target = unescape(left.split(' ').nth(4)?);
    let kind = right.split(' ').next()?.to_owned();
    Some(Mount { target, kind })
}

/// Space, tab, newline and backslash stand as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match octal.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(value) if byte == b'\\' => {
                out.push(value);
                rest = &tail[3..];
            }
            Some(_) | None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// Whether some file system of this type is mounted at `path`.
pub fn is_mounted(path: &Path, kind: &str) -> Result<bool, Error> {
    Ok(list()?.iter().any(|m| m.target == path && OsStr::new(&m.kind) == OsStr::new(kind)))
}

#[cfg(test)]
mod tests;
