//! `/version`, health checks, metrics, and the issuer's documents.

use crate::{
    Apiserver,
    http::{negotiate, query::Query, respond},
    metrics, storage,
};
use client::Body;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::json;
use std::time::Duration;

/// The Kubernetes version served.
pub(crate) const VERSION: &str = "v1.36.0+gannet";
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// `/version`.
pub(crate) fn version() -> Response<Body> {
    let platform = format!(
        "{}/{}",
        std::env::consts::OS,
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    );
    respond::json(
        200,
        &json!({
            "major": "1", "minor": "36", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": platform,
        }),
    )
}

/// What each endpoint checks, in order. What a `poststarthook/` names has happened before the server answers.
const LIVE: [&str; 7] = [
    "ping",
    "log",
    "etcd",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/apiservice-registration-controller",
];
/// What only `/readyz` checks.
const READY: [&str; 3] = ["etcd-readiness", "informer-sync", "shutdown"];

/// `/healthz`, `/livez`, `/readyz`, each with `?verbose`, `?exclude=` and single checks below it.
pub(crate) async fn check(server: &Apiserver, path: &str, query: &Query) -> Response<Body> {
    let (name, single) = path[1..].split_once('/').map_or((&path[1..], None), |(name, rest)| (name, Some(rest)));
    let excluded: Vec<&str> = query.all("exclude").collect();
    let ready: &[&str] = if name == "readyz" { &READY } else { &[] };
    let all: Vec<&str> = LIVE.iter().chain(ready).copied().collect();
    let asked: Vec<&str> = match single {
        None => all.clone(),
        Some(single) => all.iter().copied().filter(|check| *check == single).collect(),
    };
    if asked.is_empty() {
        return respond::text(404, "404 page not found\n");
    }
    let (mut lines, mut failed) = (String::new(), false);
    let mut store = None;
    for check in asked {
        let good = match check {
            _ if excluded.contains(&check) => {
                lines.push_str(&format!("[+]{check} excluded: ok\n"));
                continue;
            }
            "etcd" | "etcd-readiness" => match store {
                Some(good) => good,
                None => *store.insert(store_answers(server).await),
            },
            "shutdown" => !server.is_ending(),
            _ => true,
        };
        if good {
            lines.push_str(&format!("[+]{check} ok\n"));
        } else {
            failed = true;
            lines.push_str(&format!("[-]{check} failed: reason withheld\n"));
        }
    }
    let unmatched: Vec<String> =
        excluded.iter().filter(|one| !all.contains(one)).map(|one| format!("{one:?}")).collect();
    if !unmatched.is_empty() {
        let listed = unmatched.join(",");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {listed}\n"));
    }
    let mut response = match failed {
        true => respond::text(500, format!("{lines}{name} check failed\n")),
        false if query.flag("verbose") && single.is_none() => {
            respond::text(200, format!("{lines}{name} check passed\n"))
        }
        false => respond::text(200, "ok"),
    };
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn store_answers(server: &Apiserver) -> bool {
    let key = storage::core_key("namespaces", "", "default");
    matches!(tokio::time::timeout(STORE_TIMEOUT, server.config.store.get(&key)).await, Ok(Ok(_)))
}

/// `/metrics`, in Prometheus' text format or OpenMetrics.
pub(crate) fn metrics(headers: &HeaderMap) -> Response<Body> {
    let asks = |range: &negotiate::Range<'_>| range.media == "application/openmetrics-text";
    if negotiate::ranges(headers).first().is_some_and(asks) {
        let content_type = HeaderValue::from_static(process::metrics::CONTENT_TYPE);
        return respond::bytes_of(200, content_type, process::metrics::text().into());
    }
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    respond::bytes_of(200, content_type, metrics::text(VERSION).into())
}
