//! Controllers and what they control: owner references, adoption of orphans, release of what no longer matches.

use cache::selector::{self, Labels};
use cache::{Cached, Object, View};
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

/// Whether the object is controlled by the owner with this uid.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

/// The controller of an object, if the View holds that very object.
pub fn controller_object(meta: &ObjectMeta, view: &View) -> Option<Object> {
    let owner = controller_of(meta)?;
    view.by_uid(&owner.uid).filter(|object| object.kind().name() == owner.kind)
}

/// Whether the object is being deleted.
pub fn is_deleting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// The object's labels.
pub fn labels(meta: &ObjectMeta) -> Option<&Labels> {
    meta.labels.as_ref()
}

/// What a controller may call its own, and the writes that make it so.
pub struct Claim<'a, T> {
    /// The objects that are the owner's, or are adopted by `writes`.
    pub owned: Vec<&'a std::sync::Arc<T>>,
    /// Adoptions and releases.
    pub writes: Vec<Write>,
}

/// Sorts candidates by who controls them: the owner's own that match are kept, the owner's that do not match are
/// released, orphans that match are adopted. An owner that is being deleted neither adopts nor releases.
pub fn claim<'a, O: Cached, T: Cached>(
    owner: &O,
    selector: &LabelSelector,
    candidates: impl Iterator<Item = &'a std::sync::Arc<T>>,
) -> Claim<'a, T> {
    let uid = owner.metadata().uid.as_deref().unwrap_or_default();
    let owner_deleting = is_deleting(owner.metadata());
    let mut claim = Claim { owned: Vec::new(), writes: Vec::new() };
    for candidate in candidates {
        let meta = candidate.metadata();
        let selected = selector::matches(selector, labels(meta));
        match controller_of(meta) {
            Some(reference) if reference.uid != uid => {}
            Some(_) if selected => claim.owned.push(candidate),
            Some(_) if owner_deleting || is_deleting(meta) => {}
            Some(_) => claim.writes.push(release::<T>(meta, uid)),
            None if selected && !owner_deleting && !is_deleting(meta) => {
                claim.owned.push(candidate);
                claim.writes.push(adopt::<O, T>(owner, meta));
            }
            None => {}
        }
    }
    claim
}

fn adopt<O: Cached, T: Cached>(owner: &O, meta: &ObjectMeta) -> Write {
    let mut references = meta.owner_references.clone().unwrap_or_default();
    references.push(controller_reference(owner));
    owner_references_patch::<T>(meta, &references)
}

fn release<T: Cached>(meta: &ObjectMeta, uid: &str) -> Write {
    let references: Vec<_> = meta.owner_references.iter().flatten().filter(|owner| owner.uid != uid).cloned().collect();
    owner_references_patch::<T>(meta, &references)
}

fn owner_references_patch<T: Cached>(meta: &ObjectMeta, references: &[OwnerReference]) -> Write {
    let body = json!({"metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "ownerReferences": references,
    }});
    Write::patch(T::ROW, &cache::key_of(meta), body)
}
