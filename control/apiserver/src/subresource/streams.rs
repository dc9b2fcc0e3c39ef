//! exec, attach and portforward: the client's upgrade is repeated at the node; once both sides have switched, bytes
//! are copied both ways. What protocol they speak (SPDY, websocket) is theirs. An answer that is no 101 goes back as
//! it came, so that a client can fall back from one protocol to the other.

use super::{
    container,
    node_proxy::{node_of, request_to},
    pod,
};
use crate::{
    Apiserver,
    http::{path::Target, query::Query},
};
use api::Status;
use client::Body;
use http::{HeaderName, Request, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;

/// Of the client's headers, those that belong to the upgrade. Credentials stay here.
const FORWARDED: [&str; 9] = [
    "connection",
    "upgrade",
    "x-stream-protocol-version",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "origin",
    "user-agent",
];
/// Bytes waiting in each direction.
const BUFFER: usize = 64 << 10;

pub(super) async fn upgrade(
    server: &Arc<Apiserver>,
    target: &Target,
    query: &Query,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let pod = pod(server, target).await?;
    let kind = target.subresource.as_str();
    let path = match kind {
        "portforward" => format!("/portForward/{}/{}", target.namespace, target.name),
        _ => {
            if kind == "exec" && query.all("command").next().is_none() {
                return Err(Status::bad_request("you must specify at least 1 command for the container"));
            }
            let container = container(&pod, query.get("container"))?;
            format!("/{kind}/{}/{}/{container}", target.namespace, target.name)
        }
    };
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "cannot {kind} a container in a completed pod; current phase is {phase}"
        )));
    }
    let node = node_of(server, &pod).await?;
    if !request.headers().contains_key(header::UPGRADE) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let client_side = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Status::bad_request("this connection cannot be upgraded: use HTTP/1.1"))?;
    let mut outgoing = request_to(&node, &path, request.uri().query()).method(request.method());
    for name in FORWARDED.map(HeaderName::from_static) {
        for value in request.headers().get_all(&name) {
            outgoing = outgoing.header(&name, value);
        }
    }
    let outgoing = outgoing.body(client::empty()).map_err(|error| Status::bad_request(error.to_string()))?;
    let mut response = server.nodes.send(&node, outgoing).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    join(server, client_side, &mut response);
    let (parts, _) = response.into_parts();
    Ok(Response::from_parts(parts, client::empty()))
}

/// Copies bytes between a client and whoever answered 101, once both have switched, until one ends or the server does.
pub(super) fn join(server: &Arc<Apiserver>, client_side: OnUpgrade, response: &mut Response<Body>) {
    let other_side = hyper::upgrade::on(response);
    let ending = server.clone();
    process::spawn("api-upgrade", async move {
        tokio::select! {
            () = splice(client_side, other_side) => {}
            () = ending.ending() => {}
        }
    });
}

async fn splice(client: OnUpgrade, node: impl Future<Output = Result<hyper::upgrade::Upgraded, hyper::Error>>) {
    match tokio::join!(client, node) {
        (Ok(client), Ok(node)) => {
            let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
            // A side that just goes away is how these streams usually end.
            if let Err(error) = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut node, BUFFER, BUFFER).await {
                tracing::debug!(%error, "a stream to a node ended");
            }
        }
        (Err(error), _) | (_, Err(error)) => tracing::debug!(%error, "an upgrade did not happen"),
    }
}
