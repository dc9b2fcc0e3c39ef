//! A cluster of `gannet dev` for one test run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::command::{output, output_within};
use crate::kubectl::Kubectl;

/// How long the cluster may take to come up.
const START: Duration = Duration::from_secs(240);
/// Lines of each log that a failure shows.
const LOG_LINES: usize = 40;

/// Ranges of their own, so that a cluster of `cargo xtask up` may run beside it; of both families.
const POD_CIDR: &str = "10.188.0.0/16,fd10:188::/48";
const SERVICE_CIDR: &str = "10.189.0.0/16,fd10:189::/112";
const UNDERLAY_CIDR: &str = "10.187.0.0/24,fd10:187::/64";

/// A running cluster. [`Cluster::delete`] ends it; dropping it does so too, silently.
pub struct Cluster {
    pub name: String,
    binary: PathBuf,
    home: TempDir,
    deleted: bool,
}

impl Cluster {
    /// The addresses it uses.
    pub const RANGES: [&str; 3] = [POD_CIDR, SERVICE_CIDR, UNDERLAY_CIDR];
    /// The same as arguments of `gannet dev create`.
    pub const RANGE_ARGUMENTS: [&str; 6] =
        ["--pod-cidr", POD_CIDR, "--service-cidr", SERVICE_CIDR, "--underlay-cidr", UNDERLAY_CIDR];

    /// Creates a cluster of `nodes` nodes with the binary and images that the environment names.
    pub fn create(nodes: u8) -> Result<Self> {
        Self::create_as(nodes, &Self::RANGE_ARGUMENTS)
    }

    /// The same with other arguments of `gannet dev create`.
    pub fn create_as(nodes: u8, arguments: &[&str]) -> Result<Self> {
        let (binary, images) = (variable("GANNET_BIN")?, Self::images()?);
        let name = format!("t{}", std::process::id());
        let cluster = Self { name, binary, home: tempfile::tempdir()?, deleted: false };
        let count = nodes.to_string();
        output_within(START, cluster.gannet(&["dev", "create", "--nodes", &count]).args(arguments))?;
        output(cluster.gannet(&["image", "load"]).arg(images))?;
        output_within(START, &mut cluster.gannet(&["status", "--wait", "--timeout", "3m"]))?;
        Ok(cluster)
    }

    /// The archive of images that scenarios run.
    pub fn images() -> Result<PathBuf> {
        variable("GANNET_IMAGES")
    }

    /// Sockets that containerd's shims keep outside the state directory.
    pub fn shim_sockets(&self) -> Vec<PathBuf> {
        let mut sockets = Vec::new();
        for node in fs::read_dir(self.directory()).into_iter().flatten().flatten() {
            let tasks = node.path().join("containerd/state/io.containerd.runtime.v2.task/k8s.io");
            for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
                let address = fs::read_to_string(task.path().join("address")).unwrap_or_default();
                sockets.extend(address.trim().strip_prefix("unix://").map(PathBuf::from));
            }
        }
        sockets
    }

    /// `gannet` about this cluster.
    pub fn gannet(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_remove("KUBECONFIG").args(words).args(["--name", &self.name]);
        command
    }

    /// `gannet`, as it is.
    pub fn plain_gannet(&self) -> Command {
        Command::new(&self.binary)
    }

    /// kubectl with this cluster's kubeconfig and a cache of its own.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.directory().join("kubeconfig"), self.home.path().to_path_buf())
    }

    /// A file of the run's own.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The state directory.
    pub fn directory(&self) -> PathBuf {
        Path::new("/var/lib/gannet").join(&self.name)
    }

    /// Name of a node, from 1.
    pub fn node(&self, index: u8) -> String {
        format!("{}-{index}", self.name)
    }

    /// State directory of a node.
    pub fn node_dir(&self, index: u8) -> PathBuf {
        self.directory().join(self.node(index))
    }

    /// A command inside a node's network namespace.
    pub fn in_node(&self, index: u8, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/gannet-{}", self.node(index))).arg(program);
        command
    }

    /// Process id of a node's daemon: `node`, `control` or `up`.
    pub fn pid(&self, index: u8, role: &str) -> Result<u32> {
        let path = self.node_dir(index).join("run").join(format!("{role}.pid"));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text.trim().parse().with_context(|| format!("{} holds {text:?}", path.display()))
    }

    /// The ends of all logs, for a failure's report.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let Ok(nodes) = fs::read_dir(self.directory()) else { return text };
        for node in nodes.flatten() {
            for log in ["log", "containerd/containerd.log"] {
                let path = node.path().join(log);
                if let Ok(content) = fs::read_to_string(&path) {
                    let lines: Vec<&str> = content.lines().collect();
                    let end = &lines[lines.len().saturating_sub(LOG_LINES)..];
                    text.push_str(&format!("--- {}\n{}\n", path.display(), end.join("\n")));
                }
            }
        }
        text
    }

    /// Deletes the cluster and returns what that said.
    pub fn delete(&mut self) -> Result<String> {
        self.deleted = true;
        output(&mut self.gannet(&["dev", "delete"]))
    }
}

pub(crate) fn variable(name: &str) -> Result<PathBuf> {
    env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set: run `cargo xtask test`"))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.deleted {
            // The failure that led here is what the report is about.
            let _ = output(&mut self.gannet(&["dev", "delete"]));
        }
    }
}
