//! What a kind means to the generic verbs.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::columns;

/// How a delete of an object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// The object goes at once (finalizers aside).
    Immediate,
    /// The object is marked, and goes when its owner says so or after the seconds.
    Graceful { seconds: i64 },
}

/// The rules of one kind. Objects are whole (`apiVersion`, `kind`, `metadata`, ...), pruned to the kind's schema
/// and type-checked; so every field that is there has the type the schema gives it.
pub trait Strategy: Send + Sync {
    /// API defaulting, before admission; also run on the results of patches. Idempotent.
    fn default(&self, _object: &mut Value) {}

    /// Mutating admission that is part of the kind (pods: default tolerations). Creates only, after `default`.
    fn admit(&self, _object: &mut Value) {}

    /// Whether the kind has a `status` that only the status subresource writes.
    fn has_status(&self) -> bool {
        false
    }

    /// Whether `metadata.generation` counts changes of the kind's spec.
    fn has_generation(&self) -> bool {
        false
    }

    /// Whether two objects differ in what `metadata.generation` counts.
    fn spec_changed(&self, new: &Value, old: &Value) -> bool {
        new["spec"] != old["spec"]
    }

    /// Brings a new object into its first state: an empty status, generation 1.
    fn prepare_create(&self, object: &mut Value) {
        if self.has_status() {
            meta::object_mut(object).insert("status".to_owned(), Value::Object(serde_json::Map::new()));
        }
        if self.has_generation() {
            meta::set_generation(object, 1);
        } else {
            meta::remove(object, "generation");
        }
    }

    /// Keeps what an update of the object itself may not change (status), and counts the generation.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.has_status() {
            copy_field(new, old, "status");
        }
        count_generation(self.has_generation() && self.spec_changed(new, old), new, old);
    }

    /// Keeps everything but the status (and metadata that a status writer may change).
    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(self, new, old);
    }

    /// Keeps everything but what an approver may change (certificate signing requests).
    fn prepare_approval(&self, new: &mut Value, old: &Value) {
        self.prepare_status_update(new, old);
    }

    /// Whether a status update leaves `metadata.<field>` as it was.
    fn status_keeps(&self, _metadata_field: &str) -> bool {
        false
    }

    /// Marks an object that is being deleted (namespaces: the phase), when its deletionTimestamp is set.
    fn mark_deleting(&self, _object: &mut Value) {}

    /// Whether something besides `metadata.finalizers` keeps a deleted object (namespaces: `spec.finalizers`). Such
    /// an object is marked by a delete, and goes with the update that releases it.
    fn is_held(&self, _object: &Value) -> bool {
        false
    }

    /// The schema of a custom kind as its definition states it (`openAPIV3Schema`), for the OpenAPI documents; none for
    /// built-in kinds, whose schemas the tables have.
    fn openapi_schema(&self) -> Option<&Value> {
        None
    }

    /// Checks `metadata.name`; the texts say what is wrong with it.
    fn validate_name(&self, name: &str) -> Vec<String> {
        crate::validate::names::dns_subdomain(name)
    }

    /// Checks an object, new or updated. Metadata is checked by [`crate::metadata`].
    fn validate(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Checks what only a new object must obey.
    fn validate_create(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Checks what may not change.
    fn validate_update(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Checks an updated object, where what was wrong before and did not change may stay.
    fn validate_changed(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        self.validate(new)
    }

    /// Checks an update through the status subresource.
    fn validate_status_update(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// What a client that writes this object should be told (as `Warning` headers): fields that are deprecated or
    /// have no effect.
    fn warnings(&self, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// What every client of a deprecated kind is told.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }

    /// The field selector labels beyond `metadata.name` and `metadata.namespace`.
    fn field_labels(&self) -> &'static [&'static str] {
        &[]
    }

    /// The values of `field_labels`.
    fn fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whether a field selector may name the label, `metadata.name` and `metadata.namespace` aside.
    fn has_field_label(&self, label: &str) -> bool {
        self.field_labels().contains(&label)
    }

    /// The object's value of a field label; `None` for a label that the kind does not have.
    fn field(&self, object: &Value, label: &str) -> Option<String> {
        self.fields(object).into_iter().find(|(known, _)| *known == label).map(|(_, value)| value)
    }

    /// Table cells, as many as the resource has columns.
    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![meta::name(object).into(), columns::age(object, now)]
    }

    /// Where a kind with the subresource `scale` keeps its replicas.
    fn scale(&self) -> crate::scale::Paths {
        crate::scale::WORKLOAD
    }

    /// What a delete with the asked grace period does.
    fn graceful_delete(&self, _object: &Value, _asked_seconds: Option<i64>) -> Grace {
        Grace::Immediate
    }

    /// Whether the dependents of an object stay when a delete does not say what becomes of them.
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// Whether an update without a resourceVersion replaces whatever is there.
    fn unconditional_update(&self) -> bool {
        true
    }

    /// The definition's version that this is the strategy of, for custom resources.
    fn custom(&self) -> Option<&crate::custom::Version> {
        None
    }

    /// Whether an update of an absent object creates it.
    fn create_on_update(&self) -> bool {
        false
    }
}

/// Makes everything of `new` but its status, and metadata that status writers may change, what it is in `old`.
pub(crate) fn keep_all_but_status<S: Strategy + ?Sized>(strategy: &S, new: &mut Value, old: &Value) {
    for field in old.as_object().into_iter().flatten().map(|(k, _)| k) {
        if !matches!(field.as_str(), "metadata" | "status") {
            copy_field(new, old, field);
        }
    }
    meta::object_mut(new).retain(|field, _| field == "status" || old.get(field).is_some());
    for field in ["labels", "annotations", "ownerReferences"] {
        if strategy.status_keeps(field) {
            copy_metadata(new, old, field);
        }
    }
    copy_metadata(new, old, "generation");
}

/// Makes `new.<field>` what it is in `old`.
pub(crate) fn copy_field(new: &mut Value, old: &Value, field: &str) {
    let map = meta::object_mut(new);
    match old.get(field) {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

/// Makes `new.metadata.<field>` what it is in `old`.
pub(crate) fn copy_metadata(new: &mut Value, old: &Value, field: &str) {
    let map = meta::metadata_mut(new);
    match old["metadata"].get(field) {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

pub(crate) fn count_generation(changed: bool, new: &mut Value, old: &Value) {
    if changed {
        meta::set_generation(new, meta::generation(old) + 1);
    } else {
        copy_metadata(new, old, "generation");
    }
}
