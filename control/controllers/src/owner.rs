//! Controllers and what they control: owner references, adoption of orphans, release of what no longer matches.

use std::collections::BTreeMap;

use cache::{Cached, Kind, Object, Uid, View};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use reconcile::Write;
use serde_json::json;

/// The owner reference of a controller.
pub fn controller_reference<T: Cached>(owner: &T) -> OwnerReference {
    let meta = owner.metadata();
    OwnerReference {
        api_version: T::ROW.api_version().to_owned(),
        kind: T::ROW.name().to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The reference to the object's controller, if it has one.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The controller of an object, if the View holds that very object and it is of this kind.
pub fn controller_object<'a>(object: &Object, kind: Kind, view: &'a View) -> Option<&'a Object> {
    view.by_uid(object.controller()?).filter(|owner| owner.kind() == kind)
}

/// Whether the object is being deleted.
pub fn is_deleting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// What a controller may call its own, and the writes that make it so.
pub struct Claim<'a> {
    /// The objects that are the owner's, or are adopted by `writes`; by name.
    pub owned: Vec<&'a Object>,
    /// Adoptions and releases.
    pub writes: Vec<Write>,
}

/// Sorts the objects of a kind in the owner's namespace by who controls them: the owner's own that match are kept, the
/// owner's that do not match are released, orphans that match are adopted. An owner that is being deleted neither
/// adopts nor releases. Only what `is_candidate` is looked at.
pub fn claim<'a, O: Cached>(
    owner: &O,
    selector: &LabelSelector,
    kind: Kind,
    view: &'a View,
    is_candidate: impl Fn(&Object) -> bool,
) -> Claim<'a> {
    let namespace = owner.metadata().namespace.as_deref().unwrap_or_default();
    let uid = Uid::of(owner.metadata().uid.as_deref().unwrap_or_default());
    let owner_deleting = is_deleting(owner.metadata());
    let selected = view.select(kind, namespace, selector).into_iter().map(|object| (object.name(), (object, true)));
    let mine = view.owned_by(&uid).filter(|object| object.kind() == kind && object.namespace() == namespace);
    let mut candidates: BTreeMap<&str, (&Object, bool)> = mine.map(|object| (object.name(), (object, false))).collect();
    candidates.extend(selected);
    let mut claim = Claim { owned: Vec::new(), writes: Vec::new() };
    for (candidate, selected) in candidates.into_values().filter(|(candidate, _)| is_candidate(candidate)) {
        match candidate.controller() {
            Some(controller) if *controller != uid => {}
            Some(_) if selected => claim.owned.push(candidate),
            Some(_) if owner_deleting || candidate.is_deleting() => {}
            Some(_) => claim.writes.push(release(candidate, &uid)),
            None if selected && !owner_deleting && !candidate.is_deleting() => {
                claim.owned.push(candidate);
                claim.writes.push(adopt(owner, candidate));
            }
            None => {}
        }
    }
    claim
}

fn adopt<O: Cached>(owner: &O, object: &Object) -> Write {
    let meta = object.meta();
    let mut references = meta.owner_references.clone().unwrap_or_default();
    references.push(controller_reference(owner));
    owner_references_patch(object, &meta, &references)
}

fn release(object: &Object, uid: &Uid) -> Write {
    let meta = object.meta();
    let references = meta.owner_references.iter().flatten().filter(|owner| Uid::of(&owner.uid) != *uid);
    let references: Vec<_> = references.cloned().collect();
    owner_references_patch(object, &meta, &references)
}

fn owner_references_patch(object: &Object, meta: &ObjectMeta, references: &[OwnerReference]) -> Write {
    let body = json!({"metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "ownerReferences": references,
    }});
    Write::patch(object.kind(), &object.key(), body)
}
