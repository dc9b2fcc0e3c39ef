//! Last check on the node itself: the scheduler may have decided on an older view.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

use crate::resources::{self, List};
use crate::spec;

/// Why the node does not take the pod; becomes the pod's `status.reason` and `message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: String,
    pub message: String,
}

/// Whether `pod` fits beside `others`, the node's pods that have not ended.
pub fn admit<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod> + Clone,
    allocatable: &List,
) -> Result<(), Rejection> {
    if let Some(capacity) = allocatable.get("pods").and_then(resources::units) {
        let used = i64::try_from(others.clone().count()).unwrap_or(i64::MAX);
        if used >= capacity {
            return Err(lacks("pods", 1, i128::from(used), i128::from(capacity)));
        }
    }
    for (resource, scale) in [("cpu", 1), ("memory", 1000), ("ephemeral-storage", 1000)] {
        let asked = resources::request_milli(pod, resource);
        let Some(capacity) = allocatable.get(resource).and_then(resources::milli) else { continue };
        let used: i128 = others.clone().map(|other| resources::request_milli(other, resource)).sum();
        if asked > 0 && used + asked > capacity {
            return Err(lacks(resource, asked / scale, used / scale, capacity / scale));
        }
    }
    let taken: BTreeSet<_> = others.flat_map(host_ports).collect();
    if host_ports(pod).iter().any(|port| taken.iter().any(|other| clash(port, other))) {
        return Err(Rejection {
            reason: "NodePorts".to_owned(),
            message: "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested \
                      pod ports"
                .to_owned(),
        });
    }
    Ok(())
}

fn lacks(resource: &str, asked: i128, used: i128, capacity: i128) -> Rejection {
    Rejection {
        reason: format!("OutOf{resource}"),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: {resource}, requested: {asked}, used: {used}, \
             capacity: {capacity}"
        ),
    }
}

/// Address, protocol, port.
type HostPort = (String, String, i32);

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    spec::containers(pod)
        .flat_map(|(_, c)| c.ports.iter().flatten())
        .filter_map(|p| {
            let port = p.host_port.filter(|port| *port > 0)?;
            let ip = p.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
            Some((ip, p.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), port))
        })
        .collect()
}

fn clash(a: &HostPort, b: &HostPort) -> bool {
    let any = |ip: &str| ip == "0.0.0.0" || ip == "::";
    a.1 == b.1 && a.2 == b.2 && (a.0 == b.0 || any(&a.0) || any(&b.0))
}
