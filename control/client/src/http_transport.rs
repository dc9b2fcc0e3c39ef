//! HTTPS to a server: one pool of keep-alive connections, HTTP/2 where the server offers it.

use crate::{Body, Error, Identity, Kubeconfig, TlsConnection, Transport, body::BodyError, tls};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::Client as Pool,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::ServerName;
use std::{
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From sending a request to the head of its response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection that answers no ping within this is dead, and with it every watch on it.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const STREAM_WINDOW: u32 = 1 << 20;
/// Large, so that one watch that is not being read cannot stop the others on the connection.
const CONNECTION_WINDOW: u32 = 64 << 20;

/// A pool of TLS connections to one server.
#[derive(Clone)]
pub struct HttpTransport {
    pool: Pool<TlsConnect, Full<Bytes>>,
    base: Uri,
    authorization: Option<HeaderValue>,
}

impl HttpTransport {
    /// To `url` (`https://host:port`), trusting only the CA given.
    pub fn new(url: &str, ca_pem: &[u8], identity: &Identity) -> Result<Self, Error> {
        let base: Uri = url.trim_end_matches('/').parse().map_err(http::Error::from)?;
        let mut config = tls::client_config(ca_pem, identity)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let authorization = match identity {
            Identity::Token(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(http::Error::from)?;
                value.set_sensitive(true);
                Some(value)
            }
            Identity::Certificate { .. } | Identity::Anonymous => None,
        };
        let pool = Pool::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_INTERVAL)
            .http2_keep_alive_while_idle(true)
            .build(TlsConnect { connector: TlsConnector::from(Arc::new(config)) });
        Ok(Self { pool, base, authorization })
    }

    /// To the cluster of a kubeconfig's current context.
    pub fn from_kubeconfig(path: &Path) -> Result<Self, Error> {
        let config = Kubeconfig::read(path)?;
        Self::new(&config.server, &config.ca_pem, &config.identity)
    }
}

impl crate::Client {
    /// A client over HTTPS; see [`HttpTransport::new`].
    pub fn https(url: &str, ca_pem: &[u8], identity: &Identity) -> Result<Self, Error> {
        Ok(Self::new(Arc::new(HttpTransport::new(url, ca_pem, identity)?)))
    }

    /// A client for a kubeconfig's current context.
    pub fn from_kubeconfig(path: &Path) -> Result<Self, Error> {
        Ok(Self::new(Arc::new(HttpTransport::from_kubeconfig(path)?)))
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, Error>> {
        let pool = self.pool.clone();
        let request = self.absolute(request);
        Box::pin(async move {
            let response = tokio::time::timeout(RESPONSE_TIMEOUT, pool.request(request?))
                .await
                .map_err(|_| Error::Timeout(RESPONSE_TIMEOUT))?
                .map_err(|error| Error::Transport(error.into()))?;
            Ok(response.map(|body| body.map_err(BodyError::from).boxed_unsync()))
        })
    }
}

impl HttpTransport {
    fn absolute(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, Error> {
        let (mut parts, body) = request.into_parts();
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(self.base.scheme().cloned().unwrap_or(Scheme::HTTPS));
        uri.authority = self.base.authority().cloned();
        parts.uri = Uri::from_parts(uri).map_err(http::Error::from)?;
        if let Some(value) = &self.authorization {
            parts.headers.insert(header::AUTHORIZATION, value.clone());
        }
        parts
            .headers
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("gannet/", env!("CARGO_PKG_VERSION"))));
        Ok(Request::from_parts(parts, Full::new(body)))
    }
}

#[derive(Clone)]
struct TlsConnect {
    connector: TlsConnector,
}

impl tower::Service<Uri> for TlsConnect {
    type Response = TlsConnection;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsConnection>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.connector.clone();
        Box::pin(async move {
            let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection to {uri} in time"));
            tokio::time::timeout(CONNECT_TIMEOUT, connect(connector, &uri)).await.map_err(timed_out)?
        })
    }
}

async fn connect(connector: TlsConnector, uri: &Uri) -> io::Result<TlsConnection> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(connector.connect(name, stream).await?.into())
}
