//! Calls to a node's API: one HTTP/1.1 connection over mutual TLS for each call, so that it can be upgraded.

use crate::{Apiserver, Error, storage};
use api::{Gvr, Status};
use client::{Body, Identity};
use http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The port of a node that does not say another.
const PORT: u16 = 10250;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From the request to the head of the answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to nodes as the API server, and believes those that the cluster's CA has signed.
pub(crate) struct NodeDialer {
    connector: TlsConnector,
}

/// Where a node's API is.
pub(crate) struct NodeAddress {
    ip: IpAddr,
    port: u16,
    name: String,
}

impl NodeAddress {
    pub(crate) fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn host(&self) -> String {
        match self.ip {
            IpAddr::V4(ip) => format!("{ip}:{}", self.port),
            IpAddr::V6(ip) => format!("[{ip}]:{}", self.port),
        }
    }
}

impl NodeDialer {
    pub(crate) fn new(ca_pem: &[u8], identity: &Identity) -> Result<Self, Error> {
        let mut config = client::client_config(ca_pem, identity)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends a request and returns the answer's head; its body streams, or it can be upgraded.
    pub(crate) async fn send(&self, node: &NodeAddress, request: Request<Body>) -> Result<Response<Body>, Status> {
        let failed = |error: &dyn std::fmt::Display| {
            Status::internal(format!("error dialing node {}: {}:{}: {error}", node.name, node.ip, node.port))
        };
        let connect = async {
            let stream = TcpStream::connect((node.ip, node.port)).await?;
            stream.set_nodelay(true)?;
            self.connector.connect(ServerName::from(node.ip), stream).await
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| failed(&"no connection in time"))?
            .map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        process::spawn("api-node-connection", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a node ended");
            }
        });
        let response = tokio::time::timeout(RESPONSE_TIMEOUT, sender.send_request(request))
            .await
            .map_err(|_| failed(&"no answer in time"))?
            .map_err(|error| failed(&error))?;
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }
}

/// Where the pod's node listens.
pub(crate) async fn node_of(server: &Apiserver, pod: &Value) -> Result<NodeAddress, Status> {
    let name = pod["spec"]["nodeName"]
        .as_str()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Status::bad_request(format!("pod {} does not have a host assigned", api::meta::name(pod))))?;
    node(server, name).await
}

/// Where a node listens.
pub(crate) async fn node(server: &Apiserver, name: &str) -> Result<NodeAddress, Status> {
    let entry = server.config.store.get(&storage::core_key("nodes", "", name)).await.map_err(storage::unavailable)?;
    let entry = entry.ok_or_else(|| Status::not_found(&Gvr::new("", "v1", "nodes"), name))?;
    let node = storage::parse(&entry.value)?;
    let ip = node["status"]["addresses"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|address| address["type"] == "InternalIP")
        .find_map(|address| address["address"].as_str()?.parse().ok())
        .ok_or_else(|| Status::internal(format!("node {name} has no InternalIP")))?;
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).unwrap_or(PORT);
    Ok(NodeAddress { ip, port, name: name.to_owned() })
}

/// A request to the node with the client's query.
pub(crate) fn request_to(node: &NodeAddress, path: &str, query: Option<&str>) -> http::request::Builder {
    let uri = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    Request::builder().uri(uri).header(header::HOST, node.host())
}

/// The request, addressed to the node.
pub(crate) fn to_host(node: &NodeAddress, mut request: Request<Body>) -> Request<Body> {
    let host = http::HeaderValue::from_str(&node.host()).expect("an address is a header value");
    request.headers_mut().insert(header::HOST, host);
    request
}
