//! Import rules and purity, as ARCHITECTURE.md states them.

use super::Finding;
use super::metadata::Graph;

/// Pure crates: everything they reach is pure too.
const PURE: &[&str] = &[
    "abi",
    "packet",
    "api",
    "registry",
    "cache",
    "reconcile",
    "controllers",
    "scheduler",
    "fabric",
    "wire",
    "pod",
    "datapath",
];

/// What purity forbids: I/O, runtimes, sockets, the kernel, randomness.
const IMPURE: &[&str] = &[
    "tokio",
    "mio",
    "hyper",
    "hyper-util",
    "tonic",
    "axum",
    "socket2",
    "aya",
    "aya-obj",
    "libbpf-sys",
    "rtnetlink",
    "netlink-sys",
    "netlink-packet-route",
    "nix",
    "rustix",
    "redb",
    "rustls",
    "rand",
    "getrandom",
    "tempfile",
    "notify",
];

/// Impure crates that pure ones may still reach, because what they are used for there is pure.
const PURE_ENOUGH: &[(&str, &str, &str)] = &[];

/// From `node`, these crates of `control` may be imported.
const NODE_MAY_IMPORT: &[&str] = &["api", "cache", "client", "process"];

/// An outside world and the one crate that may import it (tests, bench and xtask observe from outside).
const SOLE_IMPORTER: &[(&str, &[&str])] = &[
    ("redb", &["store"]),
    ("etcd-client", &["store"]),
    ("aya", &["kernel"]),
    ("aya-obj", &["kernel"]),
    ("aya-log", &["kernel"]),
    ("libbpf-sys", &["kernel"]),
    ("rtnetlink", &["kernel"]),
    ("netlink-packet-route", &["kernel"]),
    ("netlink-packet-core", &["kernel"]),
    ("aya-ebpf", &["prog"]),
    ("store", &["apiserver", "plane"]),
    ("kernel", &["agent", "lb", "gannet"]),
    ("rcgen", &["plane", "agent", "gannet"]),
    ("anyhow", &["gannet", "plane", "agent", "cni"]),
];

/// Crates that only observe: nothing imports them and sole importers do not bind them.
fn observes(folder: &str) -> bool {
    ["tests/", "bench", "xtask", "examples/"].iter().any(|prefix| folder.starts_with(prefix))
}

/// Every edge that a rule forbids.
pub fn check(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, folder) in &graph.ours {
        let imports = graph.imports(name);
        for import in &imports {
            if let Some(rule) = forbidden_edge(graph, name, folder, import) {
                findings.push(format!("{folder}: imports {import}: {rule}"));
            }
        }
        if folder.rsplit('/').next() != Some(name) && !folder.starts_with("tests/") {
            findings.push(format!("{folder}: crate is named {name}: folder name and crate name are one"));
        }
        if PURE.contains(&name.as_str()) {
            for (reached, path) in graph.closure(name) {
                let excused = PURE_ENOUGH.iter().any(|(from, to, _)| from == name && *to == reached);
                if IMPURE.contains(&reached) && !excused {
                    findings.push(format!("{folder}: pure, but reaches {reached} by {name} -> {}", path.join(" -> ")));
                }
            }
        }
    }
    findings
}

fn forbidden_edge(graph: &Graph, name: &str, folder: &str, import: &str) -> Option<&'static str> {
    if let Some((_, importers)) = SOLE_IMPORTER.iter().find(|(world, _)| *world == import)
        && !importers.contains(&name)
        && !observes(folder)
    {
        return Some("another crate is its only importer");
    }
    let to = graph.ours.get(import)?;
    if observes(to) && !folder.starts_with("tests/") {
        return Some("nothing imports tests, bench, examples or xtask");
    }
    if observes(folder) || name == "gannet" {
        return None;
    }
    if folder.starts_with("control/") && (to.starts_with("node/") || to.starts_with("ebpf/")) {
        return Some("control never imports node or ebpf");
    }
    if folder.starts_with("node/") && to.starts_with("control/") && !NODE_MAY_IMPORT.contains(&import) {
        return Some("node imports from control only api, cache, client and process");
    }
    if folder.starts_with("ebpf/") && !to.starts_with("ebpf/") {
        return Some("ebpf stands on itself alone");
    }
    if (name == "api" || name == "abi") && graph.ours.contains_key(import) {
        return Some("api and abi are the two roots");
    }
    if name == "datapath" && import == "api" {
        return Some("datapath knows fabric types only");
    }
    if ["controllers", "scheduler", "fabric"].contains(&name)
        && ["controllers", "scheduler", "fabric"].contains(&import)
    {
        return Some("controllers, scheduler and fabric meet only in the store");
    }
    if ["plane", "agent", "gannet"].contains(&import) && name != "gannet" {
        return Some("plane, agent and gannet only wire");
    }
    None
}
