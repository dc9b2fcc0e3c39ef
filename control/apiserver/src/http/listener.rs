//! The TLS listener: one task a connection, HTTP/1.1 with upgrades or HTTP/2, an orderly end.

use crate::{
    Apiserver,
    auth::x509::{self, Certificate},
    http::tls::ALPN,
};
use client::Body;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use process::Shutdown;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
};
use tokio_rustls::TlsAcceptor;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// What a connection gets to finish its requests once the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at once; more wait in the kernel's queue.
const CONNECTION_LIMIT: usize = 10_000;
/// Requests at once on one HTTP/2 connection.
const STREAM_LIMIT: u32 = 1_000;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Who the client certificate says the peer is.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) certificate: Option<Certificate>,
}

/// Accepts connections until the token is cancelled, then waits for those that are open.
pub(crate) async fn serve(
    server: Arc<Apiserver>,
    listener: TcpListener,
    mut tls: rustls::ServerConfig,
    shutdown: Shutdown,
) {
    if tls.alpn_protocols.is_empty() {
        tls.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    }
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let slots = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { break };
        let stream = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, or the peer is gone already: the listener itself lives on.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let (server, acceptor, shutdown) = (server.clone(), acceptor.clone(), shutdown.clone());
        process::spawn("api-connection", async move {
            connection(server, acceptor, stream, shutdown).await;
            drop(slot);
        });
    }
    drop(listener);
    let all = u32::try_from(CONNECTION_LIMIT).expect("the limit is small");
    // Upgraded streams outlive their connection task, so this ends soon; the timeout is for stuck clients.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, slots.acquire_many(all)).await;
}

async fn connection(server: Arc<Apiserver>, acceptor: TlsAcceptor, stream: TcpStream, shutdown: Shutdown) {
    // Latency matters more than packets; a failure here means that the peer is gone, which the handshake will tell.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| x509::read(chain.first()?));
    let peer = Arc::new(Peer { certificate });
    let chance = server.config.goaway_chance;
    let goaway = Arc::new(Notify::new());
    let told = goaway.clone();
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (server, peer) = (server.clone(), peer.clone());
        if request.version() == Version::HTTP_2 && strikes(chance) {
            told.notify_one();
        }
        async move {
            let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            request.extensions_mut().insert(peer);
            let response: Response<Body> = server.handle(request).await;
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAM_LIMIT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut leaving = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break Some(ended),
            () = goaway.notified(), if !leaving => {
                connection.as_mut().graceful_shutdown();
                leaving = true;
            }
            () = shutdown.cancelled() => break None,
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN_TIMEOUT, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Whether a thing of this chance happens now.
fn strikes(chance: f64) -> bool {
    let draw = || u32::try_from(process::seed() >> 32).map_or(1.0, |draw| f64::from(draw) / 2f64.powi(32));
    chance > 0.0 && draw() < chance
}
