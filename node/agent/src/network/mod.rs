//! The node's network: addresses for pods, CNI attach and detach, the fabric stream and the data plane it feeds, the
//! records of the node's DNS server.
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use wire::agent::{AttachReply, AttachRequest, DetachRequest};

/// What the network needs to know at its start.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    pub node_name: String,
    /// State directory of the node; pins go to `bpf/`, leases to `network.json`.
    pub data_dir: PathBuf,
    /// Interface that carries `node_ip`.
    pub uplink: String,
    pub node_ip: IpAddr,
    /// The node's pod range if it is known already; else [`Network::set_pod_cidr`] says it.
    pub pod_cidr: Option<IpNet>,
    /// `https://host:6444`.
    pub fabric_url: String,
    /// The cluster's CA and this node's client certificate and key, PEM.
    pub identity: crate::Identity,
    /// The node's v2 cgroup, where socket programs are attached.
    pub cgroup: PathBuf,
    /// Service address of the cluster's DNS.
    pub dns_ip: IpAddr,
    pub cluster_domain: String,
    pub service_cidr: IpNet,
    pub cluster_cidr: IpNet,
}

/// Why a network operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the node has no pod CIDR yet")]
    NoPodCidr,
}

/// Where the network stands.
#[derive(Clone, Debug, Default)]
pub struct NetworkStatus {
    /// Last epoch that came from the fabric, 0 for none.
    pub epoch_received: u64,
    /// Last epoch whose tables are live.
    pub epoch_applied: u64,
    pub services: u32,
    pub backends: u32,
    pub pods: u32,
    /// The fabric stream is up.
    pub connected: bool,
    /// Why the network is not ready (the Node's NetworkUnavailable message); `None` when pods can be attached.
    pub error: Option<String>,
}

/// The node's network.
pub struct Network {}

impl Network {
    /// Prepares devices and BPF in the calling process's network namespace, starts the DNS server and follows the
    /// fabric until `shutdown`. What an earlier daemon left in the kernel goes on working meanwhile.
    pub async fn start(config: NetworkConfig, shutdown: CancellationToken) -> Result<Arc<Network>, Error> {
        let _ = (config, shutdown);
        Err(Error::NoPodCidr)
    }

    /// Says the node's pod range; the same again is fine, another one is an error once pods have addresses.
    pub async fn set_pod_cidr(&self, cidr: IpNet) -> Result<(), Error> {
        let _ = cidr;
        Err(Error::NoPodCidr)
    }

    /// CNI ADD: returns when the pod's interface is up and its address is programmed. Repeating it is fine.
    pub async fn attach(&self, request: AttachRequest) -> Result<AttachReply, Error> {
        let _ = request;
        Err(Error::NoPodCidr)
    }

    /// CNI DEL: absent is fine.
    pub async fn detach(&self, request: DetachRequest) -> Result<(), Error> {
        let _ = request;
        Err(Error::NoPodCidr)
    }

    /// CNI CHECK: what [`Network::attach`] answered, or an error if it does not stand any more.
    pub async fn check(&self, request: AttachRequest) -> Result<AttachReply, Error> {
        let _ = request;
        Err(Error::NoPodCidr)
    }

    /// Where the network stands.
    pub fn status(&self) -> NetworkStatus {
        NetworkStatus::default()
    }
}
