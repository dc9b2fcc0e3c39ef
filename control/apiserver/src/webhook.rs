//! Calls to webhooks: a JSON document posted over HTTPS, a JSON document back. Who calls says what they mean.
//!
//! Where a webhook is given as a Service, its endpoints are dialled directly, then its ClusterIP, under the name
//! `<service>.<namespace>.svc` that its certificate must carry. Connections are kept and used again. No redirects.

use crate::storage;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use client::TlsConnection;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::Client as Pool,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use store::Backend;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest answer.
const RESPONSE_LIMIT: usize = 16 << 20;
/// One attempt at one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Webhooks whose connections are kept; beyond it all are dropped and made anew.
const POOL_LIMIT: usize = 256;
/// Where roots are looked for when a webhook names no CA.
const SYSTEM_ROOTS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Where a webhook is, and who has signed its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClientConfig {
    pub(crate) place: Place,
    /// PEM; empty: the system's roots.
    pub(crate) ca_pem: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Url(String),
    Service { namespace: String, name: String, port: u16, path: String },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The configuration is not usable.
    #[error("{0}")]
    Config(String),
    /// No connection, or it broke.
    #[error("Post {url:?}: {cause}")]
    Transport { url: String, cause: String },
    /// No answer in time.
    #[error("Post {url:?}: context deadline exceeded")]
    Timeout { url: String },
    /// The webhook answered with an HTTP error.
    #[error("the server responded with status code {0}")]
    Refused(StatusCode),
    /// The answer is no JSON.
    #[error("couldn't get version/kind; json parse error: {0}")]
    Decode(#[from] serde_json::Error),
}

/// The caller, with its connections.
pub(crate) struct Webhooks {
    store: Arc<dyn Backend>,
    pools: Mutex<HashMap<ClientConfig, Pool<Dial, Full<Bytes>>>>,
}

impl ClientConfig {
    /// Reads the `clientConfig` of a webhook.
    pub(crate) fn read(config: &Value) -> Result<Self, CallError> {
        let wrong = |what: &str| CallError::Config(what.to_owned());
        let ca_pem = match config["caBundle"].as_str() {
            Some(text) => STANDARD.decode(text).map_err(|_| wrong("unable to load root certificates"))?,
            None => Vec::new(),
        };
        let service = &config["service"];
        let place = match (config["url"].as_str(), service.is_object()) {
            (Some(url), false) => Place::Url(url.to_owned()),
            (None, true) => Place::Service {
                namespace: service["namespace"].as_str().unwrap_or_default().to_owned(),
                name: service["name"].as_str().unwrap_or_default().to_owned(),
                port: service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443),
                path: service["path"].as_str().unwrap_or("/").to_owned(),
            },
            _ => return Err(wrong("webhook configuration must have either service or URL")),
        };
        Ok(Self { place, ca_pem })
    }

    /// The address as messages show it.
    fn url(&self, timeout: Duration) -> String {
        let base = match &self.place {
            Place::Url(url) => url.clone(),
            Place::Service { namespace, name, port, path } => {
                let slash = if path.starts_with('/') { "" } else { "/" };
                format!("https://{name}.{namespace}.svc:{port}{slash}{path}")
            }
        };
        let separator = if base.contains('?') { '&' } else { '?' };
        format!("{base}{separator}timeout={}s", timeout.as_secs())
    }
}

impl Webhooks {
    pub(crate) fn new(store: Arc<dyn Backend>) -> Self {
        Self { store, pools: Mutex::default() }
    }

    /// Posts `body` and returns the answer.
    pub(crate) async fn call(
        &self,
        config: &ClientConfig,
        body: &Value,
        timeout: Duration,
    ) -> Result<Value, CallError> {
        let url = config.url(timeout);
        match tokio::time::timeout(timeout, self.post(config, &url, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Timeout { url }),
        }
    }

