//! The connection to the control plane: deltas down, acknowledgements up, again and again until shutdown.
use std::sync::Arc;
use std::time::Duration;

use rpc::fabric::fabric_client::FabricClient;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use wire::fabric::{Ack, Delta};

use super::plane::{Command, Reply};
use super::{Error, NetworkConfig, NetworkStatus};

/// Pause before the second attempt to connect; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Pause before tables that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// A silent peer is given up after two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Acknowledgements not sent yet; the stream waits when it is full.
const ACKS: usize = 16;
/// Largest delta: a full state of 50,000 Services.
const DELTA_BYTES_MAX: usize = 256 << 20;

/// How one connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot connect to the fabric server: {}", chain(.0))]
    Connect(tonic::transport::Error),
    #[error("fabric stream failed: {0}")]
    Stream(Box<tonic::Status>),
    #[error("the fabric server closed the stream")]
    Closed,
    #[error("fabric stream is out of order: {0}")]
    OutOfOrder(datapath::Stale),
    #[error("the node's network has stopped")]
    Stopped,
}

/// The server's address with mutual TLS.
pub fn endpoint(config: &NetworkConfig) -> Result<Endpoint, Error> {
    let identity = &config.identity;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&identity.ca_pem))
        .identity(Identity::from_pem(&identity.client_cert_pem, &identity.client_key_pem));
    Endpoint::from_shared(config.fabric_url.clone())
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map(|endpoint| {
            endpoint
                .connect_timeout(KEEP_ALIVE)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .keep_alive_while_idle(true)
        })
        .map_err(Error::Fabric)
}

/// Follows the fabric until shutdown.
pub async fn follow(
    endpoint: Endpoint,
    node: String,
    commands: mpsc::Sender<Command>,
    status: Arc<watch::Sender<NetworkStatus>>,
    shutdown: CancellationToken,
) {
    let mut pause = PAUSE_MIN;
    // Epoch 0 asks for the full state: at the start, and after a stream that lost its order.
    let mut epoch = 0;
    let mut last_line = String::new();
    while !shutdown.is_cancelled() {
        let before = epoch;
        let connection = connect(&endpoint, &node, &mut epoch, &commands, &status);
        let Some(ended) = shutdown.run_until_cancelled(connection).await else { break };
        status.send_modify(|status| status.connected = false);
        if epoch != before {
            pause = PAUSE_MIN;
        }
        match &ended {
            Ended::Stopped => break,
            Ended::OutOfOrder(_) => epoch = 0,
            Ended::Connect(_) | Ended::Stream(_) | Ended::Closed => {}
        }
        // One line a change, not one an attempt.
        let line = ended.to_string();
        if line != last_line {
            tracing::warn!("{line}; trying again");
            last_line = line;
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// One connection; returns when it has ended.
async fn connect(
    endpoint: &Endpoint,
    node: &str,
    epoch: &mut u64,
    commands: &mpsc::Sender<Command>,
    status: &watch::Sender<NetworkStatus>,
) -> Ended {
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(e) => return Ended::Connect(e),
    };
    let (acks, outgoing) = mpsc::channel(ACKS);
    let ack = |epoch: u64, error: String| Ack { node: node.to_owned(), epoch, error };
    if acks.send(ack(*epoch, String::new())).await.is_err() {
        return Ended::Closed;
    }
    let mut client = FabricClient::new(channel).max_decoding_message_size(DELTA_BYTES_MAX);
    let mut deltas = match client.sync(ReceiverStream::new(outgoing)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ended::Stream(Box::new(status)),
    };
    status.send_modify(|status| status.connected = true);
    tracing::info!(epoch, "fabric stream is up");
    loop {
        let delta: Delta = match deltas.message().await {
            Ok(Some(delta)) => delta,
            Ok(None) => return Ended::Closed,
            Err(status) => return Ended::Stream(Box::new(status)),
        };
        let mut outcome = ask(commands, |reply| Command::Apply(Box::new(delta), reply)).await;
        loop {
            match outcome {
                Ok(live) => {
                    *epoch = live.0;
                    if acks.send(ack(*epoch, String::new())).await.is_err() {
                        return Ended::Closed;
                    }
                    break;
                }
                Err(Error::Stale(stale)) => return Ended::OutOfOrder(stale),
                Err(Error::Stopped) => return Ended::Stopped,
                Err(e) => {
                    tracing::error!(error = %e, "tables could not be written; trying again");
                    if acks.send(ack(*epoch, e.to_string())).await.is_err() {
                        return Ended::Closed;
                    }
                    tokio::time::sleep(RETRY).await;
                    outcome = ask(commands, Command::Retry).await;
                }
            }
        }
    }
}

async fn ask<T>(commands: &mpsc::Sender<Command>, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
    let (reply, answer) = oneshot::channel();
    commands.send(command(reply)).await.map_err(|_| Error::Stopped)?;
    answer.await.map_err(|_| Error::Stopped)?
}

/// An error with its sources: tonic's own text says only "transport error".
fn chain(error: &tonic::transport::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
