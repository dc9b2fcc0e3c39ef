//! Serves the fabric: compiles each View, streams deltas to the nodes, takes their acks.
//!
//! Tasks: the caller's own, which compiles and publishes states to one `tokio::sync::watch` channel; the gRPC server's
//! connections (spawned by tonic); `fabric.stream`, one a node, which reads that channel and writes to its node's
//! bounded queue; `fabric.acks`, one a node, which reads the node's acks into the [`Ledger`].
//!
//! A node that is slow holds nobody up and needs no memory: its stream takes the latest state when its queue has room,
//! so that what it missed comes as one delta.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fabric::{Epoch, State, compile};
use futures::{Stream, StreamExt};
use process::Shutdown;
use rpc::fabric::fabric_server::{Fabric, FabricServer};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status as RpcStatus, Streaming};
use wire::fabric::{Ack, Delta};

use crate::complaints::Complaints;
use crate::views::Views;

/// Deltas that may wait for one node.
pub const NODE_QUEUE: usize = 4;
/// Changes that come within this time of each other go out as one delta.
pub const COALESCE: Duration = Duration::from_millis(1);
/// The largest delta; tonic's own limit on what a node reads must be at least as large.
pub const MAX_DELTA_BYTES: usize = 64 * 1024 * 1024;

const NODE_PREFIX: &str = "system:node:";

/// Which node has which epoch live, for `gannet status`.
#[derive(Debug, Default)]
pub struct Ledger {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    nodes: fabric::Ledger,
    epoch: Epoch,
    warnings: Vec<String>,
}

/// What the ledger says at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// The latest epoch.
    pub epoch: u64,
    /// Each node, by name.
    pub nodes: Vec<NodeStatus>,
    /// Policies of the cluster that do not have the effect that their authors wanted.
    pub warnings: Vec<String>,
}

/// One node's line of the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// The node's name.
    pub name: String,
    /// The last epoch that is live there.
    pub epoch: u64,
    /// Whether its stream is open.
    pub connected: bool,
    /// Whether everything that was sent to it is live there.
    pub current: bool,
    /// Why the last delta was not applied; empty if it was.
    pub error: String,
}

impl Ledger {
    /// What the ledger says now.
    pub fn snapshot(&self) -> Status {
        let inner = self.lock();
        let nodes = inner.nodes.nodes().map(|(name, progress)| NodeStatus {
            name: name.to_owned(),
            epoch: progress.applied.0,
            connected: progress.connected,
            current: progress.connected && progress.sent == inner.epoch && progress.applied == progress.sent,
            error: progress.error.clone(),
        });
        Status { epoch: inner.epoch.0, nodes: nodes.collect(), warnings: inner.warnings.clone() }
    }

    /// Logs the policies' warnings that are new, and keeps all for who asks.
    fn warn(&self, state: &State) {
        let found = state.policy.warnings();
        let mut inner = self.lock();
        if found.is_empty() && inner.warnings.is_empty() {
            return;
        }
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        found.iter().filter(|line| !inner.warnings.contains(line)).for_each(|line| tracing::warn!("{line}"));
        inner.warnings = found;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the fabric until `shutdown`.
pub async fn run_fabric(
    views: Views,
    listener: TcpListener,
    tls: ServerTlsConfig,
    ledger: Arc<Ledger>,
    complaints: Complaints,
    shutdown: Shutdown,
) {
    // Whoever can reach the port must have a certificate of the cluster's CA; whose it is, is checked for each stream.
    let tls = tls.client_auth_optional(false);
    let (states, latest) = watch::channel(Arc::new(State::default()));
    let service = FabricServer::new(Sync { latest, ledger: ledger.clone(), shutdown: shutdown.clone() })
        .max_encoding_message_size(MAX_DELTA_BYTES);
    let server = match Server::builder().tls_config(tls) {
        Ok(server) => server,
        Err(error) => return tracing::error!(%error, "the fabric's certificate is not usable"),
    };
    let incoming = TcpListenerStream::new(listener).inspect(|stream| {
        if let Ok(stream) = stream {
            // A delta is small and must not wait for the next one.
            let _ = stream.set_nodelay(true);
        }
    });
    let mut server = server
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)));
    let serve = server.add_service(service).serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    tokio::select! {
        result = serve => if let Err(error) = result {
            tracing::error!(%error, "the fabric server ended");
        },
        () = publish(views, states, &ledger, complaints) => {}
        () = shutdown.cancelled() => {}
    }
}

/// Compiles one View after the other and publishes each state that says something new.
async fn publish(mut views: Views, states: watch::Sender<Arc<State>>, ledger: &Ledger, mut complaints: Complaints) {
    let mut last = process::instant();
    let mut view = views.latest();
    let mut state = compile(&view, None);
    // What the nodes are sent: `state` may be later, but then it says the same.
    let mut published = Arc::new(state.clone());
    ledger.warn(&state);
    announce(&published, &states, ledger);
    complaints.tell(&view, state.policy.warnings());
    loop {
        let mut next = views.changed().await;
        // A change that comes alone goes out at once; in a burst, one delta goes out each interval.
        let settled = tokio::time::sleep_until(last + COALESCE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                biased;
                () = &mut settled => break,
                later = views.changed() => next = later,
            }
        }
        state = compile(&next, Some((&view, &state)));
        view = next;
        ledger.warn(&state);
        if !published.same_content(&state) {
            published = Arc::new(state.clone());
            announce(&published, &states, ledger);
            last = process::instant();
        }
        complaints.tell(&view, state.policy.warnings());
    }
}

