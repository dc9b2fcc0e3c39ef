//! Counters of requests.

use process::metrics::{Counter, Family, Gauge};
use prometheus_client::encoding::EncodeLabelSet;
use std::sync::OnceLock;

/// What a request was, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    resource: String,
    code: u16,
}

struct Metrics {
    requests: Family<Request, Counter>,
    watches: Gauge,
}

fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| Metrics {
        requests: process::metrics::counters("api_requests", "Requests to resources by verb, resource and answer"),
        watches: process::metrics::gauge("api_watches", "Watches that are open"),
    })
}

/// Counts an answered request. `resource` is one that is served, so the labels are bounded.
pub(crate) fn count(verb: &'static str, resource: &str, code: u16) {
    metrics().requests.get_or_create(&Request { verb, resource: resource.to_owned(), code }).inc();
}

/// Counts a watch as open while it lives.
pub(crate) struct OpenWatch(());

impl OpenWatch {
    pub(crate) fn new() -> Self {
        metrics().watches.inc();
        Self(())
    }
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        metrics().watches.dec();
    }
}
