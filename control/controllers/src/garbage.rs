//! Garbage: objects whose owners are gone. Background deletion follows the owner's; the finalizers `foregroundDeletion`
//! (dependents first) and `orphan` (dependents stay) hold the owner until they are served.
//!
//! [`decide`] is the rule, over what is known of any object. [`GarbageCollector`] applies it to a View: one revision of
//! everything it holds, so an owner that it does not have does not exist, and owners of kinds that it does not hold are
//! left in peace. The control plane applies it to every kind, custom ones too.

use api::Key;
use cache::{Change, Kind, Object, Uid, View};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use reconcile::{Controller, EventRecord, Plan};
use std::collections::BTreeSet;

use crate::owner;

mod decide;

pub use decide::{Decision, FOREGROUND, MISPLACED, Node, ORPHAN, Owner, decide, misplaced_message};

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
            if meta.owner_references.as_ref().is_some_and(|owners| !owners.is_empty()) || is_held(&meta) {
                keys.insert(encode(change.kind, &change.key));
            }
        }
        let replaced = |old: &Object| change.new.as_ref().is_none_or(|new| new.uid() != old.uid());
        let dependents_matter =
            change.old.as_ref().is_some_and(replaced) || change.new.as_ref().is_some_and(Object::is_deleting);
        if dependents_matter {
            let uids = change.sides().map(Object::uid).filter(|uid| !uid.is_empty());
            keys.extend(uids.flat_map(|uid| view.owned_by(uid)).map(|object| encode(object.kind(), &object.key())));
        }
        // An owner that waits for this one to go.
        for reference in change.old.iter().flat_map(|old| old.meta().owner_references.unwrap_or_default()) {
            if let Some(owner) = view.by_uid(&Uid::of(&reference.uid)).filter(|owner| is_held(&owner.meta())) {
                keys.insert(encode(owner.kind(), &owner.key()));
            }
        }
        keys.into_iter().collect()
    }

    fn reconcile(&self, key: &Key, view: &View, _now: Timestamp) -> Plan {
        let Some((kind, key)) = decode(key) else { return Plan::none() };
        let Some(object) = view.object(kind, &key) else { return Plan::none() };
        let node = node(object);
        let owners: Vec<Owner> = node.owners.iter().map(|reference| classify(object, reference, view)).collect();
        let dependents: Vec<Node> = view.owned_by(object.uid()).map(self::node).collect();
        let decision = decide(&node, &owners, &dependents);
        let mut plan = Plan::none();
        plan.writes = decision.writes;
        plan.events = decision.misplaced.iter().map(|reference| misplaced(object, reference)).collect();
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

fn classify(object: &Object, reference: &OwnerReference, view: &View) -> Owner {
    let Some(kind) = Kind::from_api_version(&reference.api_version, &reference.kind) else { return Owner::Solid };
    let namespace = object.namespace();
    if kind.namespaced() && namespace.is_empty() {
        return Owner::Misplaced;
    }
    let key = Key::new(if kind.namespaced() { namespace } else { "" }, &reference.name);
    match view.object(kind, &key).filter(|owner| *owner.uid() == Uid::of(&reference.uid)) {
        None if view.by_uid(&Uid::of(&reference.uid)).is_some() => Owner::Misplaced,
        None => Owner::Absent,
        Some(owner) => Owner::of(&node(owner)),
    }
}

fn node(object: &Object) -> Node {
    let (kind, meta) = (object.kind(), object.meta());
    Node {
        gvr: kind.gvr(),
        kind: kind.name().to_owned(),
        key: object.key(),
        uid: object.uid().to_string(),
        resource_version: meta.resource_version,
        owners: meta.owner_references.unwrap_or_default(),
        finalizers: meta.finalizers.unwrap_or_default(),
        deleting: object.is_deleting(),
    }
}

fn misplaced(object: &Object, reference: &OwnerReference) -> EventRecord {
    EventRecord::warning_for(object, MISPLACED, misplaced_message(object.namespace(), reference))
}

#[cfg(test)]
mod tests;
