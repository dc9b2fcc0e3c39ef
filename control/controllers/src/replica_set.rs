//! ReplicaSets: as many pods as asked for.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use api::Key;
use cache::selector::LabelSet;
use cache::{Change, Kind, Object, Ready, Uid, View};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reconcile::{Controller, EventRecord, Plan, Preconditions, Write};

use crate::{owner, pods};

/// The most pods that one reconcile creates or deletes (kube-controller-manager's burst).
pub const MAX_BURST: usize = 500;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Keeps the number of a ReplicaSet's pods at `spec.replicas`.
#[derive(Debug)]
pub struct ReplicaSetController;

impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        match change.kind {
            Kind::ReplicaSet => vec![change.key.clone()],
            Kind::Pod => {
                let mut keys: Vec<Key> = change.sides().flat_map(|pod| replica_sets_of(pod, view)).collect();
                keys.dedup();
                keys
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, key: &Key, view: &View, now: Timestamp) -> Plan {
        let Some(set) = view.at::<ReplicaSet>(key) else { return Plan::none() };
        let Some(spec) = &set.spec else { return Plan::none() };
        let owner::Claim { owned, writes } =
            owner::claim(set.as_ref(), &spec.selector, Kind::Pod, view, |pod| !pod.is_terminal());
        let (active, terminating): (Vec<&Object>, Vec<&Object>) = owned.into_iter().partition(|pod| !pod.is_deleting());

        let mut plan = Plan { writes, ..Plan::default() };
        if !owner::is_deleting(&set.metadata) {
            let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
            match active.len().cmp(&wanted) {
                Ordering::Less => create(&set, (wanted - active.len()).min(MAX_BURST), &mut plan),
                Ordering::Greater => {
                    delete(&set, &active, (active.len() - wanted).min(MAX_BURST), view, now, &mut plan);
                }
                Ordering::Equal => {}
            }
        }
        set_status(&set, &active, terminating.len(), now, &mut plan);
        plan
    }
}

/// The ReplicaSets that a pod concerns: its controller; for an orphan, those whose selector matches it.
fn replica_sets_of(pod: &Object, view: &View) -> Vec<Key> {
    if pod.controller().is_some() {
        return owner::controller_object(pod, Kind::ReplicaSet, view).map(Object::key).into_iter().collect();
    }
    let none = LabelSet::default();
    let labels = pod.labels().unwrap_or(&none);
    let selects = |set: &&Object| {
        let set = set.typed::<ReplicaSet>();
        set.is_some_and(|set| set.spec.as_ref().is_some_and(|spec| labels.matches(&spec.selector)))
    };
    view.selecting(Kind::ReplicaSet, pod.namespace(), Some(labels)).filter(selects).map(Object::key).collect()
}

fn create(set: &ReplicaSet, count: usize, plan: &mut Plan) {
    let pod = new_pod(set);
    let write = Write::create(&pod)
        .on_success(EventRecord::normal(set, "SuccessfulCreate", "Created pod: {}"))
        .on_failure(EventRecord::warning(set, "FailedCreate", "Error creating: {}"));
    plan.writes.extend(std::iter::repeat_n(write, count));
}