/// Publishes a state, and forgets nodes that have left the cluster.
fn announce(state: &Arc<State>, states: &watch::Sender<Arc<State>>, ledger: &Ledger) {
    {
        let mut inner = ledger.lock();
        inner.epoch = state.epoch;
        let gone: Vec<String> = inner
            .nodes
            .nodes()
            .filter(|(name, progress)| !progress.connected && !state.nodes.contains_key(*name))
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in gone {
            inner.nodes.remove(&name);
        }
    }
    states.send_replace(state.clone());
}

struct Sync {
    latest: watch::Receiver<Arc<State>>,
    ledger: Arc<Ledger>,
    shutdown: Shutdown,
}

#[tonic::async_trait]
impl Fabric for Sync {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<Delta, RpcStatus>> + Send>>;

    async fn sync(&self, request: Request<Streaming<Ack>>) -> Result<Response<Self::SyncStream>, RpcStatus> {
        let node = peer_node(&request)?;
        let mut acks = request.into_inner();
        let first =
            acks.message().await?.ok_or_else(|| RpcStatus::invalid_argument("the stream has no first message"))?;
        if first.node != node {
            return Err(RpcStatus::permission_denied(format!(
                "the certificate is of node {node:?}, the message is of node {:?}",
                first.node
            )));
        }
        tracing::info!(node, epoch = first.epoch, "node joined the fabric");
        let (sender, receiver) = mpsc::channel(NODE_QUEUE);
        {
            let mut inner = self.ledger.lock();
            inner.nodes.connect(&node);
            inner.nodes.acknowledge(&node, Epoch(first.epoch), &first.error);
        }
        let closed = self.shutdown.child_token();
        process::spawn("fabric.acks", take_acks(node.clone(), acks, self.ledger.clone(), closed.clone()));
        process::spawn("fabric.stream", feed(node, self.latest.clone(), sender, self.ledger.clone(), closed));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Sends a node everything, then what changes.
async fn feed(
    node: String,
    mut latest: watch::Receiver<Arc<State>>,
    sender: mpsc::Sender<Result<Delta, RpcStatus>>,
    ledger: Arc<Ledger>,
    closed: Shutdown,
) {
    let mut known: Option<Arc<State>> = None;
    loop {
        let permit = tokio::select! {
            permit = sender.reserve() => permit,
            () = closed.cancelled() => return,
        };
        let Ok(permit) = permit else { return closed.cancel() };
        let state = latest.borrow_and_update().clone();
        let delta = match &known {
            // Before the first View is compiled there is nothing to say.
            None if state.epoch == Epoch::default() => None,
            None => Some(state.full_for(&node)),
            Some(known) if known.epoch == state.epoch => None,
            Some(known) => Some(state.diff_for(known, &node)),
        };
        if let Some(delta) = delta {
            ledger.lock().nodes.sent(&node, state.epoch);
            permit.send(Ok(delta));
            known = Some(state);
        }
        tokio::select! {
            changed = latest.changed() => if changed.is_err() { return },
            () = sender.closed() => return closed.cancel(),
            () = closed.cancelled() => return,
        }
    }
}

async fn take_acks(node: String, mut acks: Streaming<Ack>, ledger: Arc<Ledger>, closed: Shutdown) {
    loop {
        let ack = tokio::select! {
            ack = acks.message() => ack,
            () = closed.cancelled() => break,
        };
        match ack {
            Ok(Some(ack)) => {
                if !ack.error.is_empty() {
                    tracing::warn!(node, epoch = ack.epoch, error = ack.error, "node could not apply an epoch");
                }
                ledger.lock().nodes.acknowledge(&node, Epoch(ack.epoch), &ack.error);
            }
            Ok(None) | Err(_) => break,
        }
    }
    tracing::info!(node, "node left the fabric");
    ledger.lock().nodes.disconnect(&node);
    closed.cancel();
}

/// The node that the peer's certificate names.
fn peer_node(request: &Request<Streaming<Ack>>) -> Result<String, RpcStatus> {
    let certificates = request.peer_certs().ok_or_else(|| RpcStatus::unauthenticated("no client certificate"))?;
    let certificate = certificates.first().ok_or_else(|| RpcStatus::unauthenticated("no client certificate"))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate.as_ref())
        .map_err(|_| RpcStatus::unauthenticated("the client certificate does not parse"))?;
    let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    match name.strip_prefix(NODE_PREFIX) {
        Some(node) if !node.is_empty() => Ok(node.to_owned()),
        _ => Err(RpcStatus::permission_denied(format!("{name:?} is no node's certificate"))),
    }
}
