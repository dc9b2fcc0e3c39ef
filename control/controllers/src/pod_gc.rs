//! Pods that nobody else would remove: those of nodes that are gone, those deleted before they had a node, and ended
//! ones beyond a number.

use api::Key;
use cache::{Change, Kind, Object, View};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Controller, Plan, Preconditions, Write};
use serde_json::json;

use crate::pods;

/// How long a node must be gone before its pods are: it may only have been registered anew.
pub const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);
/// How many ended pods are kept (kube-controller-manager's `--terminated-pod-gc-threshold`).
pub const MAX_TERMINATED: usize = 12_500;

const DISRUPTION: &str = "DisruptionTarget";
const REASON: &str = "DeletionByPodGC";
/// The key of the look over all ended pods.
const TERMINATED: &str = "terminated";

/// Collects pods. Its keys are pods, and one for all ended ones.
#[derive(Debug)]
pub struct PodGarbageCollector;

impl Controller for PodGarbageCollector {
    fn name(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        let own = |pod: &Object| concerns(pod, view).then(|| pod.key());
        match (&change.kind, &change.new) {
            (Kind::Pod, Some(pod)) => {
                let terminated = pod.is_terminal().then(|| Key::cluster(TERMINATED));
                own(pod).into_iter().chain(terminated).collect()
            }
            (Kind::Node, new) if new.is_none() || change.old.is_none() => {
                view.pods_on(&change.key.name).filter_map(own).collect()
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, key: &Key, view: &View, now: Timestamp) -> Plan {
        if *key == Key::cluster(TERMINATED) {
            return drop_oldest_terminated(view);
        }
        let mut plan = Plan::none();
        let pod = view.object(Kind::Pod, key).filter(|pod| concerns(pod, view));
        let Some(pod) = pod.and_then(Object::typed::<Pod>) else { return plan };
        match pods::node_name(&pod) {
            None if pods::is_terminating(&pod) => plan.writes.push(delete_now(&pod)),
            None => {}
            Some(node) => orphan(&pod, has_node(view, node), now, &mut plan),
        }
        plan
    }
}

/// Whether there may be anything to do about a pod, by what is known of it undecoded.
fn concerns(pod: &Object, view: &View) -> bool {
    match pod.node() {
        None => pod.is_deleting(),
        Some(node) => pod.is_disrupted() || !has_node(view, node),
    }
}

fn has_node(view: &View, node: &str) -> bool {
    view.object(Kind::Node, &Key::cluster(node)).is_some()
}

/// A pod whose node is gone is marked, and deleted when the mark is old enough; if the node is back, the mark goes.
fn orphan(pod: &Pod, node_exists: bool, now: Timestamp, plan: &mut Plan) {
    let mark = pods::condition(pod, DISRUPTION).filter(|mark| mark.reason.as_deref() == Some(REASON));
    match (node_exists, mark) {
        (true, None) => {}
        (true, Some(_)) => plan.writes.push(write_mark(pod, None)),
        (false, None) => plan.writes.push(write_mark(pod, Some(now))),
        (false, Some(mark)) => {
            let since = mark.last_transition_time.as_ref().map_or(now, |time| time.0);
            if since + QUARANTINE <= now {
                plan.writes.push(delete_now(pod));
            } else {
                plan.requeue(since + QUARANTINE);
            }
        }
    }
}

fn write_mark(pod: &Pod, since: Option<Timestamp>) -> Write {
    let known = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut conditions: Vec<serde_json::Value> =
        known.filter(|condition| condition.type_ != DISRUPTION).map(|condition| json!(condition)).collect();
    if let Some(since) = since {
        conditions.push(json!({
            "type": DISRUPTION,
            "status": "True",
            "reason": REASON,
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": api::time::format(since),
        }));
    }
    let body = json!({
        "metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version},
        "status": {"conditions": conditions},
    });
    Write::patch_status(Kind::Pod, &cache::key_of(&pod.metadata), body)
}

fn delete_now(pod: &Pod) -> Write {
    let preconditions =
        Preconditions { uid: pod.metadata.uid.clone(), grace_seconds: Some(0), ..Preconditions::default() };
    Write::delete(Kind::Pod, &cache::key_of(&pod.metadata), preconditions)
}

fn drop_oldest_terminated(view: &View) -> Plan {
    let ended: Vec<&Object> =
        view.tables.all(Kind::Pod).filter(|pod| pod.is_terminal() && !pod.is_deleting()).collect();
    let surplus = ended.len().saturating_sub(MAX_TERMINATED);
    if surplus == 0 {
        return Plan::none();
    }
    let mut ended: Vec<(Option<Time>, &Object)> =
        ended.into_iter().map(|pod| (pod.meta().creation_timestamp, pod)).collect();
    ended.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.name().cmp(other.name())));
    let oldest = ended.into_iter().take(surplus).filter_map(|(_, pod)| pod.typed());
    Plan { writes: oldest.map(|pod| delete_now(&pod)).collect(), ..Plan::default() }
}

#[cfg(test)]
mod tests;
