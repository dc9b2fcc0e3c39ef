//! The node's network: addresses for pods, CNI attach and detach, the fabric stream and the data plane it feeds, the
//! records of the node's DNS server.
//!
//! Threads and tasks: thread `datapath` owns the tables, the leases and the fold of the fabric ([`plane`]) and reads
//! one bounded channel of commands; task `fabric` ([`stream`]) owns the connection to the control plane, sends deltas
//! down that channel and acknowledges what comes back; task `service-health` ([`health`]) answers load balancers; thread `network events`
//! ([`events`]) reads what the programs tell. Readers of the state get snapshots over a watch channel.
mod events;
pub mod health;
mod host_port;
mod ipam;
mod lease;
mod plane;
mod policy;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use wire::agent::{AttachReply, AttachRequest, DetachRequest};

use events::Callers;
pub use events::{Noted, Recent};
pub use plane::Names;
use plane::{Command, Plane};

/// Gateways of every pod and addresses of the node's DNS server, on `lo` of every node. The IPv6 one is of a range that is ours alone
/// (RFC 4193): a server cannot be reached at a link-local address without naming a link.
pub const GATEWAYS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1)), IpAddr::V6(Ipv6Addr::new(0xfd67, 0x616e, 0x6e65, 0x74, 0, 0, 0, 1))];
/// Commands waiting for the data plane; senders wait when it is full.
const COMMANDS: usize = 64;
/// Pairs of client and Service with metrics of their own; the rest is added up.
pub const MAX_LABELS: usize = 1_000;
/// How long a pod waits for the fabric to say what its policy is; mostly it has, before the runtime asks for the interface.
pub const POLICY_WAIT: Duration = Duration::from_secs(10);

/// What the network needs to know at its start.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    pub node_name: String,
    /// State directory of the node; pins go to `bpf/`, leases to `network.json`.
    pub data_dir: PathBuf,
    /// Interface that carries `node_ips`.
    pub uplink: String,
    /// Reach the pods of nodes that say the same without a tunnel.
    pub native: bool,
    /// At most one of each family; tunnels end at the first.
    pub node_ips: Vec<IpAddr>,
    /// The node's pod ranges if they are known already; else [`Network::set_pod_cidrs`] says them.
    pub pod_cidrs: Vec<IpNet>,
    /// `https://host:6444`.
    pub fabric_url: String,
    /// The cluster's CA and this node's client certificate and key, PEM.
    pub identity: crate::Identity,
    /// The node's v2 cgroup, where socket programs are attached.
    pub cgroup: PathBuf,
    /// Service addresses of the cluster's DNS.
    pub dns_ips: Vec<IpAddr>,
    pub cluster_domain: String,
    pub service_cidrs: Vec<IpNet>,
    pub load_balancing: kernel::LoadBalancing,
    /// Logarithm of the translated connections that the node has room for; `None`: as memory allows.
    pub flow_bits: Option<u32>,
}

impl NetworkConfig {
    /// The families that the node serves: those of which it has an address itself.
    pub fn gateways(&self) -> Vec<IpAddr> {
        let serves = |gateway: &IpAddr| self.node_ips.iter().any(|ip| ip.is_ipv4() == gateway.is_ipv4());
        GATEWAYS.into_iter().filter(serves).collect()
    }
}

