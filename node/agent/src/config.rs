//! What the daemon is told at its start.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::IpNet;

/// Everything the daemon needs to know; `control/gannet` fills it from the command line and the join's answer.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the Node object.
    pub node_name: String,
    /// State directory; the daemon keeps all of its files below it.
    pub data_dir: PathBuf,
    /// The node's addresses on the underlay, its InternalIPs: one, or one of each family. The control plane, the other nodes' tunnels and
    /// the node API use the first; its family is that of pods' `podIP`.
    pub node_ips: Vec<IpAddr>,
    /// Interface that carries `node_ips`.
    pub uplink: String,
    /// The network between the nodes carries pods' addresses: no tunnel to nodes that say the same.
    pub native: bool,
    /// API server, `https://host:6443`.
    pub server_url: String,
    /// Fabric server, `https://host:6444`.
    pub fabric_url: String,
    /// Certificates of this node.
    pub identity: Identity,
    /// An already running runtime's socket; `None`: start and keep a containerd of our own.
    pub cri_socket: Option<PathBuf>,
    /// The node's own v2 cgroup, an absolute directory such as `/sys/fs/cgroup/gannet/node`.
    pub cgroup: PathBuf,
    /// Service addresses of the cluster's DNS, one a family of Services.
    pub cluster_dns: Vec<IpAddr>,
    /// Domain of the cluster, `cluster.local`.
    pub cluster_domain: String,
    /// Ranges of Service addresses, one a family.
    pub service_cidrs: Vec<IpNet>,
    /// XDP on the uplink, and how backends of other nodes are reached from outside.
    pub load_balancing: kernel::LoadBalancing,
    /// Logarithm of the translated connections that the node has room for; `None`: as memory allows.
    pub flow_bits: Option<u32>,
    /// The `gannet` binary, which containerd runs as CNI plugin.
    pub binary: PathBuf,
}

impl Config {
    /// Where the control plane reaches the node.
    pub fn node_ip(&self) -> IpAddr {
        self.node_ips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Addresses with those of the node's first family first, as `podIPs` and `hostIPs` are ordered.
    pub fn sorted(&self, mut ips: Vec<IpAddr>) -> Vec<IpAddr> {
        ips.sort_by_key(|ip| ip.is_ipv4() != self.node_ip().is_ipv4());
        ips
    }
}

/// The node's certificates and keys, PEM.
#[derive(Clone)]
pub struct Identity {
    /// The cluster's CA.
    pub ca_pem: String,
    /// CN=system:node:<name>, O=system:nodes.
    pub client_cert_pem: String,
    pub client_key_pem: String,
    /// For the node API on 10250.
    pub serving_cert_pem: String,
    pub serving_key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}
