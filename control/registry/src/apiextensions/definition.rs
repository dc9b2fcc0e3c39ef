//! CustomResourceDefinition.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::conditions;
use crate::columns::{Column, NAME, column};
use crate::strategy::{self, Strategy};
use crate::value::{flag, items, set, set_default, text};

mod rules;
#[cfg(test)]
mod tests;
mod versions;

pub struct CustomResourceDefinition;

pub const COLUMNS: &[Column] = &[NAME, column("Created At", "date", "", "When the definition was created", 0)];

/// Keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

impl Strategy for CustomResourceDefinition {
    fn default(&self, object: &mut Value) {
        let spec = &mut object["spec"];
        if !spec.is_object() {
            return;
        }
        if let Some(names) = spec.get_mut("names").filter(|names| names.is_object()) {
            let kind = text(names, "kind").to_owned();
            if !kind.is_empty() {
                set_default(names, "singular", kind.to_lowercase());
                set_default(names, "listKind", format!("{kind}List"));
            }
        }
        set_default(spec, "conversion", json!({"strategy": "None"}));
        let client = &mut spec["conversion"];
        if let Some(service) = client.pointer_mut("/webhook/clientConfig/service").filter(|s| s.is_object()) {
            set_default(service, "port", 443);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        let stored: Vec<Value> = storage_version(object).into_iter().map(Value::from).collect();
        set(
            object,
            "status",
            json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}),
        );
        meta::set_generation(object, 1);
        preserve_flag(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        strategy::copy_field(new, old, "status");
        preserve_flag(new);
        if let Some(version) = storage_version(new) {
            let status = meta::child_mut(new, "status");
            let list = status.entry("storedVersions").or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut()
                && !list.iter().any(|known| *known == version)
            {
                list.push(version.into());
            }
        }
        strategy::count_generation(new["spec"] != old["spec"], new, old);
    }

    fn mark_deleting(&self, object: &mut Value) {
        let mut finalizers: Vec<String> = meta::finalizers(object).into_iter().map(str::to_owned).collect();
        if !finalizers.iter().any(|f| f == CLEANUP) {
            finalizers.push(CLEANUP.to_owned());
        }
        let finalizers: Vec<&str> = finalizers.iter().map(String::as_str).collect();
        meta::set_finalizers(object, &finalizers);
        let at = meta::deletion_timestamp(object).unwrap_or_default().to_owned();
        conditions::set(
            object,
            "Terminating",
            "True",
            "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
            &at,
        );
    }

    fn is_held(&self, object: &Value) -> bool {
        // A delete always marks first: then the objects go, then the finalizer.
        !meta::is_deleting(object)
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        rules::validate(object, None)
    }

    fn validate_changed(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        rules::validate(new, Some(old))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        rules::validate_update(new, old)
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        rules::stored_versions(new)
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![meta::name(object).into(), meta::creation_timestamp(object).unwrap_or_default().into()]
    }
}

/// The name of the version that objects are stored in.
#[must_use]
pub fn storage_version(object: &Value) -> Option<String> {
    items(&object["spec"]["versions"]).iter().find(|v| flag(v, "storage")).map(|v| text(v, "name").to_owned())
}

/// `preserveUnknownFields: false` is not kept: it is the only value there is.
fn preserve_flag(object: &mut Value) {
    if object["spec"]["preserveUnknownFields"] == false
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("preserveUnknownFields");
    }
}

/// The names a definition asks for, as `status.acceptedNames` has them.
#[must_use]
pub fn wanted_names(object: &Value) -> Map<String, Value> {
    let mut names = object["spec"]["names"].as_object().cloned().unwrap_or_default();
    names.retain(|field, value| {
        matches!(field.as_str(), "plural" | "singular" | "kind" | "listKind" | "shortNames" | "categories")
            && !value.is_null()
    });
    names
}
