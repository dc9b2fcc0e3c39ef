//! `/version`, health checks, metrics, and the issuer's documents.

use crate::{
    Apiserver,
    http::{query::Query, respond},
    storage,
};
use client::Body;
use http::{HeaderValue, Response};
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

/// `/healthz`, `/livez`, `/readyz`, each with `?verbose`, `?exclude=` and single checks below it.
pub(crate) async fn check(server: &Apiserver, path: &str, query: &Query) -> Response<Body> {
    let name = path.split('/').nth(1).unwrap_or_default();
    let single = path.split('/').nth(2);
    let excluded: Vec<&str> = query.all("exclude").collect();
    let (mut lines, mut failed, mut found) = (String::new(), false, false);
    for check in ["ping", "store"] {
        if single.is_some_and(|single| single != check) {
            continue;
        }
        found = true;
        if excluded.contains(&check) {
            lines.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if check == "ping" || store_answers(server).await {
            lines.push_str(&format!("[+]{check} ok\n"));
        } else {
            failed = true;
            lines.push_str(&format!("[-]{check} failed: reason withheld\n"));
        }
    }
    match (found, failed) {
        (false, _) => respond::text(404, "404 page not found\n"),
        (true, true) => respond::text(500, format!("{lines}{name} check failed\n")),
        (true, false) if query.flag("verbose") => respond::text(200, format!("{lines}{name} check passed\n")),
        (true, false) => respond::text(200, "ok"),
    }
}

async fn store_answers(server: &Apiserver) -> bool {
    let key = storage::core_key("namespaces", "", "default");
    matches!(tokio::time::timeout(STORE_TIMEOUT, server.config.store.get(&key)).await, Ok(Ok(Some(_))))
}

/// `/metrics`.
pub(crate) fn metrics() -> Response<Body> {
    let content_type = HeaderValue::from_static(process::metrics::CONTENT_TYPE);
    respond::bytes_of(200, content_type, process::metrics::text().into())
}

/// `/.well-known/openid-configuration`.
pub(crate) fn openid_configuration(issuer: &str) -> Response<Body> {
    respond::json(
        200,
        &json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }),
    )
}
