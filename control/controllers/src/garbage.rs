//! Garbage: objects whose owners are gone. Background deletion follows the owner's; the finalizers `foregroundDeletion`
//! (dependents first) and `orphan` (dependents stay) hold the owner until they are served.
//!
//! The View is one revision of everything, so an owner that it does not have does not exist: its dependents could only
//! learn its uid after it was created. Owners of kinds that the View does not hold are left in peace.

use api::Key;
use cache::{Change, Kind, Object, View, key_of};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use reconcile::{Controller, EventRecord, Plan, Preconditions, Propagation, Write};
use serde_json::json;
use std::collections::BTreeSet;

use crate::owner;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Collects garbage. Its keys name kind and object: `<group>/<resource>/<name>` in the object's namespace.
#[derive(Debug)]
pub struct GarbageCollector;

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        let mut keys = BTreeSet::new();
        if let Some(object) = &change.new {
            let meta = object.meta();
            if meta.owner_references.as_ref().is_some_and(|owners| !owners.is_empty()) || is_held(meta) {
                keys.insert(encode(change.kind, &change.key));
            }
        }
        let replaced = |old: &Object| change.new.as_ref().is_none_or(|new| new.uid() != old.uid());
        let dependents_matter = change.old.as_ref().is_some_and(replaced)
            || change.new.as_ref().is_some_and(|new| owner::is_deleting(new.meta()));
        if dependents_matter {
            let uids = change.sides().map(Object::uid).filter(|uid| !uid.is_empty());
            keys.extend(uids.flat_map(|uid| view.owned_by(uid)).map(|(kind, key)| encode(kind, key)));
        }
        // An owner that waits for this one to go.
        for reference in change.old.iter().flat_map(|old| old.meta().owner_references.iter().flatten()) {
            if let Some(owner) = view.by_uid(&reference.uid).filter(|owner| is_held(owner.meta())) {
                keys.insert(encode(owner.kind(), &owner.key()));
            }
        }
        keys.into_iter().collect()
    }

    fn reconcile(&self, key: &Key, view: &View, _now: Timestamp) -> Plan {
        let Some((kind, key)) = decode(key) else { return Plan::none() };
        let Some(object) = view.object(kind, &key) else { return Plan::none() };
        let mut plan = Plan::none();
        if owner::is_deleting(object.meta()) {
            release(&object, view, &mut plan);
        } else {
            collect(&object, view, &mut plan);
        }
        plan
    }
}

fn encode(kind: Kind, key: &Key) -> Key {
    Key::new(&key.namespace, &format!("{}/{}/{}", kind.group(), kind.resource(), key.name))
}

fn decode(key: &Key) -> Option<(Kind, Key)> {
    let mut parts = key.name.splitn(3, '/');
    let kind = Kind::from_resource(parts.next()?, parts.next()?)?;
    Some((kind, Key::new(&key.namespace, parts.next()?)))
}

fn has_finalizer(meta: &ObjectMeta, name: &str) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == name)
}

/// Whether a deleted object is kept by one of our finalizers.
fn is_held(meta: &ObjectMeta) -> bool {
    owner::is_deleting(meta) && (has_finalizer(meta, FOREGROUND) || has_finalizer(meta, ORPHAN))
}

/// What an owner reference points to.
enum Owner {
    /// It exists.
    Solid,
    /// It does not.
    Absent,
    /// It waits for its dependents to be deleted first.
    Waiting,
    /// A namespaced owner of a cluster-scoped object, or one in another namespace: it can never be found.
    Misplaced,
}

fn classify(object: &Object, reference: &OwnerReference, view: &View) -> Owner {
    let Some(kind) = Kind::from_api_version(&reference.api_version, &reference.kind) else { return Owner::Solid };
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    if kind.namespaced() && namespace.is_empty() {
        return Owner::Misplaced;
    }
    let key = Key::new(if kind.namespaced() { namespace } else { "" }, &reference.name);
    match view.object(kind, &key).filter(|owner| owner.uid() == reference.uid) {
        None if view.by_uid(&reference.uid).is_some() => Owner::Misplaced,
        None => Owner::Absent,
        Some(owner) if owner::is_deleting(owner.meta()) && has_finalizer(owner.meta(), FOREGROUND) => Owner::Waiting,
        Some(_) => Owner::Solid,
    }
}