    async fn post(&self, config: &ClientConfig, url: &str, body: &Value) -> Result<Value, CallError> {
        let uri: Uri = url.parse().map_err(|_| CallError::Config(format!("the URL {url:?} cannot be parsed")))?;
        if uri.scheme_str() != Some("https") {
            return Err(CallError::Config(format!("the URL {url:?} is not https")));
        }
        let failed = |cause: String| CallError::Transport { url: url.to_owned(), cause };
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, concat!("gannet/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(storage::write(body)))
            .map_err(|error| CallError::Config(error.to_string()))?;
        let response = self.pool(config)?.request(request).await.map_err(|error| failed(innermost(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE_LIMIT);
        let bytes = body.collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
        if !status.is_success() {
            return Err(CallError::Refused(status));
        }
        Ok(serde_json::from_slice(&bytes)?)
    }

    fn pool(&self, config: &ClientConfig) -> Result<Pool<Dial, Full<Bytes>>, CallError> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(config) {
            return Ok(pool.clone());
        }
        if pools.len() >= POOL_LIMIT {
            pools.clear();
        }
        let roots = if config.ca_pem.is_empty() { system_roots() } else { config.ca_pem.clone() };
        let mut tls = client::client_config(&roots, &client::Identity::Anonymous)
            .map_err(|error| CallError::Config(format!("unable to load root certificates: {error}")))?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let dial = Dial {
            connector: TlsConnector::from(Arc::new(tls)),
            place: Arc::new(config.place.clone()),
            store: self.store.clone(),
        };
        let pool = Pool::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(dial);
        pools.insert(config.clone(), pool.clone());
        Ok(pool)
    }
}

fn system_roots() -> Vec<u8> {
    SYSTEM_ROOTS.into_iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default()
}

/// What an error comes from: the layers above it say nothing new.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error.source();
    while let Some(next) = deepest.and_then(|error| error.source()) {
        deepest = Some(next);
    }
    deepest.map_or_else(|| error.to_string(), ToString::to_string)
}

/// Makes connections to one webhook.
#[derive(Clone)]
struct Dial {
    connector: TlsConnector,
    place: Arc<Place>,
    store: Arc<dyn Backend>,
}

impl tower::Service<Uri> for Dial {
    type Response = TlsConnection;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsConnection>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { dial.connect(&uri).await })
    }
}

impl Dial {
    async fn connect(&self, uri: &Uri) -> io::Result<TlsConnection> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let addresses = match self.place.as_ref() {
            Place::Url(_) => vec![(host.clone(), port)],
            Place::Service { namespace, name, port, .. } => addresses(&self.store, namespace, name, *port).await?,
        };
        let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address to connect to");
        for (address, port) in addresses {
            let attempt = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((address.as_str(), port)));
            let error = match attempt.await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(self.connector.connect(name, stream).await?.into());
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    "connect: connection refused".into()
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "i/o timeout".to_owned(),
            };
            failure = io::Error::other(format!("dial tcp {address}:{port}: {error}"));
        }
        Err(failure)
    }
}

/// Where a port of a Service can be reached: ready endpoints, then its ClusterIP; an external name alone.
async fn addresses(store: &Arc<dyn Backend>, namespace: &str, name: &str, port: u16) -> io::Result<Vec<(String, u16)>> {
    let refused = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
    let entry = store.get(&storage::core_key("services", namespace, name)).await.map_err(io::Error::other)?;
    let entry = entry.ok_or_else(|| refused(format!("service {name:?} not found")))?;
    let service: Value = serde_json::from_slice(&entry.value)?;
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        return Ok(vec![(spec["externalName"].as_str().unwrap_or_default().to_owned(), port)]);
    }
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(of_service) = ports.iter().find(|one| one["port"] == port) else {
        return Err(refused(format!("no service port {port} found for service {name:?}")));
    };
    let port_name = of_service["name"].as_str().unwrap_or_default();
    let prefix = format!("/registry/discovery.k8s.io/endpointslices/{namespace}/{name}");
    let slices = store.list(&prefix, None, None, None).await.map_err(io::Error::other)?;
    let mut found = Vec::new();
    for entry in &slices.entries {
        let slice: Value = serde_json::from_slice(&entry.value)?;
        if slice["metadata"]["labels"]["kubernetes.io/service-name"] != name {
            continue;
        }
        let listed = slice["ports"].as_array().into_iter().flatten();
        let target = listed.filter(|one| one["name"].as_str().unwrap_or_default() == port_name);
        let Some(target) = target.filter_map(|one| u16::try_from(one["port"].as_u64()?).ok()).next() else { continue };
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
        let addresses = ready.filter_map(|endpoint| endpoint["addresses"][0].as_str());
        found.extend(addresses.map(|address| (address.to_owned(), target)));
    }
    if let Some(ip) = spec["clusterIP"].as_str().filter(|ip| !matches!(*ip, "" | "None")) {
        found.push((ip.to_owned(), port));
    }
    if found.is_empty() {
        return Err(refused(format!("no endpoints available for service {name:?}")));
    }
    Ok(found)
}
