//! The node's own containerd: configuration, start, adoption after a restart of the daemon, supervision.
//!
//! It runs in a process group and a cgroup of its own and outlives the daemon; pods outlive both.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use process::Shutdown;
use tokio::io::unix::AsyncFd;

use crate::pause;

/// How long a fresh containerd may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two tries to start it, doubled each time up to [`MAX_BACKOFF`].
const BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// The log is begun anew when it has grown over this at a start, bytes.
const MAX_LOG_BYTES: u64 = 64 << 20;
/// sockaddr_un.sun_path with its final zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot start containerd: {0}; install it with `apt-get install containerd runc`")]
    Spawn(io::Error),
    #[error("the socket path {0} is longer than 107 bytes: choose a shorter --data-dir")]
    SocketPath(PathBuf),
    #[error("containerd does not answer after 60 s; see {log}")]
    Silent { log: PathBuf },
    #[error("containerd ended at once; see {log}")]
    Ended { log: PathBuf },
    #[error("cannot move containerd to its cgroup: {0}")]
    Cgroup(#[from] kernel::cgroup::Error),
    #[error("cannot import {path}: {message}")]
    Import { path: PathBuf, message: String },
}

/// What the daemon decides about its containerd.
#[derive(Clone, Debug)]
pub struct ContainerdConfig {
    /// The daemon's state directory; containerd's own is `containerd` below it.
    pub data_dir: PathBuf,
    /// The node's v2 cgroup; containerd runs in `containerd` below it.
    pub cgroup: PathBuf,
    /// Where the CNI plugin reaches the daemon.
    pub agent_socket: PathBuf,
    /// The `gannet` binary.
    pub binary: PathBuf,
    /// Never ask for an oom_score_adj below the daemon's own (the daemon lacks CAP_SYS_RESOURCE).
    pub restrict_oom: bool,
}

/// A running containerd.
#[derive(Debug)]
pub struct Containerd {
    socket: PathBuf,
}

struct Layout {
    home: PathBuf,
    config: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    pid: PathBuf,
    cni_bin: PathBuf,
    cni_conf: PathBuf,
}

impl Layout {
    fn of(data_dir: &Path) -> Layout {
        let home = data_dir.join("containerd");
        Layout {
            config: home.join("config.toml"),
            socket: home.join("containerd.sock"),
            log: home.join("containerd.log"),
            pid: data_dir.join("run/containerd.pid"),
            cni_bin: data_dir.join("cni/bin"),
            cni_conf: data_dir.join("cni/net.d"),
            home,
        }
    }
}

impl Containerd {
    /// Writes the configuration, adopts the containerd that runs already or starts one, imports the pause image, and
    /// keeps containerd running until `shutdown`, which leaves it running.
    ///
    /// # Errors
    /// When it cannot be started or does not answer.
    pub async fn start(config: ContainerdConfig, shutdown: Shutdown) -> Result<Containerd, Error> {
        let layout = Layout::of(&config.data_dir);
        if layout.socket.as_os_str().len() + ".ttrpc".len() > MAX_SOCKET_PATH {
            return Err(Error::SocketPath(layout.socket));
        }
        prepare(&layout, &config)?;
        let running = match adopt(&layout) {
            Some(running) => running,
            None => spawn(&layout, &config)?,
        };
        wait_ready(&layout, &running).await?;
        let archive = config.data_dir.join("containerd/pause.tar");
        let bytes = pause::archive().map_err(|source| Error::Io { what: "make", path: archive.clone(), source })?;
        write(&archive, &bytes)?;
        import_image(&layout.socket, &archive).await?;
        let socket = layout.socket.clone();
        process::spawn("containerd", supervise(layout, config, running, shutdown));
        Ok(Containerd { socket })
    }

