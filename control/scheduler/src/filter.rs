//! Filters: which nodes can take a pod, and why one cannot. In the order of Kubernetes' default profile; the first
//! that refuses a node names the reasons.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use crate::snapshot::{HostPort, NodeLoad};
use cache::taint;

use crate::{affinity, resources::Resources};

const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// A pod with what the filters need, worked out once.
#[derive(Debug)]
pub struct Demand<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What it asks for.
    pub requests: Resources,
    /// What it counts as when loads are compared.
    pub assumed: Resources,
    /// The ports of the node that it takes.
    pub ports: Vec<HostPort>,
    /// The uid of its controller.
    pub controller: Option<String>,
}

impl<'a> Demand<'a> {
    /// Works a pod's demand out.
    pub fn of(pod: &'a Pod) -> Demand<'a> {
        Demand {
            pod,
            requests: crate::resources::requests(pod),
            assumed: crate::resources::assumed_requests(pod),
            ports: crate::snapshot::host_ports(pod),
            controller: crate::snapshot::controller(pod),
        }
    }
}

/// Why the node cannot take the pod; empty if it can.
pub fn reasons(demand: &Demand<'_>, name: &str, node: &Node, load: &NodeLoad) -> Vec<String> {
    if is_unschedulable(demand.pod, node) {
        return vec!["node(s) were unschedulable".to_owned()];
    }
    let wanted = demand.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if !wanted.is_empty() && wanted != name {
        return vec!["node(s) didn't match the requested node name".to_owned()];
    }
    if let Some(taint) = taint::untolerated(demand.pod, node, &["NoSchedule", "NoExecute"]).next() {
        let value = taint.value.as_deref().unwrap_or_default();
        return vec![format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)];
    }
    if !affinity::is_allowed(demand.pod, node) {
        return vec!["node(s) didn't match Pod's node affinity/selector".to_owned()];
    }
    if demand.ports.iter().any(|port| conflicts(port, &load.ports)) {
        return vec!["node(s) didn't have free ports for the requested pod ports".to_owned()];
    }
    insufficient(demand, load)
}

fn is_unschedulable(pod: &Pod, node: &Node) -> bool {
    let unschedulable = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    let taint = Taint { key: UNSCHEDULABLE_TAINT.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    unschedulable && !taint::is_tolerated(pod, &taint)
}

/// Two ports conflict on one address, and on any address when one of them takes all.
fn conflicts(wanted: &HostPort, taken: &BTreeMap<HostPort, usize>) -> bool {
    let any = |ip: &str| ip == "0.0.0.0" || ip == "::";
    taken.keys().any(|(ip, protocol, number)| {
        *protocol == wanted.1 && *number == wanted.2 && (*ip == wanted.0 || any(ip) || any(&wanted.0))
    })
}

fn insufficient(demand: &Demand<'_>, load: &NodeLoad) -> Vec<String> {
    let mut reasons = Vec::new();
    if load.pods + 1 > load.allocatable.get("pods") {
        reasons.push("Too many pods".to_owned());
    }
    for (name, amount) in demand.requests.iter().filter(|(_, amount)| *amount > 0) {
        if amount > load.allocatable.get(name) - load.requested.get(name) {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    reasons
}
