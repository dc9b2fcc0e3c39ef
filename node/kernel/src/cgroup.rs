//! Control groups: the v2 tree that socket programs attach to, on hybrid and pure v2 machines.
//!
//! A node's processes live under `<v2 mount>/gannet/<instance>`. On hybrid machines containers also leave groups of
//! the same path in each v1 hierarchy; removal covers those.
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mount;

/// How long [`remove`] waits for killed processes to leave a group.
pub const KILL_WAIT: Duration = Duration::from_secs(10);

/// Why a cgroup operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no cgroup v2 hierarchy is mounted; mount one with `mount -t cgroup2 none /sys/fs/cgroup/unified`")]
    NoV2,
    #[error("cgroup instance name {0:?} is not a plain relative path")]
    Name(String),
    #[error("{what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("processes {pids:?} in {path} did not die within {seconds} s of SIGKILL")]
    Stuck { path: PathBuf, pids: Vec<i32>, seconds: u64 },
    #[error(transparent)]
    Mount(#[from] mount::Error),
}

/// Where the v2 hierarchy is mounted: `/sys/fs/cgroup` on pure v2, `/sys/fs/cgroup/unified` on hybrid machines.
pub fn v2_mount() -> Result<PathBuf, Error> {
    let mut mounts = mount::list()?.into_iter().filter(|m| m.kind == "cgroup2").map(|m| m.target);
    mounts.next().ok_or(Error::NoV2)
}

/// The mount points of the v1 hierarchies, none on a pure v2 machine.
pub fn v1_mounts() -> Result<Vec<PathBuf>, Error> {
    Ok(mount::list()?.into_iter().filter(|m| m.kind == "cgroup").map(|m| m.target).collect())
}

/// Whether controllers (memory, cpu) are usable on the v2 hierarchy; false on hybrid machines.
pub fn v2_has_controllers() -> Result<bool, Error> {
    let path = v2_mount()?.join("cgroup.controllers");
    let text = fs::read_to_string(&path).map_err(|source| Error::Io { what: "read", path, source })?;
    Ok(!text.trim().is_empty())
}

/// The v2 path of an instance; it need not exist. `instance` may have several components.
pub fn path(instance: &str) -> Result<PathBuf, Error> {
    check(instance)?;
    Ok(v2_mount()?.join("gannet").join(instance))
}

/// Makes the instance's group in the v2 hierarchy; existing is fine.
pub fn create(instance: &str) -> Result<PathBuf, Error> {
    let path = path(instance)?;
    fs::create_dir_all(&path).map_err(|source| Error::Io { what: "create", path: path.clone(), source })?;
    Ok(path)
}

/// Moves a process into a group.
pub fn add_process(group: &Path, pid: u32) -> Result<(), Error> {
    let path = group.join("cgroup.procs");
    fs::write(&path, pid.to_string()).map_err(|source| Error::Io { what: "write", path, source })
}

/// The processes of a group and all groups below it.
pub fn processes(group: &Path) -> Result<Vec<i32>, Error> {
    let mut pids = Vec::new();
    for dir in tree(group)? {
        let path = dir.join("cgroup.procs");
        match fs::read_to_string(&path) {
            Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
            Err(e) if gone(&e) => {}
            Err(source) => return Err(Error::Io { what: "read", path, source }),
        }
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Sends SIGKILL to every process of a group and those below it (cgroup.kill where the kernel has it). Absent is fine.
pub fn kill_all(group: &Path) -> Result<(), Error> {
    let path = group.join("cgroup.kill");
    match fs::write(&path, "1") {
        Ok(()) => return Ok(()),
        Err(e) if gone(&e) && !group.exists() => return Ok(()),
        // v1 hierarchies have no such file.
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.kind() == io::ErrorKind::PermissionDenied => {}
        Err(source) => return Err(Error::Io { what: "write", path, source }),
    }
    let own = std::process::id() as i32;
    for pid in processes(group)? {
        // Pid 0 is a process of another pid namespace, which we cannot name.
        if pid > 1 && pid != own {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    Ok(())
}

/// Kills what runs in an instance's groups and removes them, in the v2 hierarchy and in every v1 hierarchy. The
/// `gannet` parent goes too when it becomes empty. Absent is fine.
pub fn remove(instance: &str) -> Result<(), Error> {
    check(instance)?;
    let mut roots = v1_mounts()?;
    roots.insert(0, v2_mount()?);
    for root in roots {
        let parent = root.join("gannet");
        remove_group(&parent.join(instance))?;
        // Fails while other instances live below it, which is right.
        let _ = fs::remove_dir(&parent);
    }
    Ok(())
}

/// Kills what runs in a group and removes it with all below. Absent is fine.
pub fn remove_group(group: &Path) -> Result<(), Error> {
    if !group.exists() {
        return Ok(());
    }
    let deadline = process::instant() + KILL_WAIT;
    kill_all(group)?;
    loop {
        let mut busy = false;
        for dir in tree(group)?.into_iter().rev() {
            match fs::remove_dir(&dir) {
                Ok(()) => {}
                Err(e) if gone(&e) => {}
                // A process is still dying.
                Err(e) if e.raw_os_error() == Some(nix::libc::EBUSY) => busy = true,
                Err(source) => return Err(Error::Io { what: "remove", path: dir, source }),
            }
        }
        if !busy {
            return Ok(());
        }
        if process::instant() > deadline {
            let pids = processes(group)?;
            return Err(Error::Stuck { path: group.into(), pids, seconds: KILL_WAIT.as_secs() });
        }
        thread::sleep(Duration::from_millis(10));
        kill_all(group)?;
    }
}

/// A group and all below it, parents first.
fn tree(group: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut all = vec![group.to_owned()];
    let mut next = 0;
    while next < all.len() {
        match fs::read_dir(&all[next]) {
            Ok(entries) => all.extend(
                entries.filter_map(Result::ok).filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()),
            ),
            Err(e) if gone(&e) => {}
            Err(source) => return Err(Error::Io { what: "read", path: all[next].clone(), source }),
        }
        next += 1;
    }
    Ok(all)
}

/// The group vanished while we looked at it.
fn gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(nix::libc::ENODEV)
}

fn check(instance: &str) -> Result<(), Error> {
    let plain = !instance.is_empty()
        && !instance.starts_with('/')
        && instance.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if plain { Ok(()) } else { Err(Error::Name(instance.to_owned())) }
}
