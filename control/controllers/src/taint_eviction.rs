//! Eviction by taints: a pod on a node with a NoExecute taint that it does not tolerate is deleted, at once or when its
//! toleration ends.

use std::sync::Arc;

use api::Key;
use cache::{Change, Kind, Object, View, taint};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use reconcile::{Controller, EventRecord, Plan, Preconditions, Write};
use serde_json::json;

use crate::pods;

/// How long a pod that says nothing about it tolerates a node that is not ready or not reachable. Admission gives each
/// pod tolerations that say so; this is for pods that came without.
pub const DEFAULT_TOLERATION: SignedDuration = SignedDuration::from_secs(300);

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const DISRUPTION: &str = "DisruptionTarget";

/// Evicts pods from tainted nodes. Its keys are pods.
#[derive(Debug)]
pub struct TaintEvictionController;

impl Controller for TaintEvictionController {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        match change.kind {
            Kind::Pod => change.new.iter().filter(|pod| concerns(pod, view)).map(Object::key).collect(),
            Kind::Node => {
                let tainted = |node: &Option<Object>| node.as_ref().filter(|node| node.evicts())?.typed::<Node>();
                let taints = |node: Option<Arc<Node>>| -> Vec<Taint> {
                    node.iter().flat_map(|node| no_execute(node)).cloned().collect()
                };
                if taints(tainted(&change.old)) == taints(tainted(&change.new)) {
                    return Vec::new();
                }
                view.pods_on(&change.key.name).map(Object::key).collect()
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, key: &Key, view: &View, now: Timestamp) -> Plan {
        let mut plan = Plan::none();
        let pod = view.object(Kind::Pod, key).filter(|pod| concerns(pod, view));
        let Some(pod) = pod.and_then(Object::typed::<Pod>) else { return plan };
        let Some(node) = pods::node_name(&pod).and_then(|node| view.get::<Node>("", node)) else { return plan };
        let Some(at) = no_execute(&node).filter_map(|taint| leaves_at(&pod, taint)).min() else { return plan };
        if at > now {
            plan.requeue(at);
            return plan;
        }
        if pods::condition(&pod, DISRUPTION).is_none() {
            plan.writes.push(disrupt(&pod, now));
            return plan;
        }
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), ..Preconditions::default() };
        let message = format!("Marking for deletion Pod {key}");
        plan.writes.push(Write::delete(Kind::Pod, key, preconditions).on_success(EventRecord::normal(
            pod.as_ref(),
            "TaintManagerEviction",
            message,
        )));
        plan
    }
}

/// Whether a pod may have to go, by what is known of it undecoded: it is active, on a node that evicts.
fn concerns(pod: &Object, view: &View) -> bool {
    let node = pod.node().filter(|_| !pod.is_terminal() && !pod.is_deleting());
    node.and_then(|node| view.object(Kind::Node, &Key::cluster(node))).is_some_and(Object::evicts)
}

fn no_execute(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute")
}

/// When a taint drives a pod away; `None`: never. A taint without a time has been there always.
fn leaves_at(pod: &Pod, taint: &Taint) -> Option<Timestamp> {
    let since = taint.time_added.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let matching: Vec<Option<i64>> = tolerations
        .filter(|toleration| taint::tolerates(toleration, taint))
        .map(|toleration| toleration.toleration_seconds)
        .collect();
    if matching.is_empty() {
        let grace =
            if taint.key == NOT_READY || taint.key == UNREACHABLE { DEFAULT_TOLERATION } else { SignedDuration::ZERO };
        return Some(since + grace);
    }
    // The shortest of those that end; a toleration without seconds lasts for ever, and does not lengthen another.
    let seconds = matching.into_iter().flatten().min()?;
    let seconds = SignedDuration::from_secs(seconds.max(0));
    Some(since.checked_add(seconds).unwrap_or(Timestamp::MAX))
}

/// Says on the pod why it is about to go.
fn disrupt(pod: &Pod, now: Timestamp) -> Write {
    let mut conditions = pod.status.as_ref().map_or(json!([]), |status| json!(status.conditions));
    let condition = json!({
        "type": DISRUPTION,
        "status": "True",
        "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": api::time::format(now),
    });
    match conditions.as_array_mut() {
        Some(conditions) => conditions.push(condition),
        None => conditions = json!([condition]),
    }
    let body = json!({
        "metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version},
        "status": {"conditions": conditions},
    });
    Write::patch_status(Kind::Pod, &cache::key_of(&pod.metadata), body)
}

#[cfg(test)]
mod tests;
