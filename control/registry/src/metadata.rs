//! What every kind's metadata must obey, and what an update may not change in it.

use api::{FieldError, meta};
use serde_json::Value;

use crate::Resource;
use crate::strategy::copy_metadata;
use crate::validate::{labels, names};
use crate::value::{flag, items, text};

#[cfg(test)]
mod tests;

const MAX_FINALIZER_BYTES: usize = 253;
const IMMUTABLE: &str = "field is immutable";

/// All rules for a new object: metadata and the kind's own.
#[must_use]
pub fn validate(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = validate_metadata(resource, object);
    errors.extend(resource.strategy.validate(object));
    errors.extend(resource.strategy.validate_create(object));
    errors
}

/// All rules for an update: metadata, the kind's own, and what may not change.
#[must_use]
pub fn validate_update(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = validate_metadata(resource, new);
    errors.extend(validate_metadata_update(new, old));
    errors.extend(resource.strategy.validate_update(new, old));
    if errors.is_empty() {
        errors.extend(resource.strategy.validate_changed(new, old));
    }
    errors
}

/// All rules for an update through the status subresource.
#[must_use]
pub fn validate_status_update(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = validate_metadata(resource, new);
    errors.extend(validate_metadata_update(new, old));
    errors.extend(resource.strategy.validate_status_update(new, old));
    errors
}

/// Gives an update what its caller may leave out or may not set: uid, creation and deletion times, generation.
pub fn carry_over(new: &mut Value, old: &Value) {
    for field in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        copy_metadata(new, old, field);
    }
    for field in ["uid", "name", "namespace"] {
        if text(&new["metadata"], field).is_empty() {
            copy_metadata(new, old, field);
        }
    }
    meta::remove(new, "selfLink");
    if text(&new["metadata"], "generateName").is_empty() {
        copy_metadata(new, old, "generateName");
    }
}

/// Removes from a new object's metadata what only the server sets.
pub fn wipe_system_fields(object: &mut Value) {
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
        "managedFields",
    ] {
        meta::remove(object, field);
    }
}

fn validate_metadata(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let metadata = &object["metadata"];
    let mut errors = Vec::new();
    let generate_name = text(metadata, "generateName");
    if !generate_name.is_empty() {
        // The prefix must be fit to be completed by letters: check it as if the first followed.
        let wrong = resource.strategy.validate_name(&format!("{}a", generate_name.trim_end_matches('-')));
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid("metadata.generateName", generate_name, w)));
    }
    let name = text(metadata, "name");
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        let wrong = path_segment(name).map_or_else(|| resource.strategy.validate_name(name), |w| vec![w]);
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid("metadata.name", name, w)));
    }
    let namespace = text(metadata, "namespace");
    match (resource.namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required("metadata.namespace", "")),
        (true, false) => errors.extend(
            names::dns_label(namespace).into_iter().map(|w| FieldError::invalid("metadata.namespace", namespace, w)),
        ),
        (false, false) => errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type")),
        (false, true) => {}
    }
    errors.extend(labels::labels(&metadata["labels"], "metadata.labels"));
    errors.extend(labels::annotations(&metadata["annotations"], "metadata.annotations"));
    errors.extend(owner_references(&metadata["ownerReferences"]));
    errors.extend(finalizers(&metadata["finalizers"]));
    errors
}

/// Names become parts of URLs.
fn path_segment(name: &str) -> Option<String> {
    if name == "." || name == ".." {
        return Some(format!("may not be '{name}'"));
    }
    name.chars().find(|c| matches!(c, '/' | '%')).map(|c| format!("may not contain '{c}'"))
}

fn owner_references(list: &Value) -> Vec<FieldError> {
    const PATH: &str = "metadata.ownerReferences";
    let mut errors = Vec::new();
    for (i, reference) in items(list).iter().enumerate() {
        for (field, what) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(reference, field).is_empty() {
                errors.push(FieldError::invalid(format!("{PATH}[{i}].{field}"), "", what));
            }
        }
    }
    let controllers: Vec<&Value> = items(list).iter().filter(|r| flag(r, "controller")).collect();
    if controllers.len() > 1 {
        let named = |r: &Value| format!("{}/{}", text(r, "kind"), text(r, "name"));
        errors.push(FieldError::invalid(
            PATH,
            list.clone(),
            format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                named(controllers[0]),
                named(controllers[1])
            ),
        ));
    }
    errors
}

fn finalizers(list: &Value) -> Vec<FieldError> {
    const PATH: &str = "metadata.finalizers";
    let mut errors = Vec::new();
    for finalizer in items(list).iter().filter_map(Value::as_str) {
        errors.extend(names::qualified(finalizer).into_iter().map(|w| FieldError::invalid(PATH, finalizer, w)));
        if finalizer.len() > MAX_FINALIZER_BYTES {
            errors.push(FieldError::too_long(PATH, MAX_FINALIZER_BYTES));
        }
    }
    let has = |wanted: &str| items(list).iter().any(|f| f == wanted);
    if has("orphan") && has("foregroundDeletion") {
        errors.push(FieldError::invalid(
            PATH,
            list.clone(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
    errors
}

fn validate_metadata_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (now, before) = (&new["metadata"][field], &old["metadata"][field]);
        if now != before {
            errors.push(FieldError::invalid(format!("metadata.{field}"), now.clone(), IMMUTABLE));
        }
    }
    if meta::is_deleting(old) {
        let before = meta::finalizers(old);
        let added: Vec<&str> = meta::finalizers(new).into_iter().filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let listed: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    listed.join(", ")
                ),
            ));
        }
    }
    errors
}
