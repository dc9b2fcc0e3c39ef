//! Namespaces that are being deleted: their pods go first, then everything else, then they are finalized.

use api::{Gvr, Key};
use cache::{Change, Kind, View};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use reconcile::{Controller, Plan, Preconditions, Write};
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
        let left: Vec<Kind> = namespaced().filter(|kind| view.tables.list(*kind, name).next().is_some()).collect();
        // A pod may need its Secrets and ServiceAccount to the last (CVE-2024-7598: policies deleted before pods).
        let kinds: Vec<Kind> = if left.contains(&Kind::Pod) { vec![Kind::Pod] } else { left.clone() };
        for kind in kinds {
            for object in view.tables.list(kind, name).filter(|object| !object.is_deleting()) {
                let preconditions = Preconditions { uid: Some(object.uid().to_string()), ..Preconditions::default() };
                plan.writes.push(Write::delete(kind, &object.key(), preconditions));
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

/// What is left of one kind in a namespace.
#[derive(Clone, Debug)]
pub struct Left {
    /// The resource's name.
    pub resource: String,
    /// Its group.
    pub group: String,
    /// How many objects.
    pub count: usize,
    /// The finalizers on them, one entry an object that has it.
    pub finalizers: Vec<String>,
}

/// The conditions of a namespace that is going: what is left, what holds it, and what could not be deleted. Those of
/// `known` that say the same keep their time.
pub fn conditions(left: &[Left], failures: &[String], known: &Value, now: Timestamp) -> Value {
    let mut by_finalizer: BTreeMap<&str, usize> = BTreeMap::new();
    left.iter().flat_map(|left| &left.finalizers).for_each(|one| *by_finalizer.entry(one).or_default() += 1);
    let counts =
        left.iter().map(|left| format!("{}.{} has {} resource instances", left.resource, left.group, left.count));
    let held = by_finalizer.iter().map(|(name, count)| format!("{name} in {count} resource instances"));
    let (counts, held): (Vec<String>, Vec<String>) = (counts.collect(), held.collect());
    let said = |is: bool, yes: (&'static str, String), no: (&'static str, &str)| match is {
        true => ("True", yes.0, yes.1),
        false => ("False", no.0, no.1.to_owned()),
    };
    let failed = format!("Failed to delete all resource types, {} remaining: {}", failures.len(), failures.join(", "));
    let remaining = format!("Some resources are remaining: {}", counts.join(", "));
    let finalizers = format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
    let no = |reason, message| (reason, message);
    let all = [
        (
            "NamespaceDeletionDiscoveryFailure",
            ("False", "ResourcesDiscovered", "All resources successfully discovered".to_owned()),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            ("False", "ParsedGroupVersions", "All legacy kube types successfully parsed".to_owned()),
        ),
        (
            "NamespaceDeletionContentFailure",
            said(
                !failures.is_empty(),
                ("ContentDeletionFailed", failed),
                no("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ),
        ),
        (
            "NamespaceContentRemaining",
            said(
                !left.is_empty(),
                ("SomeResourcesRemain", remaining),
                no("ContentRemoved", "All content successfully removed"),
            ),
        ),
        (
            "NamespaceFinalizersRemaining",
            said(
                !held.is_empty(),
                ("SomeFinalizersRemain", finalizers),
                no("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ),
        ),
    ];
    let known = known.as_array().map(Vec::as_slice).unwrap_or_default();
    let list = all.into_iter().map(|(type_, (status, reason, message))| {
        let same = known.iter().find(|one| one["type"] == type_ && one["status"] == status);
        let since = same.and_then(|one| one["lastTransitionTime"].as_str()).map(str::to_owned);
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| api::time::format(now)),
        })
    });
    Value::Array(list.collect())
}

/// Says in the namespace's conditions what is left and what it waits for.
fn report(namespace: &Namespace, left: &[Kind], view: &View, now: Timestamp, plan: &mut Plan) {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let left: Vec<Left> = left
        .iter()
        .map(|kind| {
            let objects = || view.tables.list(*kind, name);
            let finalizers = objects().flat_map(|object| object.meta().finalizers.unwrap_or_default());
            Left {
                resource: kind.resource().to_owned(),
                group: kind.group().to_owned(),
                count: objects().count(),
                finalizers: finalizers.collect(),
            }
        })
        .collect();
    let known = namespace.status.as_ref().and_then(|status| status.conditions.as_ref());
    let known = known.map_or(Value::Null, |known| json!(known));
    let wanted = conditions(&left, &[], &known, now);
    if wanted != known {
        let body = json!({"metadata": {"uid": namespace.metadata.uid}, "status": {"conditions": wanted}});
        plan.writes.push(Write::patch_status(Kind::Namespace, &Key::cluster(name), body));
    }
}

#[cfg(test)]
mod tests;