    /// The socket of its CRI service.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// Loads an OCI archive into the runtime's images.
///
/// # Errors
/// With what `ctr` says about it.
pub async fn import_image(socket: &Path, archive: &Path) -> Result<(), Error> {
    let failed = |message: String| Error::Import { path: archive.to_owned(), message };
    let output = tokio::process::Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images", "import"])
        .arg(archive)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| failed(format!("cannot run ctr (part of containerd): {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn prepare(layout: &Layout, config: &ContainerdConfig) -> Result<(), Error> {
    let pid_dir = config.data_dir.join("run");
    for path in [&layout.home, &layout.cni_bin, &layout.cni_conf, &pid_dir] {
        fs::create_dir_all(path).map_err(|source| Error::Io { what: "create", path: path.clone(), source })?;
    }
    write(&layout.config, render(layout, config).as_bytes())?;
    write(&layout.cni_conf.join(cni::conflist::FILE), cni::conflist::render(&config.agent_socket).as_bytes())?;
    for name in [cni::PLUGIN, cni::LOOPBACK] {
        let plugin = layout.cni_bin.join(name);
        if fs::read_link(&plugin).ok().as_deref() != Some(&config.binary) {
            let _ = fs::remove_file(&plugin);
            std::os::unix::fs::symlink(&config.binary, &plugin).map_err(|source| Error::Io {
                what: "link",
                path: plugin,
                source,
            })?;
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, path)).map_err(|source| Error::Io {
        what: "write",
        path: path.to_owned(),
        source,
    })
}

/// containerd's configuration, version 2 (containerd 1.6, docs/cri/config.md).
fn render(layout: &Layout, config: &ContainerdConfig) -> String {
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    format!(
        r#"# Written by the node daemon at each start.
version = 2
root = {root}
state = {state}
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]

[grpc]
  address = {socket}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = {restrict_oom}
  netns_mounts_under_state_dir = true
  tolerate_missing_hugetlb_controller = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = {cni_bin}
  conf_dir = {cni_conf}

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = {runc}
"#,
        root = quoted(&layout.home.join("root")),
        state = quoted(&layout.home.join("state")),
        runc = quoted(&layout.home.join("runc")),
        socket = quoted(&layout.socket),
        sandbox = pause::IMAGE,
        restrict_oom = config.restrict_oom,
        cni_bin = quoted(&layout.cni_bin),
        cni_conf = quoted(&layout.cni_conf),
    )
}

/// A process to wait for; a child of ours must be reaped as well.
struct Running {
    pidfd: AsyncFd<OwnedFd>,
    child: Option<Child>,
}

impl Running {
    fn of(pid: u32, child: Option<Child>) -> io::Result<Running> {
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that lend their descriptor away; OwnedFd does not"
        )]
        let pidfd = AsyncFd::new(pidfd)?;
        Ok(Running { pidfd, child })
    }

    /// Returns when the process has ended (pidfd_open(2): the descriptor becomes readable).
    async fn ended(&self) {
        let _ = self.pidfd.readable().await;
    }
}

/// The containerd that an earlier daemon started, if the pid file names one with our configuration.
fn adopt(layout: &Layout) -> Option<Running> {
    let pid: u32 = fs::read_to_string(&layout.pid).ok()?.trim().parse().ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let config = layout.config.as_os_str().as_encoded_bytes();
    let ours = arguments.split(|byte| *byte == 0).any(|argument| argument == config);
    let running = ours.then(|| Running::of(pid, None).ok()).flatten()?;
    tracing::info!(pid, "adopted the running containerd");
    Some(running)
}

fn spawn(layout: &Layout, config: &ContainerdConfig) -> Result<Running, Error> {
    let log = open_log(&layout.log).map_err(|source| Error::Io { what: "open", path: layout.log.clone(), source })?;
    let errors = log.try_clone().map_err(Error::Spawn)?;
    let child = Command::new("containerd")
        .arg("--config")
        .arg(&layout.config)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(Error::Spawn)?;
    let pid = child.id();
    let group = config.cgroup.join("containerd");
    fs::create_dir_all(&group).map_err(|source| Error::Io { what: "create", path: group.clone(), source })?;
    kernel::cgroup::add_process(&group, pid)?;
    write(&layout.pid, pid.to_string().as_bytes())?;
    tracing::info!(pid, "started containerd");
    Running::of(pid, Some(child)).map_err(Error::Spawn)
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|log| log.len() > MAX_LOG_BYTES) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

async fn wait_ready(layout: &Layout, running: &Running) -> Result<(), Error> {
    let ready = async {
        loop {
            if let Ok(runtime) = cri::Runtime::connect(&layout.socket)
                && cri::RuntimeApi::version(&runtime).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = ready => Ok(()),
        () = running.ended() => Err(Error::Ended { log: layout.log.clone() }),
        () = tokio::time::sleep(START_TIMEOUT) => Err(Error::Silent { log: layout.log.clone() }),
    }
}

async fn supervise(layout: Layout, config: ContainerdConfig, mut running: Running, shutdown: Shutdown) {
    let mut backoff = BACKOFF;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = running.ended() => {}
        }
        if let Some(mut child) = running.child.take() {
            let _ = child.wait();
        }
        tracing::warn!("containerd ended; starting it again");
        running = loop {
            match spawn(&layout, &config) {
                Ok(fresh) => break fresh,
                Err(error) => tracing::error!(%error, "cannot start containerd"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(MAX_BACKOFF),
            }
        };
        match wait_ready(&layout, &running).await {
            Ok(()) => backoff = BACKOFF,
            Err(error) => {
                tracing::error!(%error, "containerd is not ready");
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
    }
}
