//! Metrics of the process in the OpenMetrics text format.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::{Metric, Registry};

pub use prometheus_client;
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

static REGISTRY: Mutex<Option<Registry>> = Mutex::new(None);
/// Metrics without our prefix.
static FOREIGN: Mutex<Option<Registry>> = Mutex::new(None);
const END: &str = "# EOF\n";

/// Registers a metric under `gannet_<name>` and hands it back. Call it once for a name, at start.
pub fn register<M: Metric + Clone>(name: &str, help: &str, metric: M) -> M {
    registry().get_or_insert_with(new_registry).register(name, help, metric.clone());
    metric
}

/// Registers a metric under a name that others have fixed (`apiserver_...`) and hands it back. Call it once for a name.
pub fn register_foreign<M: Metric + Clone>(name: &str, help: &str, metric: M) -> M {
    let mut registry = FOREIGN.lock().unwrap_or_else(PoisonError::into_inner);
    registry.get_or_insert_with(Registry::default).register(name, help, metric.clone());
    metric
}

/// A new counter, registered as `gannet_<name>_total`.
pub fn counter(name: &str, help: &str) -> Counter {
    register(name, help, Counter::default())
}

/// A new family of counters, one for each set of labels.
pub fn counters<L>(name: &str, help: &str) -> Family<L, Counter>
where
    L: EncodeLabelSet + Clone + std::hash::Hash + Eq + Send + Sync + std::fmt::Debug + 'static,
{
    register(name, help, Family::default())
}

/// A new gauge, registered as `gannet_<name>`.
pub fn gauge(name: &str, help: &str) -> Gauge {
    register(name, help, Gauge::default())
}

/// A new histogram of seconds with buckets from 0.5 ms to 16 s.
pub fn seconds(name: &str, help: &str) -> Histogram {
    let buckets = std::iter::successors(Some(0.0005), |bound| Some(bound * 2.0)).take(16);
    register(name, help, Histogram::new(buckets))
}

/// All metrics as text, for a `/metrics` endpoint.
pub fn text() -> String {
    let mut out = String::new();
    encode(&mut out, registry().get_or_insert_with(new_registry)).expect("writing to a String does not fail");
    out.truncate(out.trim_end_matches(END).len());
    let mut foreign = FOREIGN.lock().unwrap_or_else(PoisonError::into_inner);
    encode(&mut out, foreign.get_or_insert_with(Registry::default)).expect("writing to a String does not fail");
    out
}

fn new_registry() -> Registry {
    Registry::with_prefix("gannet")
}

fn registry() -> MutexGuard<'static, Option<Registry>> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}
