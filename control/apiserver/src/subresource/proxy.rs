//! pods/proxy, services/proxy and nodes/proxy: the request goes on to what the path names, `[SCHEME:]NAME[:PORT]`, and
//! its answer comes back as it is. Upgrades are joined.

use super::{
    node_proxy::{self, NodeAddress},
    streams::join,
    upstream::{self, Destination, Scheme},
};
use crate::{Apiserver, http::path::Target, storage};
use api::{Gvr, Reason, Status};
use client::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;
use std::{net::IpAddr, sync::Arc};

/// Headers that concern one hop, or that stay here (credentials).
const DROPPED: [&str; 12] = [
    "authorization",
    "connection",
    "host",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-user",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What the name in the path says.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    scheme: Scheme,
    name: &'a str,
    /// A number or a name; empty if there is none.
    port: &'a str,
}

pub(super) async fn proxy(
    server: &Arc<Apiserver>,
    target: &Target,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let named = parse(&target.name).ok_or_else(|| {
        Status::bad_request(format!("invalid {} request {:?}", target.resource.trim_end_matches('s'), target.name))
    })?;
    let place = match target.resource.as_str() {
        "pods" => Place::At(pod(server, target, &named).await?),
        "services" => Place::At(service(server, target, &named).await?),
        _ => node(server, &named).await?,
    };
    let prefix = prefix_of(target);
    let path = tail_of(request.uri(), &prefix);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let outgoing = outgoing(request, &path, upgrade.is_some())?;
    let mut response = match &place {
        Place::At(destination) => upstream::send(destination, server.config.may_proxy_to, outgoing).await?,
        Place::Node(node) => server.nodes.send(node, node_proxy::to_host(node, outgoing)).await?,
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(client_side) = upgrade {
            join(server, client_side, &mut response);
        }
        let (parts, _) = response.into_parts();
        return Ok(Response::from_parts(parts, client::empty()));
    }
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        response.headers_mut().remove(name);
    }
    rewrite_location(response.headers_mut(), &prefix);
    Ok(response)
}

/// Where a request goes.
enum Place {
    At(Destination),
    /// A node's own API, over mutual TLS.
    Node(NodeAddress),
}

fn parse(text: &str) -> Option<Named<'_>> {
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match parts[..] {
        [name] => ("", name, ""),
        [name, port] if !matches!(name, "http" | "https") => ("", name, port),
        // `https:name` has no port.
        [scheme, name] => (scheme, name, ""),
        [scheme, name, port] => (scheme, name, port),
        _ => return None,
    };
    let scheme = match scheme {
        "" | "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    (!name.is_empty()).then_some(Named { scheme, name, port })
}

/// The path up to what is passed on.
fn prefix_of(target: &Target) -> String {
    let namespace = match target.namespace.as_str() {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    format!("/api/{}{namespace}/{}/{}/proxy", target.version, target.resource, target.name)
}

/// What follows the prefix, as it was written, with its query.
fn tail_of(uri: &Uri, prefix: &str) -> String {
    let path = uri.path();
    // Escapes in the name make the written prefix longer than the read one.
    let tail = path.strip_prefix(prefix).or_else(|| path.split_once("/proxy").map(|(_, tail)| tail)).unwrap_or("");
    let tail = if tail.is_empty() { "/" } else { tail };
    match uri.query() {
        Some(query) => format!("{tail}?{query}"),
        None => tail.to_owned(),
    }
}

fn outgoing(request: Request<Body>, path: &str, upgrades: bool) -> Result<Request<Body>, Status> {
    let (parts, body) = request.into_parts();
    let mut out = Request::builder().method(parts.method).uri(path);
    for (name, value) in &parts.headers {
        let kept = !DROPPED.contains(&name.as_str()) && !name.as_str().starts_with("impersonate-extra-");
        if kept {
            out = out.header(name, value);
        }
    }
    if upgrades && let Some(protocol) = parts.headers.get(header::UPGRADE) {
        out = out.header(header::UPGRADE, protocol).header(header::CONNECTION, "Upgrade");
    }
    if let Some(host) = parts.headers.get(header::HOST) {
        out = out.header(HeaderName::from_static("x-forwarded-host"), host);
    }
    out = out
        .header(HeaderName::from_static("x-forwarded-uri"), parts.uri.path())
        .header(HeaderName::from_static("x-forwarded-proto"), "https");
    out.body(body).map_err(|error| Status::bad_request(error.to_string()))
}

/// A redirect within the destination becomes one within the proxy.
fn rewrite_location(headers: &mut HeaderMap, prefix: &str) {
    let Some(location) = headers.get(header::LOCATION).and_then(|l| l.to_str().ok()) else { return };
    if location.starts_with('/')
        && !location.starts_with("//")
        && let Ok(value) = HeaderValue::from_str(&format!("{prefix}{location}"))
    {
        headers.insert(header::LOCATION, value);
    }
}

async fn object(server: &Apiserver, resource: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let entry = server.config.store.get(&storage::core_key(resource, namespace, name)).await;
    let entry = entry.map_err(storage::unavailable)?;
    let entry = entry.ok_or_else(|| Status::not_found(&Gvr::new("", "v1", resource), name))?;
    storage::parse(&entry.value)
}

fn texts<'a>(list: &'a Value) -> impl Iterator<Item = &'a Value> {
    list.as_array().into_iter().flatten()
}

