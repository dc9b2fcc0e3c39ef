//! A control plane alone on loopback: `gannet control`, real sockets, TLS, the durable store.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::cluster::variable;
use crate::kubectl::Kubectl;
use crate::wait::eventually_within;

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(30);

/// A running control plane; dropping it ends it.
pub struct Plane {
    home: TempDir,
    child: Child,
    pub port: u16,
}

impl Plane {
    /// Starts one with a state of its own and waits until it is ready.
    pub fn start() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let port = free_port()?;
        let child = spawn(home.path(), port)?;
        let mut plane = Self { home, child, port };
        plane.wait_ready()?;
        Ok(plane)
    }

    /// Kills it as a crash would, and starts it again on the same state.
    pub fn crash_and_restart(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(self.home.path(), self.port)?;
        self.wait_ready()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    /// kubectl as the administrator, with a cache of its own.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.kubeconfig(), self.home.path().to_path_buf())
    }

    /// A file of the run's own with this content.
    pub fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.home.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn wait_ready(&mut self) -> Result<()> {
        let (kubeconfig, kubectl) = (self.kubeconfig(), self.kubectl());
        eventually_within(START, "the control plane is ready", || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}\n{}", log(self.home.path()));
            }
            ensure!(kubeconfig.exists(), "no kubeconfig yet");
            kubectl.run(&["get", "--raw", "/readyz"]).map(drop)
        })
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", log(self.home.path()));
        }
    }
}

fn log(home: &Path) -> String {
    std::fs::read_to_string(home.join("log")).unwrap_or_default()
}

fn spawn(home: &Path, port: u16) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(home.join("log"))?;
    Command::new(variable("GANNET_BIN")?)
        .args(["control", "--advertise", "127.0.0.1", "--bind", "127.0.0.1", "--data-dir"])
        .arg(home)
        .args(["--api-port", &port.to_string(), "--fabric-port", &free_port()?.to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start gannet control")
}

/// A port of loopback that nobody has now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