/// Deletes a living object whose owners are all gone or wait for it; drops references to gone owners if others stay.
fn collect(object: &Object, view: &View, plan: &mut Plan) {
    let meta = object.meta();
    let references = meta.owner_references.as_deref().unwrap_or_default();
    // A Node is never collected: its owner references may be set by whoever has a node's credentials (CVE-2025-5187).
    if references.is_empty() || object.kind() == Kind::Node {
        return;
    }
    let (mut solid, mut gone, mut waiting) = (Vec::new(), 0, 0);
    for reference in references {
        match classify(object, reference, view) {
            Owner::Solid => solid.push(reference.clone()),
            Owner::Absent => gone += 1,
            Owner::Waiting => waiting += 1,
            Owner::Misplaced if meta.namespace.is_none() => {
                // Nothing can be concluded from it, so the object stays.
                solid.push(reference.clone());
                plan.events.push(misplaced(object, reference));
            }
            Owner::Misplaced => {
                gone += 1;
                plan.events.push(misplaced(object, reference));
            }
        }
    }
    if !solid.is_empty() {
        if gone + waiting > 0 {
            let body = json!({"metadata": {
                "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": solid,
            }});
            plan.writes.push(Write::patch(object.kind(), &key_of(meta), body));
        }
        return;
    }
    let has_dependents = view.owned_by(object.uid()).next().is_some();
    let propagation = if waiting > 0 && has_dependents || has_finalizer(meta, FOREGROUND) {
        Propagation::Foreground
    } else if has_finalizer(meta, ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    let waits_for_us = |dependent: Object| is_held(dependent.meta()) && has_finalizer(dependent.meta(), FOREGROUND);
    if waiting > 0 && dependents(object, view).any(waits_for_us) {
        // A cycle: each would wait for the other. This one stops blocking its owners.
        let unblocked: Vec<OwnerReference> = references
            .iter()
            .map(|reference| OwnerReference { block_owner_deletion: Some(false), ..reference.clone() })
            .collect();
        if unblocked != references {
            let body = json!({"metadata": {
                "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": unblocked,
            }});
            plan.writes.push(Write::patch(object.kind(), &key_of(meta), body));
            return;
        }
    }
    plan.writes.push(Write::delete(
        object.kind(),
        &key_of(meta),
        Preconditions {
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            propagation: Some(propagation),
            grace_seconds: None,
        },
    ));
}

fn misplaced(object: &Object, reference: &OwnerReference) -> EventRecord {
    let message = format!(
        "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace \"{}\"",
        reference.api_version,
        reference.kind,
        object.meta().namespace.as_deref().unwrap_or_default(),
        reference.name,
        reference.uid,
        object.meta().namespace.as_deref().unwrap_or_default(),
    );
    EventRecord::warning_for(object, "OwnerRefInvalidNamespace", message)
}

/// Serves the finalizers of an object that is being deleted.
fn release(object: &Object, view: &View, plan: &mut Plan) {
    let meta = object.meta();
    if has_finalizer(meta, ORPHAN) {
        let dependents: Vec<Object> = dependents(object, view).collect();
        for dependent in dependents.iter() {
            let meta = dependent.meta();
            let left: Vec<&OwnerReference> =
                meta.owner_references.iter().flatten().filter(|owner| owner.uid != object.uid()).collect();
            let body = json!({"metadata": {
                "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": left,
            }});
            plan.writes.push(Write::patch(dependent.kind(), &dependent.key(), body));
        }
        // Writes are in order: if one of those above fails, the finalizer stays.
        plan.writes.push(without_finalizer(object, ORPHAN));
    } else if has_finalizer(meta, FOREGROUND) {
        let blocking = dependents(object, view).any(|dependent| {
            let mut references = dependent.meta().owner_references.iter().flatten();
            references.any(|owner| owner.uid == object.uid() && owner.block_owner_deletion == Some(true))
        });
        if !blocking {
            plan.writes.push(without_finalizer(object, FOREGROUND));
        }
    }
}

fn dependents<'a>(object: &'a Object, view: &'a View) -> impl Iterator<Item = Object> + 'a {
    view.owned_by(object.uid()).filter_map(|(kind, key)| view.object(kind, key))
}

fn without_finalizer(object: &Object, name: &str) -> Write {
    let meta = object.meta();
    let left: Vec<&String> = meta.finalizers.iter().flatten().filter(|finalizer| *finalizer != name).collect();
    let body = json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": left,
    }});
    Write::patch(object.kind(), &key_of(meta), body)
}

#[cfg(test)]
mod tests;
