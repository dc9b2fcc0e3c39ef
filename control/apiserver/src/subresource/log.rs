//! pods/log: the node's answer, as it comes.

use super::{
    container,
    node_proxy::{node_of, request_to},
    pod,
};
use crate::{
    Apiserver,
    http::{path::Target, query::Query},
};
use api::{Reason, Status};
use client::Body;
use http::{HeaderValue, Response, header};
use std::sync::Arc;

/// Bytes of a node's error answer that are handed on.
const ERROR_LIMIT: usize = 4096;

pub(super) async fn log(
    server: &Arc<Apiserver>,
    target: &Target,
    query: &Query,
    raw_query: Option<&str>,
) -> Result<Response<Body>, Status> {
    for number in ["tailLines", "limitBytes", "sinceSeconds"] {
        if query.number(number)?.is_some_and(|value| value < 0) {
            return Err(Status::bad_request(format!("{number} must not be negative")));
        }
    }
    let pod = pod(server, target).await?;
    let container = container(&pod, query.get("container"))?;
    if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        // Nothing has run yet: an empty log, as Kubernetes answers.
        return Ok(text(client::empty()));
    }
    let node = node_of(server, &pod).await?;
    let path = format!("/containerLogs/{}/{}/{container}", target.namespace, target.name);
    let outgoing = request_to(&node, &path, raw_query)
        .body(client::empty())
        .map_err(|error| Status::bad_request(error.to_string()))?;
    let response = server.nodes.send(&node, outgoing).await?;
    let code = response.status().as_u16();
    if code == 200 {
        return Ok(text(response.into_body()));
    }
    let bytes = client::collect(response.into_body()).await.unwrap_or_default();
    let message = String::from_utf8_lossy(&bytes[..bytes.len().min(ERROR_LIMIT)]).trim().to_owned();
    Err(match code {
        400 => Status::bad_request(message),
        404 => Status::failure(404, Reason::NotFound, message),
        _ => Status::internal(message),
    })
}

fn text(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
