//! The end of a node: its processes, mounts and control groups are found by name and removed, whatever state a crash
//! left them in. Each removed thing is counted and told.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use kernel::{cgroup, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a supervisor gets to stop its children.
const GRACE: Duration = Duration::from_secs(15);
/// How often its end is looked for.
const POLL: Duration = Duration::from_millis(50);

/// What was removed, by kind.
#[derive(Default)]
pub struct Removed {
    things: BTreeMap<&'static str, Vec<String>>,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.things.is_empty() {
            return f.write_str("nothing was left to remove");
        }
        f.write_str("removed:")?;
        for (kind, names) in &self.things {
            let plural = match (names.len(), kind.ends_with('s')) {
                (1, _) => "",
                (_, true) => "es",
                (_, false) => "s",
            };
            write!(f, "\n  {} {kind}{plural}: {}", names.len(), names.join(", "))?;
        }
        Ok(())
    }
}

impl Removed {
    pub fn add(&mut self, kind: &'static str, name: impl fmt::Display) {
        self.things.entry(kind).or_default().push(name.to_string());
    }

    /// Ends what still runs in the node's control groups, then unmounts what lies in its state directory: pods'
    /// namespaces and root file systems, and the pinned programs and maps.
    pub fn instance(&mut self, instance: &str, data_dir: &Path) -> anyhow::Result<()> {
        let group = cgroup::path(instance)?;
        let sockets = shim_sockets(data_dir);
        let processes = if group.exists() { cgroup::processes(&group)? } else { Vec::new() };
        for pid in &processes {
            self.add("process", format!("{} {pid}", command_name(*pid)));
        }
        if group.exists() {
            self.add("control group", format!("gannet/{instance}"));
        }
        // Also where v2 has none: containers leave groups in the v1 hierarchies.
        cgroup::remove(instance)?;
        let unmounted = mount::unmount_below(data_dir)?;
        if unmounted > 0 {
            self.add("mount tree", format!("{} ({unmounted} mounts)", data_dir.display()));
        }
        for socket in sockets {
            if fs::remove_file(&socket).is_ok() {
                self.add("socket", socket.display());
            }
        }
        Ok(())
    }
}

/// Sockets that containerd's shims keep outside the state directory (containerd, runtime/v2/shim: `/run/containerd/s`),
/// named by the `address` file of each task.
fn shim_sockets(data_dir: &Path) -> Vec<PathBuf> {
    let tasks = data_dir.join("containerd/state/io.containerd.runtime.v2.task/k8s.io");
    let Ok(entries) = fs::read_dir(tasks) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("address")).ok())
        .filter_map(|address| address.trim().strip_prefix("unix://").map(PathBuf::from))
        .filter(|socket| socket.starts_with("/run/containerd/s"))
        .collect()
}

fn command_name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| "process".to_owned(), |name| name.trim().to_owned())
}

/// Asks a process to end, and ends it when it does not.
pub fn terminate(pid: Pid) {
    let runs = || kill(pid, None).is_ok();
    // It may end in between; then there is nothing to stop.
    let _ = kill(pid, Signal::SIGTERM);
    let mut waited = Duration::ZERO;
    while runs() && waited < GRACE {
        thread::sleep(POLL);
        waited += POLL;
    }
    if runs() {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// Removes a state directory.
pub fn purge(data_dir: &Path) -> anyhow::Result<()> {
    fs::remove_dir_all(data_dir).with_context(|| format!("cannot remove {}", data_dir.display()))
}
