//! The supervisor against the real containerd (root and containerd needed; `cargo xtask setup` installs it).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::time::Duration;

use agent::containerd::{Containerd, ContainerdConfig};
use cri::RuntimeApi as _;

struct Place {
    directory: tempfile::TempDir,
    instance: String,
}

impl Place {
    fn new(name: &str) -> Place {
        let instance = format!("{name}-{}", std::process::id());
        Place { directory: tempfile::tempdir().unwrap(), instance }
    }

    fn config(&self) -> ContainerdConfig {
        ContainerdConfig {
            data_dir: self.directory.path().to_owned(),
            cgroup: kernel::cgroup::create(&self.instance).unwrap(),
            agent_socket: self.directory.path().join("agent.sock"),
            binary: PathBuf::from("/bin/true"),
            restrict_oom: true,
        }
    }

    fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.directory.path().join("run/containerd.pid")).unwrap();
        text.trim().parse().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let group = kernel::cgroup::path(&self.instance).unwrap();
        let _ = kernel::cgroup::kill_all(&group);
        let _ = kernel::mount::unmount_below(self.directory.path());
        let _ = kernel::cgroup::remove(&self.instance);
    }
}

#[tokio::test]
async fn it_is_adopted_and_started_again() {
    let place = Place::new("containerd-test");
    let first = process::Shutdown::new();
    let containerd = Containerd::start(place.config(), first.clone()).await.unwrap();
    let runtime = cri::Runtime::connect(containerd.socket()).unwrap();
    assert_eq!(runtime.version().await.unwrap().runtime_name, "containerd");
    assert!(runtime.image_status(agent::pause::IMAGE).await.unwrap().is_some());
    let pid = place.pid();

    // A daemon that restarts finds it running and leaves it alone.
    first.cancel();
    let second = process::Shutdown::new();
    let containerd = Containerd::start(place.config(), second.clone()).await.unwrap();
    assert_eq!(place.pid(), pid);

    // One that is killed comes back.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let back = tokio::time::timeout(Duration::from_secs(60), async {
        while place.pid() == pid || cri::Runtime::connect(containerd.socket()).unwrap().version().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    back.await.unwrap();
    second.cancel();
}
