//! Servers that a measurement starts itself: ours, or kube-apiserver with etcd where they are installed. Each has its
//! own directory and ports and ends with the value that holds it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::Method;
use tempfile::TempDir;

use super::connection::Connection;
use super::target::Target;

/// How long a server may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is asked.
const READY_INTERVAL: Duration = Duration::from_millis(2);

/// Which control plane is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `gannet control` at this path, with its own store.
    Gannet(PathBuf),
    /// `gannet control` at this path, over etcd.
    GannetOnEtcd(PathBuf),
    /// `kube-apiserver` at this path, over etcd.
    Upstream(PathBuf),
}

/// A control plane of ours to start and kill.
pub struct Server {
    kind: Kind,
    dir: TempDir,
    api_port: u16,
    fabric_port: u16,
    etcd_port: u16,
    etcd: Option<Child>,
    child: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut etcd) = self.etcd.take() {
            let _ = etcd.kill();
            let _ = etcd.wait();
        }
    }
}

impl Server {
    /// Prepares directories, ports and, where needed, etcd; the control plane itself is not started yet.
    ///
    /// # Errors
    /// When a program is missing.
    pub fn new(kind: Kind) -> anyhow::Result<Server> {
        let dir = tempfile::Builder::new().prefix("gannet-bench-").tempdir()?;
        let held = (0..4).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<Vec<_>, _>>()?;
        let port = |at: usize| -> anyhow::Result<u16> { Ok(held[at].local_addr()?.port()) };
        let (api_port, fabric_port, etcd_port, peer_port) = (port(0)?, port(1)?, port(2)?, port(3)?);
        drop(held);
        let etcd = match &kind {
            Kind::Gannet(_) => None,
            Kind::GannetOnEtcd(_) | Kind::Upstream(_) => Some(start_etcd(dir.path(), etcd_port, peer_port)?),
        };
        if let Kind::Upstream(_) = &kind {
            super::upstream::write_files(dir.path(), api_port)?;
        }
        Ok(Server { kind, dir, api_port, fabric_port, etcd_port, etcd, child: None })
    }

    /// Starts the control plane and waits until it is ready. Returns how long that took.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub async fn start(&mut self) -> anyhow::Result<(Target, Duration)> {
        let started = process::instant();
        let log = std::fs::File::create(self.dir.path().join("log"))?;
        let mut command = match &self.kind {
            Kind::Gannet(binary) => self.gannet(binary),
            Kind::GannetOnEtcd(binary) => {
                let mut command = self.gannet(binary);
                command.arg("--store").arg(format!("etcd://127.0.0.1:{}", self.etcd_port));
                command
            }
            Kind::Upstream(binary) => super::upstream::command(binary, self.dir.path(), self.api_port, self.etcd_port),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().with_context(|| format!("cannot start {:?}", self.kind))?);
        let kubeconfig = self.dir.path().join("kubeconfig");
        loop {
            if let Ok(target) = Target::from_kubeconfig(&kubeconfig, None)
                && ready(&target).await
            {
                return Ok((target, started.elapsed()));
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().transpose());
            if ended.is_some() || started.elapsed() > READY_TIMEOUT {
                let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                bail!("{:?} did not become ready; its last lines, newest first: {tail:#?}", self.kind);
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
    }

    /// kill -9 of the control plane; etcd stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Resident memory of the control plane, and of etcd if it has one.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        [&self.child, &self.etcd].into_iter().flatten().map(|child| resident_bytes(child.id(), "VmRSS:")).sum()
    }

    /// The highest resident memory of the control plane since it started.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.child.as_ref().map_or(0, |child| resident_bytes(child.id(), "VmHWM:"))
    }

    /// Process of the control plane.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn gannet(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.arg("control").arg("--data-dir").arg(self.dir.path()).args([
            "--advertise",
            "127.0.0.1",
            "--bind",
            "127.0.0.1",
            "--api-port",
            &self.api_port.to_string(),
            "--fabric-port",
            &self.fabric_port.to_string(),
        ]);
        command
    }
}

async fn ready(target: &Target) -> bool {
    let asked = async { Connection::open(target).await?.must(&Method::GET, "/readyz", &[]).await };
    matches!(tokio::time::timeout(Duration::from_secs(5), asked).await, Ok(Ok(_)))
}

fn start_etcd(dir: &Path, port: u16, peer_port: u16) -> anyhow::Result<Child> {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    Command::new("etcd")
        .arg(format!("--data-dir={}", dir.join("etcd").display()))
        .args([&format!("--listen-client-urls={client}"), &format!("--advertise-client-urls={client}")])
        .args([&format!("--listen-peer-urls={peer}"), &format!("--initial-advertise-peer-urls={peer}")])
        .args([&format!("--initial-cluster=default={peer}"), "--quota-backend-bytes=8589934592"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start etcd: apt-get install etcd-server")
}

fn resident_bytes(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
