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
use api::{FieldError, Gvk, Reason, Status, time};
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
    let pod = pod(server, target).await?;
    let errors = options(query)?;
    if !errors.is_empty() {
        return Err(Status::invalid(&Gvk::new("", "v1", "PodLogOptions"), &target.name, errors));
    }
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

/// What is wrong with the options of a request for a log; 400 for what cannot be read at all.
fn options(query: &Query) -> Result<Vec<FieldError>, Status> {
    let mut errors = Vec::new();
    let tail = query.number("tailLines")?;
    if let Some(tail) = tail.filter(|n| *n < 0) {
        errors.push(FieldError::invalid("tailLines", tail, "must be greater than or equal to 0"));
    }
    if let Some(limit) = query.number("limitBytes")?.filter(|n| *n < 1) {
        errors.push(FieldError::invalid("limitBytes", limit, "must be greater than 0"));
    }
    let seconds = query.number("sinceSeconds")?;
    let since = query.get("sinceTime").filter(|text| !text.is_empty());
    if let Some(text) = since.filter(|text| time::parse(text).is_none()) {
        return Err(Status::bad_request(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse it"
        )));
    }
    if seconds.is_some() && since.is_some() {
        let what = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden("", what));
    } else if let Some(seconds) = seconds.filter(|n| *n < 1) {
        errors.push(FieldError::invalid("sinceSeconds", seconds, "must be greater than 0"));
    }
    match query.get("stream").filter(|stream| !stream.is_empty()) {
        None | Some("All") => {}
        Some("Stdout" | "Stderr") if tail.is_some() => {
            errors.push(FieldError::forbidden("", "`tailLines` and specific `stream` are mutually exclusive for now"));
        }
        Some("Stdout" | "Stderr") => {}
        Some(other) => errors.push(FieldError::not_supported("stream", other, &["All", "Stderr", "Stdout"])),
    }
    Ok(errors)
}

fn text(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
