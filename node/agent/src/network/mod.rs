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

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use wire::agent::{AttachReply, AttachRequest, DetachRequest};

pub use events::{Noted, Recent};
use plane::{Command, Plane};

/// Gateway of every pod and address of the node's DNS server, on `lo` of every node.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Commands waiting for the data plane; senders wait when it is full.
const COMMANDS: usize = 64;
/// How long a pod waits for the fabric to say what its policy is; mostly it has, before the runtime asks for the interface.
pub const POLICY_WAIT: Duration = Duration::from_secs(10);

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
    pub load_balancing: kernel::LoadBalancing,
}

/// Why a network operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the node has no pod CIDR yet; the control plane assigns one after the node has registered")]
    NoPodCidr,
    #[error("all {0} addresses of the node's pod CIDR {1} are in use")]
    Exhausted(usize, IpNet),
    #[error("the pod CIDR cannot become {new}: pods have addresses of {old}")]
    PodCidrChange { old: IpNet, new: IpNet },
    #[error("a pod CIDR of IPv4 with at least 4 addresses is needed, not {0}")]
    PodCidr(IpNet),
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
    /// The fabric stream is up.
    pub connected: bool,
    /// What handles the uplink's packets, and how other nodes' backends are reached: `xdp-native, snat`.
    pub uplink: String,
    /// Why the network is not ready (the Node's NetworkUnavailable message); `None` when pods can be attached.
    pub error: Option<String>,
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
        let listen = vec![SocketAddr::from((GATEWAY, 53))];
        dns::Server::start(listen, dns.clone(), upstreams(&config), shutdown.clone()).await?;
        process::spawn("service-health", health::serve(status.clone(), health::PROXY_PORT, shutdown.clone()));
        let pins = pin_dir(&config.data_dir);
        let recent = Recent::follow(&pins, &config.data_dir, shutdown.clone())?;
        let seen = kernel::bpf::Seen::new(&pins);
        let network = Arc::new(Network { commands: commands.clone(), status, dns, recent, seen });
        process::spawn("fabric", stream::follow(client, config.node_name, commands, publish, shutdown));
        Ok(network)
    }

    /// Says the node's pod range; the same again is fine, another one is an error once pods have addresses.
    pub async fn set_pod_cidr(&self, cidr: IpNet) -> Result<(), Error> {
        self.ask(|reply| Command::SetPodCidr(cidr, reply)).await
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
    dns::forward::upstreams(&text, &[IpAddr::V4(GATEWAY), config.dns_ip])
}

/// Where pins go.
fn pin_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("bpf")
}
