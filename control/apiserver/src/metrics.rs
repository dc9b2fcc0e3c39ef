//! Counters of requests, under the names Kubernetes' servers use, and the text of `/metrics`.

use crate::http::path::Target;
use process::metrics::{Counter, Family, Gauge, Histogram, register_foreign};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelSetEncoder};
use registry::Resource;
use std::{
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

/// What a request was.
#[derive(Debug, Clone)]
struct Request {
    verb: &'static str,
    resource: Arc<Resource>,
    /// One of the resource's, so the labels are bounded.
    subresource: String,
    scope: &'static str,
    dry_run: bool,
}

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Answered {
    request: Request,
    code: u16,
}

struct Metrics {
    requests: Family<Answered, Counter>,
    seconds: Family<Request, Histogram, fn() -> Histogram>,
    watches: Gauge,
}

/// The upper bounds Kubernetes uses.
const SECONDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];

fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| Metrics {
        requests: register_foreign(
            "apiserver_request",
            "Requests by what they were and how they ended",
            Family::default(),
        ),
        seconds: register_foreign(
            "apiserver_request_duration_seconds",
            "Time to answer, watches and connections aside",
            Family::new_with_constructor(|| Histogram::new(SECONDS)),
        ),
        watches: register_foreign("apiserver_longrunning_requests", "Watches that are open", Gauge::default()),
    })
}

/// A request on its way.
pub(crate) struct Asked {
    request: Request,
    since: tokio::time::Instant,
}

impl Asked {
    /// A request that begins now. `target` is what its path names.
    pub(crate) fn new(verb: &str, resource: &Arc<Resource>, target: &Target, dry_run: bool) -> Self {
        let verb = match verb {
            "get" => "GET",
            "list" => "LIST",
            "watch" => "WATCH",
            "create" => "POST",
            "update" => "PUT",
            "patch" => "PATCH",
            "delete" => "DELETE",
            "deletecollection" => "DELETECOLLECTION",
            _ => "other",
        };
        let known = target.subresource.is_empty() || resource.subresource(&target.subresource).is_some();
        let subresource = if known { target.subresource.clone() } else { "unknown".to_owned() };
        let scope = match (target.name.is_empty(), target.namespace.is_empty()) {
            (false, _) => "resource",
            (true, false) => "namespace",
            (true, true) => "cluster",
        };
        let request = Request { verb, resource: resource.clone(), subresource, scope, dry_run };
        Self { request, since: process::instant() }
    }

    /// Counts it, now that it is answered.
    pub(crate) fn answered(self, code: u16) {
        if self.request.verb != "WATCH" {
            metrics().seconds.get_or_create(&self.request).observe(self.since.elapsed().as_secs_f64());
        }
        metrics().requests.get_or_create(&Answered { request: self.request, code }).inc();
    }
}

impl Request {
    fn parts(&self) -> (&str, &str, &str, &str, &str, &str, bool) {
        let resource = &self.resource;
        (self.verb, &resource.group, &resource.version, &resource.resource, &self.subresource, self.scope, self.dry_run)
    }

    fn encode_into(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let (verb, group, version, resource, subresource, scope, dry_run) = self.parts();
        let dry_run = if dry_run { "All" } else { "" };
        for (name, value) in [
            ("component", "apiserver"),
            ("dry_run", dry_run),
            ("group", group),
            ("resource", resource),
            ("scope", scope),
            ("subresource", subresource),
            ("verb", verb),
            ("version", version),
        ] {
            label(encoder, name, &value)?;
        }
        Ok(())
    }
}

fn label(encoder: &mut LabelSetEncoder<'_>, name: &str, value: &impl EncodeLabelValue) -> fmt::Result {
    let mut label = encoder.encode_label();
    let mut key = label.encode_label_key()?;
    key.write_str(name)?;
    let mut encoded = key.encode_label_value()?;
    value.encode(&mut encoded)?;
    encoded.finish()
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Request {}

impl Hash for Request {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl EncodeLabelSet for Request {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.encode_into(encoder)
    }
}

impl EncodeLabelSet for Answered {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(encoder, "code", &u32::from(self.code))?;
        self.request.encode_into(encoder)
    }
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

/// All metrics in Prometheus' text format 0.0.4, in which counters carry their whole name.
pub(crate) fn text(version: &str) -> String {
    let all = process::metrics::text();
    let mut out = String::with_capacity(all.len() + 1024);
    let counters: Vec<&str> =
        all.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    for line in all.lines() {
        let about = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        match about.and_then(|rest| rest.split_once(' ')) {
            Some((name, rest)) if counters.contains(&name) => {
                out.push_str(&line[..7]);
                out.push_str(name);
                out.push_str("_total ");
                out.push_str(rest);
            }
            _ if line == "# EOF" || line.starts_with("# UNIT ") => continue,
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    process_metrics(&mut out);
    writeln!(
        out,
        "# HELP kubernetes_build_info The version served\n# TYPE kubernetes_build_info gauge\nkubernetes_build_info{{git_version={version:?},major=\"1\",minor=\"36\"}} 1"
    )
    .expect("a String takes what is written");
    out
}

/// Facts of the process, from proc(5).
fn process_metrics(out: &mut String) {
    const PAGE_BYTES: u64 = 4096;
    const TICKS_PER_SECOND: f64 = 100.0;
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
    let stat = read("self/stat");
    // What follows the command's name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    let boot: f64 =
        read("stat").lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or_default();
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let limit = read("self/limits");
    let limit =
        limit.lines().find(|line| line.starts_with("Max open files")).and_then(|line| line.split_whitespace().nth(3));
    for (name, kind, help, value) in [
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time used",
            (number(11) + number(12)) as f64 / TICKS_PER_SECOND,
        ),
        ("process_resident_memory_bytes", "gauge", "Memory in use", (number(21) * PAGE_BYTES) as f64),
        ("process_virtual_memory_bytes", "gauge", "Memory mapped", number(20) as f64),
        ("process_start_time_seconds", "gauge", "Start since the epoch", boot + number(19) as f64 / TICKS_PER_SECOND),
        ("process_open_fds", "gauge", "Open files", descriptors as f64),
        ("process_max_fds", "gauge", "Files that may be open", limit.and_then(|l| l.parse().ok()).unwrap_or_default()),
    ] {
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
            .expect("a String takes what is written");
    }
}
