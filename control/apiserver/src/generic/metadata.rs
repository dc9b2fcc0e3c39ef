//! What the server itself puts into an object's metadata.

use api::{Status, meta};
use registry::{Resource, metadata};
use serde_json::Value;

/// Characters a generated name ends in.
const SUFFIX: usize = 5;
/// Longest name; what is generated from is cut so that the suffix fits.
const NAME_LIMIT: usize = 63;

/// Gives a new object its identity: namespace, uid and creation time.
pub(crate) fn stamp(resource: &Resource, namespace: &str, object: &mut Value) -> Result<(), Status> {
    fit_namespace(resource, namespace, object)?;
    if !meta::resource_version(object).is_empty() {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    metadata::wipe_system_fields(object);
    meta::set_uid(object, &process::uuid());
    meta::set_creation_timestamp(object, process::now());
    Ok(())
}

/// Takes the request's namespace where the object has none; 400 where it has another.
pub(crate) fn fit_namespace(resource: &Resource, namespace: &str, object: &mut Value) -> Result<(), Status> {
    if !resource.namespaced {
        meta::set_namespace(object, "");
        return Ok(());
    }
    match meta::namespace(object) {
        "" => meta::set_namespace(object, namespace),
        own if own == namespace => {}
        _ => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// Makes a name from `generateName`, if the object has no name. True if it did.
pub(crate) fn generate_name(object: &mut Value) -> bool {
    let base = meta::generate_name(object);
    if !meta::name(object).is_empty() || base.is_empty() {
        return false;
    }
    let cut: String = base.chars().take(NAME_LIMIT - SUFFIX).collect();
    let name = cut + &process::random_suffix(SUFFIX);
    meta::set_name(object, &name);
    true
}

/// Nothing holds a deleted object back any more: its grace is over and no finalizer is left.
pub(crate) fn may_go(resource: &Resource, object: &Value) -> bool {
    meta::is_deleting(object)
        && meta::deletion_grace_period_seconds(object).unwrap_or(0) == 0
        && !is_held(resource, object)
}

/// Finalizers, or whatever else the kind knows, keep the object.
pub(crate) fn is_held(resource: &Resource, object: &Value) -> bool {
    !meta::finalizers(object).is_empty() || resource.strategy.is_held(object)
}
