//! Namespaces that are being deleted: their pods go first, then everything else, then they are finalized.

use api::{Gvr, Key};
use cache::{Change, Kind, View};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Controller, Plan, Preconditions, Write};
use serde_json::json;

use crate::owner;

const FINALIZER: &str = "kubernetes";
/// How long to wait before looking again at what does not go away.
const RETRY: SignedDuration = SignedDuration::from_secs(5);

/// Empties and finalizes namespaces.
#[derive(Debug)]
pub struct NamespaceController;

impl Controller for NamespaceController {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        if change.kind == Kind::Namespace {
            return vec![change.key.clone()];
        }
        let key = Key::cluster(&change.key.namespace);
        let deleting = view.at::<Namespace>(&key).is_some_and(|namespace| owner::is_deleting(&namespace.metadata));
        if deleting { vec![key] } else { Vec::new() }
    }

    fn reconcile(&self, key: &Key, view: &View, now: Timestamp) -> Plan {
        let Some(namespace) = view.at::<Namespace>(key).filter(|namespace| owner::is_deleting(&namespace.metadata))
        else {
            return Plan::none();
        };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Plan::none();
        }
        let mut plan = Plan::none();
        let name = &key.name;
        let left: Vec<Kind> = namespaced().filter(|kind| !view.tables.keys(*kind, Some(name)).is_empty()).collect();
        // A pod may need its Secrets and ServiceAccount to the last (CVE-2024-7598: policies deleted before pods).
        let kinds: Vec<Kind> = if left.contains(&Kind::Pod) { vec![Kind::Pod] } else { left.clone() };
        for kind in kinds {
            for key in view.tables.keys(kind, Some(name)) {
                let object = view.object(kind, &key).expect("a listed key has an object");
                if !owner::is_deleting(object.meta()) {
                    let preconditions = Preconditions { uid: object.meta().uid.clone(), ..Preconditions::default() };
                    plan.writes.push(Write::delete(kind, &key, preconditions));
                }
            }
        }
        if left.is_empty() {
            finalize(&namespace, &finalizers, &mut plan);
        } else {
            report(&namespace, &left, view, now, &mut plan);
            plan.requeue(now + RETRY);
        }
        plan
    }
}

fn namespaced() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| kind.namespaced())
}

fn events() -> Gvr {
    Gvr::new("", "v1", "events")
}

fn finalize(namespace: &Namespace, finalizers: &[String], plan: &mut Plan) {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    plan.writes.push(Write::delete_collection(events(), name));
    let mut finalized = namespace.clone();
    finalized.spec.get_or_insert_default().finalizers =
        Some(finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect());
    let gone = namespaced().map(Kind::gvr).chain([events()]).collect();
    plan.writes.push(Write::finalize(&finalized, gone));
}

/// Says in the namespace's conditions what is left and what it waits for.
fn report(namespace: &Namespace, left: &[Kind], view: &View, now: Timestamp, plan: &mut Plan) {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let counts: Vec<String> = left
        .iter()
        .map(|kind| {
            let count = view.tables.keys(*kind, Some(name)).len();
            format!("{}.{} has {count} resource instances", kind.resource(), kind.group())
        })
        .collect();
    let finalizers: usize = left
        .iter()
        .flat_map(|kind| view.tables.keys(*kind, Some(name)).into_iter().filter_map(|key| view.object(*kind, &key)))
        .map(|object| object.meta().finalizers.iter().flatten().count())
        .sum();
    let mut wanted = vec![condition(
        "NamespaceContentRemaining",
        "True",
        "SomeResourcesRemain",
        format!("Some resources are remaining: {}", counts.join(", ")),
        now,
    )];
    if finalizers > 0 {
        let message = format!("Some content in the namespace has finalizers remaining: {finalizers} in all");
        wanted.push(condition("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message, now));
    }
    let known = namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let unchanged = wanted.len() == known.len()
        && wanted
            .iter()
            .zip(&known)
            .all(|(wanted, known)| (&wanted.type_, &wanted.message) == (&known.type_, &known.message));
    if !unchanged {
        let body = json!({"metadata": {"uid": namespace.metadata.uid}, "status": {"conditions": wanted}});
        plan.writes.push(Write::patch_status(Kind::Namespace, &Key::cluster(name), body));
    }
}

fn condition(type_: &str, status: &str, reason: &str, message: String, now: Timestamp) -> NamespaceCondition {
    NamespaceCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
    }
}

#[cfg(test)]
mod tests;
