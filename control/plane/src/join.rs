//! `POST /gannet/v1/join`: a machine that shows the join token gets certificates and the facts a node starts with.
//!
//! The token is `<hex SHA-256 of the CA certificate>.<secret>`: the first half lets the machine know whom it talks to
//! before it sends the second.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::families::Families;
use crate::pki::{self, Pki};

/// Where it is served.
pub const PATH: &str = "/gannet/v1/join";
/// Bytes of randomness in the secret.
const SECRET_BYTES: usize = 24;
/// Longest name of a node (a DNS subdomain, RFC 1123).
const MAX_NODE_NAME: usize = 253;
/// Most addresses of one node.
const MAX_ADDRESSES: usize = 16;

/// What a machine asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinRequest {
    /// The secret half of the token.
    pub secret: String,
    /// Name of the Node object to be.
    pub node: String,
    /// Addresses under which the control plane reaches it.
    pub addresses: Vec<IpAddr>,
    /// PEM certificate request for the client certificate.
    pub client_request: String,
    /// PEM certificate request for the serving certificate.
    pub serving_request: String,
}

/// What it gets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinReply {
    /// PEM.
    pub client_certificate: String,
    /// PEM.
    pub serving_certificate: String,
    /// The cluster's facts.
    #[serde(flatten)]
    pub facts: ClusterFacts,
}

/// What every node of a cluster knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFacts {
    /// Pod addresses of the whole cluster.
    pub cluster_cidr: Families<IpNet>,
    /// Service addresses.
    pub service_cidr: Families<IpNet>,
    /// Service addresses of the cluster's DNS.
    pub cluster_dns: Families<IpAddr>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// Where the fabric is served: `https://host:6444`.
    pub fabric_url: String,
}

/// Answers join requests.
pub struct JoinService {
    pki: Arc<Pki>,
    secret: String,
    facts: ClusterFacts,
}

/// The token in `path`, made when there is none; returns the whole token.
///
/// # Errors
/// When the file cannot be read or written.
pub fn open_token(path: &Path, pki: &Pki) -> Result<String, pki::Error> {
    let token = pki::read_or_create(path, || {
        let mut secret = [0; SECRET_BYTES];
        process::random_bytes(&mut secret);
        format!("{}.{}\n", pki.ca_fingerprint(), pki::hex(&secret))
    })?;
    Ok(token.trim().to_owned())
}

impl JoinService {
    /// A service that accepts `token`.
    pub fn new(pki: Arc<Pki>, token: &str, facts: ClusterFacts) -> Self {
        let secret = token.split_once('.').map_or(token, |(_, secret)| secret).to_owned();
        Self { pki, secret, facts }
    }

    /// Answers one request whose body is read already.
    pub fn answer(&self, request: &Request<Bytes>, now: jiff::Timestamp) -> Response<Bytes> {
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "POST a join request");
        }
        let asked: JoinRequest = match serde_json::from_slice(request.body()) {
            Ok(asked) => asked,
            Err(error) => return text(StatusCode::BAD_REQUEST, &format!("not a join request: {error}")),
        };
        // Compared in constant time: the answer's delay tells nothing about the secret.
        if !bool::from(asked.secret.as_bytes().ct_eq(self.secret.as_bytes())) {
            return text(
                StatusCode::FORBIDDEN,
                "the join token is not this cluster's; `gannet token` on the server prints it",
            );
        }
        if let Err(fault) = check(&asked) {
            return text(StatusCode::BAD_REQUEST, fault);
        }
        let client = self.pki.sign_node_client(&asked.node, &asked.client_request, now);
        let serving = self.pki.sign_node_serving(&asked.node, &asked.addresses, &asked.serving_request, now);
        match (client, serving) {
            (Ok(client_certificate), Ok(serving_certificate)) => {
                tracing::info!(node = asked.node, addresses = ?asked.addresses, "node joins");
                let reply = JoinReply { client_certificate, serving_certificate, facts: self.facts.clone() };
                let body = serde_json::to_vec(&reply).expect("a reply of strings and addresses is JSON");
                let mut response = Response::new(body.into());
                let json = http::HeaderValue::from_static("application/json");
                response.headers_mut().insert(http::header::CONTENT_TYPE, json);
                response
            }
            (Err(error), _) | (_, Err(error)) => text(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }
}

fn check(asked: &JoinRequest) -> Result<(), &'static str> {
    let plain = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty()
            && part.len() <= 63
            && part.chars().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if asked.node.len() > MAX_NODE_NAME || !asked.node.split('.').all(plain) {
        return Err("a node's name is a DNS subdomain: lower case letters, digits, '-' and '.'; use --node-name");
    }
    if asked.addresses.is_empty() || asked.addresses.len() > MAX_ADDRESSES {
        return Err("a node has 1 to 16 addresses");
    }
    Ok(())
}

fn text(status: StatusCode, message: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{message}\n")));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
