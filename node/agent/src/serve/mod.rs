//! The node's own API on port 10250, which only the API server calls: logs, exec, attach, port-forward, pods.
//!
//! Every request needs a client certificate of the cluster's CA whose organization is `system:masters`; the check is in
//! one place, before any route. Task: `node-api` accepts, `node-api-connection` (one a connection) serves.

mod logs;
mod net;
mod stats;
mod stream;
mod tls;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use k8s_openapi::api::core::v1::Pod;
use process::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

pub use tls::TlsError;

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A container as the API names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRef {
    /// The runtime's id of the current instance.
    pub id: String,
    /// The runtime's id of the pod's sandbox.
    pub sandbox_id: String,
    pub pod_uid: String,
    pub restart_count: u32,
    /// Log file of the current instance, `<dir>/<attempt>.log`.
    pub log_path: std::path::PathBuf,
}

/// What the server asks of the daemon.
pub trait PodLookup: Send + Sync + 'static {
    /// The container, or the pod's first one; `None` if the pod is not here or the container has not been created.
    fn container(&self, namespace: &str, pod: &str, container: Option<&str>) -> Option<ContainerRef>;
    /// The pods of this node with their current status.
    fn pods(&self) -> Vec<Pod>;
    /// The node's network once it stands.
    fn network(&self) -> Option<Arc<crate::network::Network>> {
        None
    }
}

/// What the server is given.
pub struct Config {
    pub listener: TcpListener,
    pub serving_cert_pem: String,
    pub serving_key_pem: String,
    /// Signs the client certificates that are let in.
    pub client_ca_pem: String,
}

pub(crate) struct Server {
    pods: Arc<dyn PodLookup>,
    runtime: Arc<dyn cri::RuntimeApi>,
}

/// Serves until `shutdown`; streams under way end with their connections.
///
/// # Errors
/// When the certificates are not usable.
pub async fn serve(
    config: Config,
    pods: Arc<dyn PodLookup>,
    runtime: Arc<dyn cri::RuntimeApi>,
    shutdown: Shutdown,
) -> Result<(), TlsError> {
    let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(&config)?));
    let server = Arc::new(Server { pods, runtime });
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return Ok(()) };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = config.listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let (server, acceptor, shutdown) = (server.clone(), acceptor.clone(), shutdown.clone());
        process::spawn("node-api-connection", async move {
            shutdown.run_until_cancelled(connection(server, acceptor, stream)).await;
            drop(slot);
        });
    }
}

async fn connection(server: Arc<Server>, acceptor: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let allowed = tls::is_master(stream.get_ref().1.peer_certificates());
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let server = server.clone();
        async move {
            let response = if allowed {
                route(&server, request).await
            } else {
                text(StatusCode::FORBIDDEN, "only members of system:masters may use a node's API")
            };
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn route(server: &Server, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let get = request.method() == Method::GET;
    match segments.as_slice() {
        ["healthz"] if get => text(StatusCode::OK, "ok"),
        ["pods"] if get => pods(server),
        ["metrics"] if get => net::metrics(server).await,
        ["net", what] => net::serve(server, what, request.method(), &Query::parse(request.uri().query())).await,
        ["stats", "summary"] if get => stats::summary(server).await,
        ["containerLogs", namespace, pod, container] if get => {
            logs::serve(server, namespace, pod, container, request.uri().query()).await
        }
        ["exec", namespace, pod, container] => stream::exec(server, namespace, pod, container, request).await,
        ["attach", namespace, pod, container] => stream::attach(server, namespace, pod, container, request).await,
        ["portForward", namespace, pod] => stream::port_forward(server, namespace, pod, request).await,
        _ => text(StatusCode::NOT_FOUND, "no such path on a node's API"),
    }
}

fn pods(server: &Server) -> Response<Body> {
    let list = k8s_openapi::List::<Pod> { items: server.pods.pods(), ..Default::default() };
    match serde_json::to_vec(&list) {
        Ok(json) => {
            let mut response = Response::new(full(json));
            let kind = http::HeaderValue::from_static("application/json");
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Query parameters by name, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: Option<&str>) -> Query {
        Query(form_urlencoded::parse(raw.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    /// `1`, `t` and `true` as clients write them.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE"))
    }
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub(crate) fn text(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(full(message.to_owned()));
    *response.status_mut() = status;
    response
}

fn not_here(namespace: &str, pod: &str, container: &str) -> Response<Body> {
    let message = format!("container {container:?} of pod {namespace}/{pod} is not running on this node");
    text(StatusCode::NOT_FOUND, &message)
}

#[cfg(test)]
mod tests;