fn new_pod(set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let from = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: from.finalizers,
            owner_references: Some(vec![owner::controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

fn delete(set: &ReplicaSet, active: &[&Object], count: usize, view: &View, now: Timestamp, plan: &mut Plan) {
    let neighbours = neighbours_by_node(set, view);
    let mut ranked: Vec<Arc<Pod>> = active.iter().filter_map(|pod| pod.typed()).collect();
    ranked.sort_by(|a, b| deletion_order(a, b, &neighbours, now));
    for pod in ranked.into_iter().take(count) {
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), ..Preconditions::default() };
        let write = Write::delete(Kind::Pod, &cache::key_of(&pod.metadata), preconditions)
            .on_success(EventRecord::normal(set, "SuccessfulDelete", "Deleted pod: {}"))
            .on_failure(EventRecord::warning(set, "FailedDelete", "Error deleting: {}"));
        plan.writes.push(write);
    }
}

/// How many active pods of this ReplicaSet and its siblings (those of the same Deployment) each node has.
fn neighbours_by_node(set: &ReplicaSet, view: &View) -> BTreeMap<String, usize> {
    let siblings: Vec<Uid> = match owner::controller_of(&set.metadata) {
        None => vec![Uid::of(set.metadata.uid.as_deref().unwrap_or_default())],
        Some(parent) => view
            .owned_by(&Uid::of(&parent.uid))
            .filter(|sibling| sibling.kind() == Kind::ReplicaSet)
            .map(|sibling| sibling.uid().clone())
            .collect(),
    };
    let mut counts = BTreeMap::new();
    let pods = siblings.iter().flat_map(|uid| view.owned_by(uid)).filter(|pod| pod.kind() == Kind::Pod);
    for node in pods.filter(|pod| !pod.is_terminal() && !pod.is_deleting()).filter_map(Object::node) {
        *counts.entry(node.to_owned()).or_default() += 1;
    }
    counts
}

/// Which of two pods goes first: unassigned, then pending, not ready, cheaper, on the fuller node, ready for less
/// long, restarted more often, younger. Times are compared by order of magnitude (KEP-2185), so that pods of about
/// the same age are chosen by uid, which spreads the choice over zones.
fn deletion_order(a: &Pod, b: &Pod, neighbours: &BTreeMap<String, usize>, now: Timestamp) -> Ordering {
    let assigned = |pod: &Pod| pods::node_name(pod).is_some();
    let phase = |pod: &Pod| match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let crowd = |pod: &Pod| pods::node_name(pod).and_then(|node| neighbours.get(node)).copied().unwrap_or(0);
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let younger_first = |a: Option<Timestamp>, b: Option<Timestamp>| magnitude(a, now).cmp(&magnitude(b, now));
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| pods::is_ready(a).cmp(&pods::is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| crowd(b).cmp(&crowd(a)))
        .then_with(|| younger_first(pods::ready_since(a), pods::ready_since(b)))
        .then_with(|| pods::restarts(b).cmp(&pods::restarts(a)))
        .then_with(|| younger_first(created(a), created(b)))
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
        .then_with(|| a.metadata.name.cmp(&b.metadata.name))
}

/// The age's order of magnitude in base 2; what has no time is youngest.
fn magnitude(since: Option<Timestamp>, now: Timestamp) -> u32 {
    let Some(since) = since else { return 0 };
    let seconds = u64::try_from(now.as_second() - since.as_second()).unwrap_or(0);
    64 - seconds.leading_zeros()
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotation = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn set_status(set: &Arc<ReplicaSet>, active: &[&Object], terminating: usize, now: Timestamp, plan: &mut Plan) {
    let Some(spec) = &set.spec else { return };
    let min_ready_seconds = spec.min_ready_seconds.unwrap_or(0);
    let template_labels = spec.template.as_ref().and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let count = |predicate: &dyn Fn(&Object) -> bool| to_i32(active.iter().filter(|pod| predicate(pod)).count());
    let ready = count(&|pod| matches!(pod.ready(), Ready::Yes(_)));
    let available = count(&|pod| available_at(pod, min_ready_seconds).is_some_and(|at| at <= now));
    let fully_labeled =
        count(&|pod| template_labels.is_none_or(|wanted| pod.labels().is_some_and(|own| own.has_all(wanted))));
    let old = set.status.clone().unwrap_or_default();
    let status = ReplicaSetStatus {
        replicas: to_i32(active.len()),
        fully_labeled_replicas: nonzero(fully_labeled),
        ready_replicas: nonzero(ready),
        available_replicas: nonzero(available),
        terminating_replicas: Some(to_i32(terminating)),
        observed_generation: set.metadata.generation.max(old.observed_generation),
        conditions: old.conditions.clone(),
    };
    let soonest = active.iter().filter_map(|pod| available_at(pod, min_ready_seconds)).filter(|at| *at > now).min();
    if let Some(at) = soonest {
        plan.requeue(at);
    }
    if !same_status(&old, &status) || set.status.is_none() {
        let mut updated = set.as_ref().clone();
        updated.status = Some(status);
        plan.writes.push(Write::update_status(&updated));
    }
}

/// From when a ready pod counts as available; `None` if it is not ready.
fn available_at(pod: &Object, min_ready_seconds: i32) -> Option<Timestamp> {
    match pod.ready() {
        Ready::Yes(_) if min_ready_seconds == 0 => Some(Timestamp::MIN),
        Ready::Yes(since) => Some(since? + SignedDuration::from_secs(i64::from(min_ready_seconds))),
        Ready::Unsaid | Ready::Unknown | Ready::No => None,
    }
}

/// Counts that are absent are zero.
fn same_status(a: &ReplicaSetStatus, b: &ReplicaSetStatus) -> bool {
    let counts = |status: &ReplicaSetStatus| {
        let optional = [
            status.fully_labeled_replicas,
            status.ready_replicas,
            status.available_replicas,
            status.terminating_replicas,
        ];
        (status.replicas, optional.map(|count| count.unwrap_or(0)), status.observed_generation)
    };
    counts(a) == counts(b)
}

fn nonzero(count: i32) -> Option<i32> {
    Some(count).filter(|count| *count != 0)
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
