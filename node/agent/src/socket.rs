//! The daemon's local socket (`agent.sock`, 0600): the CNI plugin and the CLI ask here.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rpc::agent::agent_server::{Agent, AgentServer};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use wire::agent::{AttachReply, AttachRequest, DetachReply, DetachRequest, StatusReply, StatusRequest};

use crate::context::Context;
use crate::network::Network;

/// Binds the socket; whatever an earlier daemon left at the path is replaced.
pub(crate) fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The task `agent socket`: serves until `shutdown`.
pub(crate) async fn run(context: Arc<Context>, listener: UnixListener, shutdown: CancellationToken) {
    let service = AgentServer::new(Socket { context });
    let incoming = UnixListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(service);
    if let Err(error) = server.serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned()).await {
        tracing::error!(%error, "the local socket is closed");
    }
}

struct Socket {
    context: Arc<Context>,
}

impl Socket {
    fn network(&self) -> Result<&Arc<Network>, Status> {
        self.context.network.get().ok_or_else(|| {
            Status::unavailable(self.context.network_error().unwrap_or_else(|| "the network is starting".to_owned()))
        })
    }
}

fn failed(error: crate::network::Error) -> Status {
    Status::failed_precondition(error.to_string())
}

#[tonic::async_trait]
impl Agent for Socket {
    async fn attach(&self, request: Request<AttachRequest>) -> Result<Response<AttachReply>, Status> {
        self.network()?.attach(request.into_inner()).await.map(Response::new).map_err(failed)
    }

    async fn detach(&self, request: Request<DetachRequest>) -> Result<Response<DetachReply>, Status> {
        self.network()?.detach(request.into_inner()).await.map_err(failed)?;
        Ok(Response::new(DetachReply {}))
    }

    async fn check(&self, request: Request<AttachRequest>) -> Result<Response<AttachReply>, Status> {
        self.network()?.check(request.into_inner()).await.map(Response::new).map_err(failed)
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let network = self.context.network.get().map(|network| network.status()).unwrap_or_default();
        let runtime = self.context.runtime.version().await;
        let trouble = runtime.as_ref().err().map(cri::Error::message).or_else(|| self.context.network_error());
        Ok(Response::new(StatusReply {
            node: self.context.config.node_name.clone(),
            epoch_received: network.epoch_received,
            epoch_applied: network.epoch_applied,
            services: network.services,
            backends: network.backends,
            pods: network.pods,
            runtime_ready: runtime.is_ok(),
            error: trouble.unwrap_or_default(),
        }))
    }
}
