//! What load balancers ask a node over HTTP, as kube-proxy answers: whether a Service with `externalTrafficPolicy: Local` has
//! endpoints here, on its `healthCheckNodePort`, and whether the node's data plane is in order, on `/healthz` of its own port.
//!
//! Tasks: `service-health` ([`serve`]) follows the network's status and keeps a listener for each port; `service-health-port`, one a
//! port, accepts; `service-health-connection` answers once and closes.
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::NetworkStatus;

/// Where kube-proxy answers `/healthz`, and balancers expect it.
pub const PROXY_PORT: NonZeroU16 = NonZeroU16::new(10_256).expect("it is not zero");
/// Connections at once over all ports; more wait in the kernel's queues.
const MAX_CONNECTIONS: usize = 256;
/// Longest life of one.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Pause before a port that another process has is tried again, and after a failure to accept.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps one listener for `proxy_port` and each health check until shutdown.
pub async fn serve(mut status: watch::Receiver<NetworkStatus>, proxy_port: NonZeroU16, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut open: BTreeMap<NonZeroU16, CancellationToken> = BTreeMap::new();
    let mut refused: BTreeSet<NonZeroU16> = BTreeSet::new();
    loop {
        let mut wanted: BTreeSet<NonZeroU16> = status.borrow_and_update().health_checks.keys().copied().collect();
        wanted.insert(proxy_port);
        open.retain(|port, listener| {
            let keep = wanted.contains(port);
            if !keep {
                listener.cancel();
            }
            keep
        });
        refused.retain(|port| wanted.contains(port));
        for port in wanted.into_iter().filter(|port| !open.contains_key(port)).collect::<Vec<_>>() {
            match listen(port).await {
                Ok(listener) => {
                    refused.remove(&port);
                    let stop = shutdown.child_token();
                    let place = Place { port, proxy: port == proxy_port, status: status.clone() };
                    process::spawn("service-health-port", accept(listener, place, slots.clone(), stop.clone()));
                    open.insert(port, stop);
                }
                Err(error) => {
                    if refused.insert(port) {
                        tracing::warn!(%port, %error, "cannot listen for health checks; trying again");
                    }
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = status.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if !refused.is_empty() => {}
        }
    }
}

/// One listener and what it answers from.
#[derive(Clone)]
struct Place {
    port: NonZeroU16,
    proxy: bool,
    status: watch::Receiver<NetworkStatus>,
}

/// Both families in one socket, or IPv4 alone where there is no IPv6.
async fn listen(port: NonZeroU16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port.get())).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.get())).await,
    }
}

async fn accept(listener: TcpListener, place: Place, slots: Arc<Semaphore>, stop: CancellationToken) {
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await.ok()?;
            Some((slot, listener.accept().await))
        };
        let Some(Some((slot, accepted))) = stop.run_until_cancelled(next).await else { return };
        match accepted {
            Ok((stream, _)) => {
                let place = place.clone();
                process::spawn("service-health-connection", async move {
                    // A client that is late or gone is its own trouble.
                    let _ = tokio::time::timeout(CONNECTION_TIME, connection(stream, place)).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(port = %place.port, %error, "cannot accept a health check");
                if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                    return;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, place: Place) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let response = answer(&place, request.uri().path(), process::now());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.keep_alive(false).timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a health check ended early");
    }
}

fn answer(place: &Place, path: &str, now: Timestamp) -> Response<Full<Bytes>> {
    let status = place.status.borrow();
    let healthy = status.is_healthy();
    let mut response = Response::builder()
        .header(http::header::CONTENT_TYPE, "application/json")
        .header(http::header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let (ok, body) = match (place.proxy, status.health_checks.get(&place.port)) {
        (true, _) if path == "/healthz" || path == "/livez" => {
            let updated = status.updated.unwrap_or(Timestamp::UNIX_EPOCH);
            let body =
                json!({"lastUpdated": updated.to_string(), "currentTime": now.to_string(), "nodeEligible": true});
            (healthy, body)
        }
        (false, Some(check)) => {
            response = response.header("x-load-balancing-endpoint-weight", check.local_endpoints);
            let body = json!({
                "service": {"namespace": check.service.namespace, "name": check.service.name},
                "localEndpoints": check.local_endpoints,
                "serviceProxyHealthy": healthy,
            });
            (healthy && check.local_endpoints > 0, body)
        }
        (true | false, _) => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
    };
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let response = response.status(code).body(Full::new(Bytes::from(body.to_string())));
    response.expect("every header above is valid")
}
