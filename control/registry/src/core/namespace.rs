//! Namespaces.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::age;
use crate::strategy::copy_field;
use crate::validate::names;
use crate::value::{items, set, text};

/// Strategy of namespaces.
pub struct Namespace;

/// The entry of `spec.finalizers` that the namespace controller removes when the content is gone.
pub const FINALIZER: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Strategy for Namespace {
    fn default(&self, namespace: &mut Value) {
        let name = meta::name(namespace).to_owned();
        if !name.is_empty() {
            meta::set_label(namespace, NAME_LABEL, &name);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn prepare_create(&self, namespace: &mut Value) {
        set(namespace, "status", json!({"phase": "Active"}));
        let spec = meta::child_mut(namespace, "spec");
        let mut finalizers = spec.get("finalizers").map_or(&[][..], items).to_vec();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        spec.insert("finalizers".to_owned(), finalizers.into());
        meta::remove(namespace, "generation");
    }

    /// The spec holds only finalizers, which the subresource `finalize` changes.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "spec");
        copy_field(new, old, "status");
    }

    fn mark_deleting(&self, namespace: &mut Value) {
        meta::child_mut(namespace, "status").insert("phase".to_owned(), "Terminating".into());
    }

    fn is_held(&self, namespace: &Value) -> bool {
        !items(&namespace["spec"]["finalizers"]).is_empty()
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::dns_label(name)
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let phase = text(&new["status"], "phase");
        let wanted = if meta::is_deleting(new) { "Terminating" } else { "Active" };
        if phase == wanted {
            return Vec::new();
        }
        let what = if meta::is_deleting(new) {
            "may only be 'Terminating' if `deletionTimestamp` is not empty"
        } else {
            "may only be 'Active' if `deletionTimestamp` is empty"
        };
        vec![FieldError::invalid("status.Phase", phase, what)]
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn fields(&self, namespace: &Value) -> Vec<(&'static str, String)> {
        vec![("status.phase", text(&namespace["status"], "phase").to_owned())]
    }

    fn row(&self, namespace: &Value, now: Timestamp) -> Vec<Value> {
        let phase = text(&namespace["status"], "phase");
        vec![meta::name(namespace).into(), phase.into(), age(namespace, now)]
    }
}
