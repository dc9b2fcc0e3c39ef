//! Subresources: what a path below an object does beside the object and its status.

mod binding;
pub(crate) mod components;
mod eviction;
mod finalize;
mod log;
pub(crate) mod node_proxy;
mod part;
mod proxy;
pub(crate) mod scale;
mod streams;
mod token;
mod upstream;

pub use upstream::is_proxyable;

use crate::{
    Apiserver,
    generic::{Context, serves},
    http::{path::Target, query::Query},
    storage,
};
use api::{Status, meta};
use bytes::Bytes;
use client::Body;
use http::{Method, Request, Response};
use registry::Resource;
use serde_json::Value;
use std::sync::Arc;

/// Subresources whose answer is a stream from a node: they need the request as it came.
pub(crate) fn is_stream(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// Subresources that are upgraded to streams in both directions.
pub(crate) fn is_upgrade(subresource: &str) -> bool {
    matches!(subresource, "exec" | "attach" | "portforward")
}

/// Answers a streaming subresource. The caller has authorized the request.
pub(crate) async fn stream(
    server: &Arc<Apiserver>,
    resource: &Resource,
    target: &Target,
    query: &Query,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let verb = match *request.method() {
        Method::GET => "get",
        Method::HEAD => "get",
        Method::POST => "create",
        Method::DELETE => "delete",
        Method::PATCH => "patch",
        _ => "update",
    };
    if !serves(resource, &target.subresource, verb)? {
        return Err(Status::method_not_allowed(&resource.gvr(), verb));
    }
    if target.subresource == "log" {
        let raw_query = request.uri().query().map(str::to_owned);
        drop(request);
        log::log(server, target, query, raw_query.as_deref()).await
    } else if target.subresource == "proxy" {
        proxy::proxy(server, target, request).await
    } else {
        streams::upgrade(server, target, query, request).await
    }
}

/// Calls the subresource's own code.
pub(crate) async fn dispatch(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    if !serves(&context.resource, &context.target.subresource, context.verb)? {
        return Err(Status::method_not_allowed(&context.resource.gvr(), context.verb));
    }
    match context.target.subresource.as_str() {
        "scale" => scale::scale(context, body).await,
        "ephemeralcontainers" => part::part(context, body, part::EPHEMERAL_CONTAINERS).await,
        "resize" => part::part(context, body, part::RESIZE).await,
        "binding" => binding::bind(context, &body).await,
        "eviction" => eviction::evict(context, &body).await,
        "token" => token::create(context, &body).await,
        "finalize" => finalize::finalize(context, &body).await,
        _ => Err(Status::no_such_resource()),
    }
}

/// A binding posted to the collection `bindings`.
pub(crate) async fn bind(context: &mut Context<'_>, body: &Bytes) -> Result<Response<Body>, Status> {
    binding::bind(context, body).await
}

/// The pod a request is about.
async fn pod(server: &Apiserver, target: &Target) -> Result<Value, Status> {
    let resource = registry::find("", "v1", "pods").expect("the table has pods");
    let key = storage::key(resource, &target.namespace, &target.name);
    let entry = server.config.store.get(&key).await.map_err(storage::unavailable)?;
    let entry = entry.ok_or_else(|| Status::not_found(&resource.gvr(), &target.name))?;
    storage::parse(&entry.value)
}

/// The container a request names, the one the pod marks as its default, or the only one.
fn container(pod: &Value, asked: Option<&str>) -> Result<String, Status> {
    const DEFAULT: &str = "kubectl.kubernetes.io/default-container";
    let names = |field: &str| -> Vec<&str> {
        pod["spec"][field].as_array().into_iter().flatten().filter_map(|container| container["name"].as_str()).collect()
    };
    let (containers, init) = (names("containers"), names("initContainers"));
    let ephemeral = names("ephemeralContainers");
    if let Some(asked) = asked {
        let known = containers.iter().chain(&init).chain(&ephemeral).any(|name| *name == asked);
        return if known {
            Ok(asked.to_owned())
        } else {
            Err(Status::bad_request(format!("container {asked} is not valid for pod {}", meta::name(pod))))
        };
    }
    if let Some(default) = meta::annotation(pod, DEFAULT).filter(|default| containers.contains(default)) {
        return Ok(default.to_owned());
    }
    match containers[..] {
        [only] => Ok(only.to_owned()),
        [] => Err(Status::bad_request(format!("pod {} has no containers", meta::name(pod)))),
        _ => {
            let mut text = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                meta::name(pod),
                containers.join(" ")
            );
            if !init.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Status::bad_request(text))
        }
    }
}