async fn pod(server: &Apiserver, target: &Target, named: &Named<'_>) -> Result<Destination, Status> {
    let pod = object(server, "pods", &target.namespace, named.name).await?;
    let address = |text: Option<&str>| text.and_then(|ip| ip.parse::<IpAddr>().ok());
    let ip = address(pod["status"]["podIP"].as_str()).ok_or_else(|| Status::bad_request("address not allowed"))?;
    let mut ports = texts(&pod["spec"]["containers"]).flat_map(|container| texts(&container["ports"]));
    let port = match named.port {
        "" => ports.next().and_then(|port| port["containerPort"].as_u64()).and_then(|n| u16::try_from(n).ok()),
        text => match text.parse() {
            Ok(number) => Some(number),
            Err(_) => ports
                .find(|port| port["name"] == text)
                .and_then(|port| port["containerPort"].as_u64())
                .and_then(|n| u16::try_from(n).ok()),
        },
    };
    let fallback = if named.scheme == Scheme::Https { 443 } else { 80 };
    if port.is_none() && !named.port.is_empty() {
        return Err(Status::bad_request(format!("invalid port {:?} of pod {}", named.port, named.name)));
    }
    Ok(Destination { scheme: named.scheme, ip, port: port.unwrap_or(fallback) })
}

async fn service(server: &Apiserver, target: &Target, named: &Named<'_>) -> Result<Destination, Status> {
    let service = object(server, "services", &target.namespace, named.name).await?;
    let ports: Vec<&Value> = texts(&service["spec"]["ports"]).collect();
    let number = named.port.parse::<u64>().ok();
    let port = match (named.port, ports.as_slice()) {
        ("", [only]) => Some(*only),
        ("", _) => ports.iter().copied().find(|port| port["name"].as_str().unwrap_or_default().is_empty()),
        (text, _) => ports.iter().copied().find(|port| port["name"] == text || port["port"].as_u64() == number),
    };
    let unavailable = |what: String| Status::failure(503, Reason::ServiceUnavailable, what);
    let port = port
        .ok_or_else(|| unavailable(format!("no service port {:?} found for service {:?}", named.port, named.name)))?;
    let wanted = port["name"].as_str().unwrap_or_default();
    let none = || unavailable(format!("no endpoints available for service {:?}", named.name));
    let prefix = format!("/registry/discovery.k8s.io/endpointslices/{}/", target.namespace);
    let slices = server.config.store.list(&prefix, None, None, None).await.map_err(storage::unavailable)?;
    let mut found: Vec<(IpAddr, u16)> = Vec::new();
    for entry in &slices.entries {
        let slice = storage::parse(&entry.value)?;
        if slice["metadata"]["labels"]["kubernetes.io/service-name"] != named.name {
            continue;
        }
        let numbered = texts(&slice["ports"]).find(|port| port["name"].as_str().unwrap_or_default() == wanted);
        let Some(port) = numbered.and_then(|p| p["port"].as_u64()).and_then(|n| u16::try_from(n).ok()) else {
            continue;
        };
        let ready = texts(&slice["endpoints"]).filter(|endpoint| endpoint["conditions"]["ready"] != false);
        let addresses = ready.flat_map(|endpoint| texts(&endpoint["addresses"]));
        found.extend(addresses.filter_map(|a| Some((a.as_str()?.parse().ok()?, port))));
    }
    if found.is_empty() {
        found = legacy(server, target, named.name, wanted).await?;
    }
    if found.is_empty() {
        return Err(none());
    }
    let (ip, port) = found[pick(found.len())];
    Ok(Destination { scheme: named.scheme, ip, port })
}

/// Any number below `count`, which is not zero.
fn pick(count: usize) -> usize {
    usize::try_from(process::seed() % count as u64).expect("below a count that is a usize")
}

/// Endpoints that somebody wrote by hand.
async fn legacy(server: &Apiserver, target: &Target, name: &str, port: &str) -> Result<Vec<(IpAddr, u16)>, Status> {
    let Ok(endpoints) = object(server, "endpoints", &target.namespace, name).await else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for subset in texts(&endpoints["subsets"]) {
        let numbered = texts(&subset["ports"]).find(|p| p["name"].as_str().unwrap_or_default() == port);
        let Some(port) = numbered.and_then(|p| p["port"].as_u64()).and_then(|n| u16::try_from(n).ok()) else {
            continue;
        };
        found.extend(texts(&subset["addresses"]).filter_map(|a| Some((a["ip"].as_str()?.parse().ok()?, port))));
    }
    Ok(found)
}

async fn node(server: &Apiserver, named: &Named<'_>) -> Result<Place, Status> {
    let node = node_proxy::node(server, named.name).await?;
    match named.port.parse::<u16>() {
        Ok(port) if port != node.port() => Ok(Place::At(Destination { scheme: named.scheme, ip: node.ip(), port })),
        Ok(_) => Ok(Place::Node(node)),
        Err(_) if named.port.is_empty() => Ok(Place::Node(node)),
        Err(_) => Err(Status::bad_request(format!("invalid node request {:?}", named.name))),
    }
}

#[cfg(test)]
mod tests;
