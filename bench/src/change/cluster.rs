//! A `gannet dev` cluster of one node, gone when dropped.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Ranges of their own, so that another cluster may run beside it.
const RANGES: [&str; 6] =
    ["--pod-cidr", "10.196.0.0/16", "--service-cidr", "10.197.0.0/16", "--underlay-cidr", "10.195.0.0/24"];
/// This machine's address on the nodes' network.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 195, 0, 1);

pub(super) struct Cluster {
    gannet: PathBuf,
    name: String,
}

impl Cluster {
    pub(super) fn create(gannet: &Path) -> anyhow::Result<Cluster> {
        let cluster = Cluster { gannet: gannet.to_owned(), name: format!("bench{}", std::process::id()) };
        cluster.gannet(&[&["dev", "create", "--nodes", "1"], &RANGES[..]].concat())?;
        cluster.gannet(&["status", "--wait", "--timeout", "3m"])?;
        Ok(cluster)
    }

    pub(super) fn kubeconfig(&self) -> anyhow::Result<PathBuf> {
        Ok(self.gannet(&["kubeconfig", "--path"])?.trim().into())
    }

    /// The node's network namespace.
    pub(super) fn netns(&self) -> PathBuf {
        format!("/run/netns/gannet-{}-1", self.name).into()
    }

    /// An address of this machine that the node reaches.
    pub(super) fn outside(&self) -> IpAddr {
        OUTSIDE.into()
    }

    fn gannet(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.gannet);
        command.env_remove("KUBECONFIG").args(words).args(["--name", &self.name]);
        let output = command.output().with_context(|| format!("cannot run {}", self.gannet.display()))?;
        if !output.status.success() {
            bail!("gannet {} failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(e) = self.gannet(&["dev", "delete"]) {
            eprintln!("the cluster {} stays: {e:#}", self.name);
        }
    }
}
