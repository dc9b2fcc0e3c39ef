//! What all parts of the daemon share. Nothing in it is mutable except through its own synchronized types.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use client::Client;
use cri::RuntimeApi;
use cri::convert::DnsOptions;
use k8s_openapi::api::core::v1::Service;
use pod::Facts;
use pod::resources::List;
use tokio::sync::{Notify, Semaphore, watch};

use crate::config::Config;
use crate::facts::Machine;
use crate::network::Network;
use crate::notes::Notes;
use crate::paths::Paths;

/// Images fetched at the same time; more wait.
const PULLS_LIMIT: usize = 5;
/// Sandboxes and containers started at the same time; more wait.
const STARTS_LIMIT: usize = 8;

/// Shared by every task of the daemon.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) paths: Paths,
    pub(crate) machine: Machine,
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn RuntimeApi>,
    /// Set once the network stands.
    pub(crate) network: OnceLock<Arc<Network>>,
    /// Why the network does not stand, for the Node's conditions.
    pub(crate) network_trouble: watch::Sender<Option<String>>,
    pub(crate) notes: Notes,
    /// Services of all namespaces, for environment variables.
    pub(crate) services: watch::Receiver<Arc<Vec<Service>>>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) dns: DnsOptions,
    /// The lowest oom_score_adj the daemon may give away.
    pub(crate) oom_floor: Option<i64>,
    /// Pulled to look at the runtime before the next period.
    pub(crate) look: Notify,
    pub(crate) pulls: Semaphore,
    pub(crate) starts: Semaphore,
    /// Cgroup below which pods run, as the runtime wants it: `/gannet/<instance>/kubepods`.
    pub(crate) cgroup_parent: String,
}

/// The parts of a [`Context`] that are made elsewhere.
pub(crate) struct Parts {
    pub(crate) machine: Machine,
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn RuntimeApi>,
    pub(crate) notes: Notes,
    pub(crate) services: watch::Receiver<Arc<Vec<Service>>>,
}

impl Context {
    pub(crate) fn new(config: Config, parts: Parts) -> Context {
        let facts = Facts { host_ips: config.node_ips.clone(), runtime: "containerd".to_owned() };
        let dns = DnsOptions {
            cluster_servers: config.cluster_dns.iter().map(ToString::to_string).collect(),
            cluster_domain: config.cluster_domain.clone(),
            host: crate::facts::resolv_conf(),
        };
        Context {
            paths: Paths::new(&config.data_dir),
            machine: parts.machine,
            client: parts.client,
            runtime: parts.runtime,
            network: OnceLock::new(),
            network_trouble: watch::Sender::new(Some("the network is starting".to_owned())),
            notes: parts.notes,
            services: parts.services,
            facts: Arc::new(facts),
            dns,
            oom_floor: crate::facts::oom_floor(),
            look: Notify::new(),
            pulls: Semaphore::new(PULLS_LIMIT),
            starts: Semaphore::new(STARTS_LIMIT),
            cgroup_parent: format!("{}/kubepods", cgroup_name(&config.cgroup)),
            config,
        }
    }

    /// Why pods cannot be attached now, if they cannot.
    pub(crate) fn network_error(&self) -> Option<String> {
        match self.network.get() {
            Some(network) => network.status().error,
            None => self.network_trouble.borrow().clone().or_else(|| Some("the network is starting".to_owned())),
        }
    }

    /// What handles the uplink's packets, once it is known.
    pub(crate) fn uplink(&self) -> Option<String> {
        Some(self.network.get()?.status().uplink)
    }

    /// What pods may use of the node.
    pub(crate) fn allocatable(&self) -> List {
        self.machine.allocatable()
    }

    pub(crate) fn host_ips(&self) -> Vec<IpAddr> {
        self.facts.host_ips.clone()
    }
}

/// The cgroup's name below the mount of the v2 hierarchy.
fn cgroup_name(path: &std::path::Path) -> String {
    let mount = kernel::cgroup::v2_mount().unwrap_or_else(|_| PathBuf::from("/sys/fs/cgroup"));
    match path.strip_prefix(&mount) {
        Ok(rest) => format!("/{}", rest.display()),
        Err(_) => path.display().to_string(),
    }
}
