//! Node lifecycle: a node whose lease is not renewed is Unknown; taints follow conditions; the pods of a node that is
//! not ready are not ready.

use api::Key;
use cache::{Change, Kind, Object, Ready, View};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Controller, EventRecord, Plan, Write};
use serde_json::json;

use crate::owner;

/// How long a node may be silent.
pub const GRACE: SignedDuration = SignedDuration::from_secs(40);

const LEASE_NAMESPACE: &str = "kube-node-lease";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that bar new pods while they are True.
const PRESSURE: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// The conditions that a silent node can no longer vouch for.
const VOUCHED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Watches over nodes.
#[derive(Debug)]
pub struct NodeLifecycleController {
    /// When this control plane started. While it was away no node could renew its lease, so each gets its grace from
    /// here at least.
    pub started: Timestamp,
}

impl Controller for NodeLifecycleController {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        match change.kind {
            Kind::Node => vec![change.key.clone()],
            Kind::Lease if change.key.namespace == LEASE_NAMESPACE => {
                // A renewal matters only if the node is thought silent; otherwise its next look comes by time.
                let key = Key::cluster(&change.key.name);
                let silent = view.object(Kind::Node, &key).is_some_and(|node| node.ready() == Ready::Unknown);
                let renewed = change.old.is_some() && change.new.is_some();
                if silent || !renewed { vec![key] } else { Vec::new() }
            }
            // A pod that comes to a node that is not ready.
            Kind::Pod => {
                let node = change.new.as_ref().and_then(|pod| pod.node().map(Key::cluster));
                let unready =
                    |key: &Key| view.object(Kind::Node, key).is_some_and(|node| !matches!(node.ready(), Ready::Yes(_)));
                node.into_iter().filter(unready).collect()
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, key: &Key, view: &View, now: Timestamp) -> Plan {
        let Some(node) = view.at::<Node>(key) else { return Plan::none() };
        let mut plan = Plan::none();
        if owner::is_deleting(&node.metadata) {
            return plan;
        }
        let heard = self.last_heard(&node, view);
        let silent = heard + GRACE <= now;
        if silent {
            declare_unknown(&node, now, &mut plan);
        } else {
            plan.requeue(heard + GRACE);
        }
        let ready = if silent { Some("Unknown") } else { ready_status(&node) };
        if plan.writes.is_empty() {
            // Both carry the node's resourceVersion, so they cannot go out together: the condition comes first.
            set_taints(&node, ready, now, &mut plan);
        }
        // A node that has said nothing yet has no pods that could have been ready.
        if ready == Some("Unknown") || ready == Some("False") {
            mark_pods(&node, ready, view, now, &mut plan);
        }
        plan
    }
}

impl NodeLifecycleController {
    /// When the node was last heard of: its lease; before the first renewal, its creation.
    fn last_heard(&self, node: &Node, view: &View) -> Timestamp {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let lease = view.get::<Lease>(LEASE_NAMESPACE, name);
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0));
        let created = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
        renewed.max(created).map_or(self.started, |heard| heard.max(self.started))
    }
}

fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn ready_status(node: &Node) -> Option<&str> {
    condition(node, "Ready").map(|ready| ready.status.as_str())
}

fn declare_unknown(node: &Node, now: Timestamp, plan: &mut Plan) {
    let mut conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut changed = false;
    for type_ in VOUCHED {
        let index = conditions.iter().position(|condition| condition.type_ == type_);
        let (reason, message) = match index {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        let index = index.unwrap_or_else(|| {
            let created = node.metadata.creation_timestamp.clone();
            conditions.push(NodeCondition {
                type_: type_.to_owned(),
                last_heartbeat_time: created,
                ..NodeCondition::default()
            });
            conditions.len() - 1
        });
        let condition = &mut conditions[index];
        if condition.status != "Unknown" {
            condition.status = "Unknown".to_owned();
            condition.reason = Some(reason.to_owned());
            condition.message = Some(message.to_owned());
            condition.last_transition_time = Some(Time(now));
            changed = true;
        }
    }
    if changed {
        let mut updated = node.clone();
        updated.status.get_or_insert_default().conditions = Some(conditions);
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Node {name} status is now: NodeNotReady");
        plan.writes.push(Write::update_status(&updated).on_success(EventRecord::normal(node, "NodeNotReady", message)));
    }
}

/// Taints that this controller owns, set or removed as conditions ask; all others stay as they are.
fn set_taints(node: &Node, ready: Option<&str>, now: Timestamp, plan: &mut Plan) {
    let known = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let unschedulable = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match ready {
        Some("True") => {}
        Some("Unknown") => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        Some(_) => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        // It has just registered: no pods yet, and nothing to evict.
        None => wanted.push((NOT_READY, "NoSchedule")),
    }
    if unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    for (type_, key) in PRESSURE {
        if condition(node, type_).is_some_and(|condition| condition.status == "True") {
            wanted.push((key, "NoSchedule"));
        }
    }
    let is_ours = |taint: &Taint| {
        let key = taint.key.as_str();
        let by_condition = PRESSURE.iter().any(|(_, pressure)| *pressure == key) || key == UNSCHEDULABLE;
        let by_readiness = key == NOT_READY || key == UNREACHABLE;
        by_readiness || (by_condition && taint.effect == "NoSchedule")
    };
    let is_wanted = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut taints: Vec<Taint> = known.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                value: None,
                time_added: Some(Time(now)),
            });
        }
    }
    if taints != known {
        let body = json!({
            "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
            "spec": {"taints": taints},
        });
        plan.writes.push(Write::patch(Kind::Node, &cache::key_of(&node.metadata), body));
    }
}

/// Sets Ready to False on the node's pods, so that Services stop sending to them. The node itself says otherwise once
/// it is back.
fn mark_pods(node: &Node, ready: Option<&str>, view: &View, now: Timestamp, plan: &mut Plan) {
    // A node that answers knows its pods better than we do.
    if ready != Some("Unknown") {
        return;
    }
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let ready_pods = view.pods_on(name).filter(|pod| matches!(pod.ready(), Ready::Yes(_)) && !pod.is_terminal());
    for pod in ready_pods.filter_map(Object::typed::<Pod>) {
        let mut updated: Pod = pod.as_ref().clone();
        let conditions = updated.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten());
        for condition in conditions.filter(|condition| condition.type_ == "Ready") {
            condition.status = "False".to_owned();
            condition.reason = Some("NodeNotReady".to_owned());
            condition.last_transition_time = Some(Time(now));
        }
        plan.writes.push(Write::update_status(&updated).on_success(EventRecord::warning(
            pod.as_ref(),
            "NodeNotReady",
            "Node is not ready",
        )));
    }
}

#[cfg(test)]
mod tests;
