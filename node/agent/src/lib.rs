//! The node daemon: pods, images, volumes, probes, the node's API object, the node API on 10250 and the local socket.
//!
//! Tasks, and what each reads and writes:
//!
//! | task | reads | writes |
//! |---|---|---|
//! | `pods` | API watch of this node's pods | events to each pod's worker; starts workers |
//! | `pod` (one a pod) | its event channel, a timer | the pod's state (watch channel), actions |
//! | `pod action` (one an action) | | runtime, files; one event back to the worker |
//! | `pod status` (one a pod) | newest status (watch channel) | pods/status in the API |
//! | `probe` (one a probe) | a timer | results to the worker |
//! | `runtime watch` | states of all pods, the runtime's lists, the nudge `look` | events to workers |
//! | `orphans` | the runtime's lists, directories | removals |
//! | `logs` | sizes of logs | rotated and removed logs |
//! | `volume refresh` (one a pod and period) | API | volume files |
//! | `events` | its queue | Event objects |
//! | `services` | API watch | list of Services (watch channel) |
//! | `node`, `lease`, `pod range` | machine, runtime, API watch of the Node | Node status, Lease, the network's pod range |
//! | `network` | | starts [`network::Network`], which has threads of its own |
//! | `agent socket` | `agent.sock` | the network |
//! | `node API` | port 10250 | streams ([`serve`]) |
//! | `containerd` | its process | starts it again ([`containerd`]) |

mod config;
pub mod containerd;
mod context;
mod facts;
mod lease;
mod lookup;
pub mod network;
mod node;
mod notes;
mod paths;
pub mod pause;
mod pods;
mod probes;
pub mod serve;
mod socket;
mod sources;
mod statuses;
mod tokens;
mod volumes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use client::{Client, HttpTransport};
pub use config::{Config, Identity};
use cri::RuntimeApi;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, Parts};
use crate::network::{Network, NetworkConfig};
use crate::pods::Pods;

/// Time between attempts to start the network.
const NETWORK_RETRY: Duration = Duration::from_secs(5);

/// Runs the node until `shutdown`. Running pods are left running, so that a restarted daemon adopts them.
///
/// # Errors
/// When the node cannot start at all: no runtime, a taken port, unusable certificates.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let paths = paths::Paths::new(&config.data_dir);
    for directory in [paths.pods(), paths.logs()] {
        std::fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    }
    let listener = listen(&config).await?;
    let socket_path = paths.agent_socket();
    let socket = socket::bind(&socket_path).with_context(|| format!("bind {}", socket_path.display()))?;
    let runtime = runtime(&config, socket_path, &shutdown).await?;
    let client = client(&config)?;
    let parts = Parts {
        machine: facts::Machine::read(&config.data_dir),
        notes: notes::Notes::start(client.clone(), config.node_name.clone(), shutdown.clone()),
        services: sources::watch_services(&client, shutdown.clone()),
        client,
        runtime,
    };
    let context = Arc::new(Context::new(config, parts));
    let pods = Arc::new(Pods::default());
    start(&context, &pods, listener, socket, &shutdown);
    context.notes.node(&context.config.node_name, pod::NoteKind::Normal, "Starting", "Starting kubelet.".to_owned());
    shutdown.cancelled().await;
    Ok(())
}

fn start(
    context: &Arc<Context>,
    pods: &Arc<Pods>,
    listener: TcpListener,
    socket: tokio::net::UnixListener,
    shutdown: &CancellationToken,
) {
    let token = || shutdown.clone();
    process::spawn("agent socket", socket::run(context.clone(), socket, token()));
    process::spawn("network", start_network(context.clone(), token()));
    process::spawn("node", node::run(context.clone(), token()));
    process::spawn("pod range", node::follow_pod_range(context.clone(), token()));
    process::spawn("lease", lease::run(context.clone(), token()));
    process::spawn("pods", pods::run(context.clone(), pods.clone(), token()));
    let identity = &context.config.identity;
    let serving = serve::Config {
        listener,
        serving_cert_pem: identity.serving_cert_pem.clone(),
        serving_key_pem: identity.serving_key_pem.clone(),
        client_ca_pem: identity.ca_pem.clone(),
    };
    let lookup = Arc::new(lookup::Lookup::new(context.clone(), pods.clone()));
    let (runtime, shutdown) = (context.runtime.clone(), token());
    process::spawn("node API", async move {
        if let Err(error) = serve::serve(serving, lookup, runtime, shutdown).await {
            tracing::error!(%error, "the node API does not run: logs, exec and port-forward will fail");
        }
    });
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = (config.node_ip(), node::API_PORT);
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("port {} of {} is taken: is a node running already?", address.1, address.0))
}

async fn runtime(
    config: &Config,
    agent_socket: PathBuf,
    shutdown: &CancellationToken,
) -> anyhow::Result<Arc<dyn RuntimeApi>> {
    let path = match &config.cri_socket {
        Some(path) => path.clone(),
        None => {
            let restrict_oom = facts::oom_floor().is_some();
            if restrict_oom {
                tracing::warn!(
                    "CAP_SYS_RESOURCE is missing: no container gets a lower oom_score_adj than the daemon's"
                );
            }
            let wanted = containerd::ContainerdConfig {
                data_dir: config.data_dir.clone(),
                cgroup: config.cgroup.clone(),
                agent_socket,
                binary: config.binary.clone(),
                restrict_oom,
            };
            containerd::Containerd::start(wanted, shutdown.clone()).await?.socket().to_owned()
        }
    };
    Ok(Arc::new(cri::Runtime::connect(&path)?))
}

fn client(config: &Config) -> anyhow::Result<Client> {
    let identity = client::Identity::certificate(
        config.identity.client_cert_pem.as_bytes(),
        config.identity.client_key_pem.as_bytes(),
    );
    let transport = HttpTransport::new(&config.server_url, config.identity.ca_pem.as_bytes(), &identity)
        .with_context(|| format!("the API server's address {} or the node's certificates", config.server_url))?;
    Ok(Client::new(Arc::new(transport)))
}

/// The task `network`: starts it, and again after a failure, until it stands.
async fn start_network(context: Arc<Context>, shutdown: CancellationToken) {
    let config = &context.config;
    let wanted = NetworkConfig {
        node_name: config.node_name.clone(),
        data_dir: config.data_dir.clone(),
        uplink: config.uplink.clone(),
        native: config.native,
        node_ips: config.node_ips.clone(),
        pod_cidrs: Vec::new(),
        fabric_url: config.fabric_url.clone(),
        identity: config.identity.clone(),
        cgroup: config.cgroup.clone(),
        dns_ips: config.cluster_dns.clone(),
        cluster_domain: config.cluster_domain.clone(),
        service_cidrs: config.service_cidrs.clone(),
        load_balancing: config.load_balancing,
        flow_bits: config.flow_bits,
    };
    loop {
        match Network::start(wanted.clone(), shutdown.clone()).await {
            Ok(network) => {
                context.network_trouble.send_replace(None);
                let _ = context.network.set(network);
                return;
            }
            Err(error) => {
                let message = format!("{error:#}");
                let known = context.network_trouble.borrow().as_ref() == Some(&message);
                if !known {
                    tracing::error!(error = message, "the network does not start; trying again");
                }
                context.network_trouble.send_replace(Some(message));
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(NETWORK_RETRY) => {}
        }
    }
}
