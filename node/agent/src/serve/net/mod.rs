//! `/net/...`: what the data plane does and holds, for `gannet net`; and `/metrics`.
//!
//! Answers are JSON with addresses; names are the asker's to add, who has the whole cluster's. Blocking reads of the kernel run on
//! the pool for them.

mod edges;
mod events;
mod metrics;
mod reasons;
mod tables;
mod trace;

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::{Body, Query, Server, full, text};
use crate::network::Network;

/// Answers a request below `/net`.
pub(super) async fn serve(server: &Server, what: &str, method: &Method, query: &Query) -> Response<Body> {
    let Some(network) = server.pods.network() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the node's network does not stand; `gannet status` says why");
    };
    let result = match (what, method == Method::POST) {
        ("events", false) => Ok(events::answer(&network, query).await),
        ("edges", false) => blocking(&network, edges::answer).await,
        ("services", false) => blocking(&network, tables::services).await,
        ("maps", false) => blocking(&network, tables::maps).await,
        ("programs", false) => blocking(&network, tables::programs).await,
        ("trace", false) => match trace::Question::parse(query) {
            Ok(question) => blocking(&network, move |network| trace::answer(network, &question)).await,
            Err(fault) => return text(StatusCode::BAD_REQUEST, &fault),
        },
        ("verify", repair) => verify(&network, repair).await,
        _ => return text(StatusCode::NOT_FOUND, "no such path on a node's API"),
    };
    match result {
        Ok(value) => {
            let mut response = Response::new(full(value.to_string()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(fault) => text(StatusCode::INTERNAL_SERVER_ERROR, &fault),
    }
}

/// Answers `/metrics` in the text format of Prometheus.
pub(super) async fn metrics(server: &Server) -> Response<Body> {
    let mut page = process::metrics::text();
    if let Some(network) = server.pods.network() {
        match blocking(&network, metrics::text).await {
            Ok(more) => page.push_str(&more),
            Err(fault) => return text(StatusCode::INTERNAL_SERVER_ERROR, &fault),
        }
    }
    let mut response = text(StatusCode::OK, &page);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn verify(network: &Network, repair: bool) -> Result<Value, String> {
    let found = network.verify(repair).await.map_err(|error| error.to_string())?;
    let line = |one: &datapath::Difference| json!({"table": one.table, "entry": one.entry, "service": one.service, "problem": one.problem});
    Ok(json!({"repaired": repair, "differences": found.iter().map(line).collect::<Vec<_>>()}))
}

async fn blocking<T: Send + 'static>(
    network: &Arc<Network>,
    work: impl FnOnce(&Network) -> Result<T, kernel::bpf::Error> + Send + 'static,
) -> Result<T, String> {
    let network = network.clone();
    let done = process::spawn_blocking("network look", move || work(&network)).await;
    done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// The protocol's name.
fn protocol(number: u8) -> String {
    match number {
        abi::IPPROTO_TCP => "TCP".to_owned(),
        abi::IPPROTO_UDP => "UDP".to_owned(),
        abi::IPPROTO_SCTP => "SCTP".to_owned(),
        abi::IPPROTO_ICMP | abi::IPPROTO_ICMPV6 => "ICMP".to_owned(),
        other => other.to_string(),
    }
}

fn socket(addr: abi::Addr, port: abi::Be16) -> String {
    std::net::SocketAddr::new(datapath::ip(addr), port.get()).to_string()
}
