//! Named network namespaces, kept exactly as iproute2 keeps them: bind mounts of the namespace file at
//! `/run/netns/<name>`, so `ip netns` lists and deletes them too.
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Where iproute2 looks for named namespaces.
pub const DIR: &str = "/run/netns";

/// Why a namespace operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("network namespace name {0:?} is not a plain file name of at most 200 bytes")]
    Name(String),
    #[error("network namespace {0} exists already (remove it with `ip netns delete {0}`)")]
    Exists(String),
    #[error("open network namespace {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{what} for network namespace {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("enter network namespace {path} (needs CAP_SYS_ADMIN): {source}")]
    Enter { path: PathBuf, source: io::Error },
    #[error("start a thread for network namespace {path}: {source}")]
    Thread { path: PathBuf, source: io::Error },
}

/// The path of a named namespace, whether it exists or not.
pub fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Whether a namespace of this name exists.
pub fn exists(name: &str) -> bool {
    path(name).exists()
}

/// The names of all named namespaces, sorted.
pub fn list() -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(DIR) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Io { what: "read the directory", path: DIR.into(), source }),
    };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Makes a new namespace and binds it at [`path`]. Fails with [`Error::Exists`] if the name is taken.
pub fn create(name: &str) -> Result<PathBuf, Error> {
    if name.is_empty() || name.len() > 200 || name.contains('/') || name == "." || name == ".." {
        return Err(Error::Name(name.to_owned()));
    }
    let target = path(name);
    prepare_dir()?;
    match OpenOptions::new().write(true).create_new(true).open(&target) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(Error::Exists(name.to_owned())),
        Err(source) => return Err(Error::Io { what: "create the file", path: target, source }),
    }
    let made = on_thread(&target, || -> Result<(), Error> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| Error::Io {
            what: "unshare",
            path: target.clone(),
            source: e.into(),
        })?;
        mount(Some("/proc/thread-self/ns/net"), &target, None::<&OsStr>, MsFlags::MS_BIND, None::<&OsStr>)
            .map_err(|e| Error::Io { what: "bind mount", path: target.clone(), source: e.into() })
    });
    match made {
        Ok(Ok(())) => Ok(target),
        Ok(Err(e)) | Err(e) => {
            let _ = fs::remove_file(&target);
            Err(e)
        }
    }
}

/// Unbinds and removes a namespace; its devices vanish once nothing else holds it. Absent is fine.
pub fn delete(name: &str) -> Result<(), Error> {
    let target = path(name);
    if let Err(source) = umount2(&target, MntFlags::MNT_DETACH)
        && !matches!(source, nix::Error::EINVAL | nix::Error::ENOENT)
    {
        return Err(Error::Io { what: "unmount", path: target, source: source.into() });
    }
    match fs::remove_file(&target) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Io { what: "remove the file", path: target, source }),
    }
}

/// Opens a namespace by path; holding the file keeps the namespace alive.
pub fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })
}

/// The inode number that tells one namespace from another.
pub fn inode(path: &Path) -> Result<u64, Error> {
    fs::metadata(path).map(|meta| meta.ino()).map_err(|source| Error::Open { path: path.to_owned(), source })
}

/// Moves the calling thread into the namespace. The thread should be one of the caller's own, or the process
/// single-threaded: other threads stay where they are.
pub fn enter(path: &Path) -> Result<(), Error> {
    let file = open(path)?;
    setns(&file, CloneFlags::CLONE_NEWNET).map_err(|e| Error::Enter { path: path.to_owned(), source: e.into() })
}

/// Runs `work` on a thread of its own inside the namespace and returns what it returned. Sockets made there stay in
/// that namespace wherever they are used later.
pub fn run_in<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    on_thread(path, || {
        enter(path)?;
        Ok(work())
    })?
}

/// Runs on a scratch thread, which dies with whatever namespace it entered.
fn on_thread<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let handle = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, work)
            .map_err(|source| Error::Thread { path: path.to_owned(), source })?;
        match handle.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// `/run/netns` must be a shared mount point so that unmounting in one mount namespace reaches the others; the same
/// steps as iproute2's `netns_add`.
fn prepare_dir() -> Result<(), Error> {
    let fail = |what, source: io::Error| Error::Io { what, path: DIR.into(), source };
    fs::create_dir_all(DIR).map_err(|e| fail("create the directory", e))?;
    let share = || {
        let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(None::<&OsStr>, DIR, None::<&OsStr>, flags, None::<&OsStr>)
    };
    match share() {
        Ok(()) => Ok(()),
        Err(nix::Error::EINVAL) => {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(DIR), DIR, None::<&OsStr>, flags, None::<&OsStr>).map_err(|e| fail("bind mount", e.into()))?;
            share().map_err(|e| fail("share the mount", e.into()))
        }
        Err(e) => Err(fail("share the mount", e.into())),
    }
}