/// Why a network operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the node has no pod CIDR yet; the control plane assigns one after the node has registered")]
    NoPodCidr,
    #[error("all {0} addresses of the node's pod CIDR {1} are in use")]
    Exhausted(u128, IpNet),
    #[error("the pod CIDRs cannot become {}: pods have addresses of {}", list(.new), list(.old))]
    PodCidrChange { old: Vec<IpNet>, new: Vec<IpNet> },
    #[error("a pod CIDR with at least 4 addresses is needed, not {0}")]
    PodCidr(IpNet),
    #[error(
        "pods get no addresses of {0}: the node has none of that family; give --node-ip one of each, separated by a comma"
    )]
    NoNodeAddress(IpNet),
    #[error("{0} is no port of a node and a pod")]
    PortMapping(String),
    #[error("CNI request has no {0}")]
    Missing(&'static str),
    #[error(
        "the control plane has not yet said which network policies select pod {0}; without them it may not send or receive"
    )]
    PolicyUnknown(String),
    #[error("all {} places for pods are taken", datapath::policy::SEATS - 1)]
    Seats,
    #[error("no attachment of container {0} stands")]
    NotAttached(String),
    #[error(transparent)]
    Kernel(#[from] kernel::bpf::Error),
    #[error(transparent)]
    Lease(#[from] lease::Error),
    #[error(transparent)]
    Dns(#[from] dns::Error),
    #[error("fabric connection settings: {0}")]
    Fabric(#[source] tonic::transport::Error),
    #[error("{0}")]
    Stale(#[from] datapath::Stale),
    #[error("no state has come from the control plane yet; `gannet status` says whether the fabric is connected")]
    NoState,
    #[error("start a thread of the data plane: {0}")]
    Thread(#[source] std::io::Error),
    #[error("the node's network is shutting down")]
    Stopped,
}

/// Where the network stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkStatus {
    /// Last epoch that came from the fabric, 0 for none.
    pub epoch_received: u64,
    /// Last epoch whose tables are live.
    pub epoch_applied: u64,
    /// Service ports times addresses in the table.
    pub services: u32,
    pub backends: u32,
    pub pods: u32,
    /// When the tables were last brought up to date.
    pub updated: Option<jiff::Timestamp>,
    /// What `healthCheckNodePort`s answer.
    pub health_checks: Arc<BTreeMap<NonZeroU16, datapath::HealthCheck>>,
    /// What the tables have no room for.
    pub full: Arc<Full>,
    /// The fabric stream is up.
    pub connected: bool,
    /// What handles the uplink's packets, and how other nodes' backends are reached: `xdp-native, snat`.
    pub uplink: String,
    /// Why the network is not ready (the Node's NetworkUnavailable message); `None` when pods can be attached.
    pub error: Option<String>,
}

/// Frontends that the tables have no room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Full {
    /// They do not work, stand as they were, or are not open to all who may come.
    pub refused: BTreeSet<abi::ServiceKey>,
    /// Their endpoints have equal shares where they should have those of a ring.
    pub flat: BTreeSet<abi::ServiceKey>,
}

impl NetworkStatus {
    /// Whether traffic for Services may be sent to this node: its tables are those of some state of the cluster, and can be written.
    pub fn is_healthy(&self) -> bool {
        self.epoch_applied > 0 && self.error.is_none()
    }
}

/// The node's network.
#[derive(Debug)]
pub struct Network {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<NetworkStatus>,
    dns: Arc<dns::Table>,
    recent: Arc<Recent>,
    seen: kernel::bpf::Seen,
    callers: Mutex<Callers>,
    labels: Mutex<BTreeSet<(String, String)>>,
}

impl Network {
    /// Prepares devices and BPF in the calling process's network namespace, starts the DNS server and follows the
    /// fabric until `shutdown`. What an earlier daemon left in the kernel goes on working meanwhile.
    pub async fn start(config: NetworkConfig, shutdown: CancellationToken) -> Result<Arc<Network>, Error> {
        let client = stream::endpoint(&config)?;
        let dns = Arc::new(dns::Table::new(&config.cluster_domain));
        let (publish, status) = watch::channel(NetworkStatus::default());
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (opened, ready) = oneshot::channel();
        let settings = config.clone();
        let (publish, table) = (Arc::new(publish), dns.clone());
        let status_of_plane = publish.clone();
        let own = commands.downgrade();
        process::spawn_thread("datapath", move || match Plane::open(&settings, status_of_plane, table) {
            Ok(plane) => {
                // The receiver is gone only if `start` was dropped; then the channel closes as well.
                let _ = opened.send(Ok(()));
                plane.run(inbox, &own);
            }
            Err(e) => {
                let _ = opened.send(Err(e));
            }
        })
        .map_err(Error::Thread)?;
        ready.await.map_err(|_| Error::Stopped)??;
        let listen = config.gateways().into_iter().map(|ip| SocketAddr::new(ip, 53)).collect();
        dns::Server::start(listen, dns.clone(), upstreams(&config), shutdown.clone()).await?;
        process::spawn("service-health", health::serve(status.clone(), health::PROXY_PORT, shutdown.clone()));
        let pins = pin_dir(&config.data_dir);
        let recent = Recent::follow(&pins, &config.data_dir, shutdown.clone())?;
        let seen = kernel::bpf::Seen::new(&pins);
        let callers = Mutex::new(Callers::of(&config.data_dir));
        let labels = Mutex::default();
        let network = Arc::new(Network { commands: commands.clone(), status, dns, recent, seen, callers, labels });
        process::spawn("fabric", stream::follow(client, config.node_name, commands, publish, shutdown));
        Ok(network)
    }

    /// Says the node's pod ranges, at most one of each family, the one of `podIP` first; the same again is fine, others are an error once
    /// pods have addresses outside of them.
    pub async fn set_pod_cidrs(&self, cidrs: Vec<IpNet>) -> Result<(), Error> {
        self.ask(|reply| Command::SetPodCidrs(cidrs, reply)).await
    }

    /// CNI ADD: returns when the pod's policy is live, its interface is up and its address is programmed. Repeating it is fine. It
    /// waits up to [`POLICY_WAIT`] for the fabric to say what the pod's policy is.
    pub async fn attach(&self, request: AttachRequest) -> Result<AttachReply, Error> {
        let mut status = self.status.clone();
        let deadline = tokio::time::sleep(POLICY_WAIT);
        tokio::pin!(deadline);
        loop {
            let seen = status.borrow_and_update().epoch_applied;
            let result = self.ask(|reply| Command::Attach(request.clone(), reply)).await;
            let Err(Error::PolicyUnknown(_)) = result else { return result };
            tokio::select! {
                () = &mut deadline => return result,
                later = status.wait_for(|status| status.epoch_applied != seen) => if later.is_err() { return Err(Error::Stopped) },
            }
        }
    }

    /// CNI DEL: absent is fine.
    pub async fn detach(&self, request: DetachRequest) -> Result<(), Error> {
        self.ask(|reply| Command::Detach(request, reply)).await
    }

    /// CNI CHECK: what [`Network::attach`] answered, or an error if it does not stand any more.
    pub async fn check(&self, request: AttachRequest) -> Result<AttachReply, Error> {
        self.ask(|reply| Command::Check(request, reply)).await
    }

    /// The tables as text.
    pub async fn dump(&self) -> Result<String, Error> {
        self.ask(Command::Dump).await
    }

    /// What differs between the kernel's tables and what the cluster's state compiles to; `repair` mends it.
    pub async fn verify(&self, repair: bool) -> Result<Vec<datapath::Difference>, Error> {
        self.ask(|reply| Command::Verify(repair, reply)).await
    }

    /// The latest drops and new flows.
    pub fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// The kernel's tables and programs, read only.
    pub fn seen(&self) -> &kernel::bpf::Seen {
        &self.seen
    }

    /// An address of the network namespace of a cookie, if a pod has it.
    pub fn caller(&self, cookie: u64) -> Option<IpAddr> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).find(cookie)
    }

    /// Whose the frontends and the node's addresses are. Not for asynchronous callers: it waits.
    pub fn names(&self, keys: Vec<abi::ServiceKey>) -> Result<Names, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.blocking_send(Command::Names(keys, reply)).map_err(|_| Error::Stopped)?;
        answer.blocking_recv().map_err(|_| Error::Stopped)?
    }

    /// Whether a client and a Service may have metrics of their own: the first [`MAX_LABELS`] that ask, for as long as the daemon runs, so
    /// that no counter of anybody goes back.
    pub fn may_label(&self, client: &str, service: &str) -> bool {
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = (client.to_owned(), service.to_owned());
        labels.contains(&pair) || labels.len() < MAX_LABELS && labels.insert(pair)
    }

    /// Where the network stands.
    pub fn status(&self) -> NetworkStatus {
        self.status.borrow().clone()
    }

    /// Changes of [`Network::status`].
    pub fn watch_status(&self) -> watch::Receiver<NetworkStatus> {
        self.status.clone()
    }

    /// The records that the node's DNS server answers from.
    pub fn dns(&self) -> &Arc<dns::Table> {
        &self.dns
    }

    async fn ask<T>(&self, command: impl FnOnce(plane::Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}

/// The name servers of the host, without our own.
fn upstreams(config: &NetworkConfig) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let own: Vec<IpAddr> = GATEWAYS.iter().chain(&config.dns_ips).copied().collect();
    dns::forward::upstreams(&text, &own)
}

/// Ranges as people write them.
fn list(ranges: &[IpNet]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Where pins go.
fn pin_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("bpf")
}
