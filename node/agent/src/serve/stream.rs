//! Exec, attach and port-forward: the runtime's streaming server speaks the clients' protocols (SPDY, WebSocket), so
//! the upgraded connection is joined to it byte by byte.

use std::time::Duration;

use cri::v1;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Body, ContainerRef, Query, Server, full, not_here, text};

const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn exec(
    server: &Server,
    namespace: &str,
    pod: &str,
    container: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(found) = server.pods.container(namespace, pod, Some(container)) else {
        return not_here(namespace, pod, container);
    };
    let query = Query::parse(request.uri().query());
    let streams = Streams::of(&query);
    let cmd = query.all("command");
    if cmd.is_empty() {
        return text(StatusCode::BAD_REQUEST, "you must specify at least 1 command for the container");
    }
    let url = server
        .runtime
        .exec(v1::ExecRequest {
            container_id: found.id,
            cmd,
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            // A terminal has one output; the runtime refuses a second.
            stderr: streams.stderr && !streams.tty,
        })
        .await;
    join(url, request).await
}

pub(super) async fn attach(
    server: &Server,
    namespace: &str,
    pod: &str,
    container: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(found) = server.pods.container(namespace, pod, Some(container)) else {
        return not_here(namespace, pod, container);
    };
    let streams = Streams::of(&Query::parse(request.uri().query()));
    let url = server
        .runtime
        .attach(v1::AttachRequest {
            container_id: found.id,
            stdin: streams.stdin,
            tty: streams.tty,
            stdout: streams.stdout,
            stderr: streams.stderr && !streams.tty,
        })
        .await;
    join(url, request).await
}

pub(super) async fn port_forward(
    server: &Server,
    namespace: &str,
    pod: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(ContainerRef { sandbox_id, .. }) = server.pods.container(namespace, pod, None) else {
        return not_here(namespace, pod, "");
    };
    let query = Query::parse(request.uri().query());
    let port = query.all("port").iter().chain(&query.all("ports")).filter_map(|port| port.parse().ok()).collect();
    let url = server.runtime.port_forward(v1::PortForwardRequest { pod_sandbox_id: sandbox_id, port }).await;
    join(url, request).await
}

/// Which streams a client wants; the kubelet's names and the API's.
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Streams {
    fn of(query: &Query) -> Streams {
        let either = |a: &str, b: &str| query.flag(a) || query.flag(b);
        Streams {
            stdin: either("input", "stdin"),
            stdout: either("output", "stdout"),
            stderr: either("error", "stderr"),
            tty: query.flag("tty"),
        }
    }
}

/// Repeats the client's upgrade at the runtime; what is not an upgrade goes back as it came.
async fn join(url: Result<String, cri::Error>, request: Request<Incoming>) -> Response<Body> {
    let url = match url {
        Ok(url) => url,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    match dial(&url, request).await {
        Ok(response) => response,
        Err(error) => {
            let message = format!("the runtime's streaming server failed: {error}");
            text(StatusCode::BAD_GATEWAY, &message)
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error("{0:?} is not a URL with a host")]
    Url(String),
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no connection after 10 s")]
    Timeout,
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] http::Error),
}

async fn dial(url: &str, mut request: Request<Incoming>) -> Result<Response<Body>, JoinError> {
    let uri: Uri = url.parse().map_err(|_| JoinError::Url(url.to_owned()))?;
    let authority = uri.authority().ok_or_else(|| JoinError::Url(url.to_owned()))?.clone();
    let address = (authority.host().to_owned(), authority.port_u16().unwrap_or(80));
    let stream =
        tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await.map_err(|_| JoinError::Timeout)??;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    process::spawn("node-api-stream", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "runtime stream ended");
        }
    });

    let target = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut outgoing =
        Request::builder().method(request.method().clone()).uri(target).body(Empty::<bytes::Bytes>::new())?;
    *outgoing.headers_mut() = request.headers().clone();
    let host = HeaderValue::from_str(authority.as_str()).map_err(http::Error::from)?;
    outgoing.headers_mut().insert(HOST, host);
    let mut answer = sender.send_request(outgoing).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (mut parts, body) = answer.into_parts();
        parts.headers.remove(CONNECTION);
        parts.headers.remove(UPGRADE);
        return Ok(Response::from_parts(parts, body.map_err(std::io::Error::other).boxed_unsync()));
    }

    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    let client = hyper::upgrade::on(&mut request);
    let runtime = hyper::upgrade::on(&mut answer);
    process::spawn("node-api-stream", async move {
        let joined = async {
            let (mut client, mut runtime) = (TokioIo::new(client.await?), TokioIo::new(runtime.await?));
            if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut runtime).await {
                tracing::debug!(%error, "stream ended");
            }
            Ok::<_, hyper::Error>(())
        };
        if let Err(error) = joined.await {
            tracing::debug!(%error, "upgrade failed");
        }
    });
    Ok(response)
}
