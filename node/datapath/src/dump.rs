//! Tables as text, with references resolved and node-local numbers left out: equal states print equally.
use std::collections::BTreeMap;
use std::fmt::Write;

use abi::{Addr, Backend, ServiceKey};

use crate::address::{ip, prefix, source_prefix};
use crate::observed::Observed;

/// One line an entry, sorted.
pub fn dump(tables: &Observed) -> String {
    let mut out = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| {
        out.write_fmt(args).expect("writing to a String cannot fail");
        out.push('\n');
    };
    for (key, value) in &tables.routes {
        let to = prefix(*key).map_or_else(|| "?".to_owned(), |net| net.to_string());
        let native = if value.kind & abi::ROUTE_NATIVE == 0 { "" } else { " native" };
        match value.kind & !abi::ROUTE_NATIVE {
            abi::ROUTE_OVERLAY => line(format_args!("route {to} overlay {}{native}", ip(value.node))),
            abi::ROUTE_NODE => line(format_args!("route {to} node {}{native}", ip(value.node))),
            abi::ROUTE_LOCAL_PODS => line(format_args!("route {to} local pods")),
            abi::ROUTE_THIS_NODE => line(format_args!("route {to} this node")),
            abi::ROUTE_SERVICE_RANGE => line(format_args!("route {to} services")),
            abi::ROUTE_SERVICE_ADDRESS => line(format_args!("route {to} of a service")),
            kind => line(format_args!("route {to} kind {kind}")),
        }
    }
    let mut idle: Vec<u32> = tables.backends.keys().copied().collect();
    for (key, value) in &tables.services {
        let ids = tables.slots_of(value);
        idle.retain(|id| !ids.contains(id));
        let mut text = frontend(key);
        if value.affinity_s > 0 {
            write!(text, " affinity {}s", value.affinity_s).expect("writing to a String cannot fail");
        }
        if value.flags & abi::SERVICE_LOCAL != 0 {
            text.push_str(" local");
        }
        if value.flags & abi::SERVICE_RANGES != 0 {
            text.push_str(" guarded");
        }
        if ids.len() != value.len as usize {
            text.push_str(" DANGLING SLOTS");
        }
        if value.flags & abi::SERVICE_MAGLEV != 0 {
            text.push_str(" maglev");
        }
        if value.flags & abi::SERVICE_RANDOM != 0 {
            text.push_str(" random");
        }
        text.push_str(" ->");
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        ids.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
        let name = |id: &u32| tables.backends.get(id).map_or_else(|| "DANGLING".to_owned(), backend);
        let many = counts.len() < ids.len();
        let share = |count: usize| if many { format!(" {count}/{}", ids.len()) } else { String::new() };
        let mut names: Vec<String> = counts.iter().map(|(id, count)| name(id) + &share(*count)).collect();
        names.sort();
        if names.is_empty() {
            names.push("reject".to_owned());
        }
        line(format_args!("service {text} {}", names.join(", ")));
    }
    for key in &tables.sources {
        let from = source_prefix(*key).map_or_else(|| "?".to_owned(), |net| net.to_string());
        line(format_args!("source {from} -> {}", frontend(&key.source.service)));
    }
    let mut idle: Vec<String> = idle.iter().map(|id| backend(&tables.backends[id])).collect();
    idle.sort();
    for name in idle {
        line(format_args!("backend {name}"));
    }
    for (addr, pod) in &tables.pods {
        let mac = pod.mac.map(|byte| format!("{byte:02x}")).join(":");
        line(format_args!("pod {} mac {mac}", ip(*addr)));
    }
    out
}

pub(crate) fn frontend(key: &ServiceKey) -> String {
    let scope = match key.scope {
        abi::SCOPE_CLUSTER => "cluster",
        abi::SCOPE_NODE_PORT => "nodeport",
        abi::SCOPE_EXTERNAL => "external",
        _ => "?",
    };
    let proto = protocol(key.proto);
    if key.addr == Addr::ANY_V4 {
        return format!("*:{}/{proto} {scope}", key.port.get());
    }
    if key.addr == Addr::ANY {
        return format!("[*]:{}/{proto} {scope}", key.port.get());
    }
    format!("{}/{proto} {scope}", std::net::SocketAddr::new(ip(key.addr), key.port.get()))
}

pub(crate) fn backend(backend: &Backend) -> String {
    let mut text = std::net::SocketAddr::new(ip(backend.addr), backend.port.get()).to_string();
    if backend.flags & abi::BACKEND_LOCAL != 0 {
        text.push_str(" here");
    }
    if backend.flags & abi::BACKEND_DRAINING != 0 {
        text.push_str(" draining");
    }
    if backend.flags & abi::BACKEND_GONE != 0 {
        text.push_str(" gone");
    }
    text
}

fn protocol(number: u8) -> &'static str {
    match number {
        abi::IPPROTO_TCP => "TCP",
        abi::IPPROTO_UDP => "UDP",
        abi::IPPROTO_SCTP => "SCTP",
        _ => "?",
    }
}
