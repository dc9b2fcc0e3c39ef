//! StorageClasses.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::invalid;
use crate::validate::template::immutable;
use crate::validate::{labels, names};
use crate::value::{entries, flag, items, set_default, text};

/// Strategy of StorageClasses.
pub struct StorageClass;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Provisioner", "What makes the volumes"),
    column("ReclaimPolicy", "What happens to volumes after release"),
    column("VolumeBindingMode", "When claims are bound"),
    column("AllowVolumeExpansion", "Whether volumes may grow"),
    AGE,
];

/// The annotations that make a class the default.
const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETER_BYTES: usize = 256 << 10;

/// Whether an object's annotations mark it as its kind's default.
pub(crate) fn is_default(object: &Value, annotations: &[&str]) -> bool {
    annotations.iter().any(|a| object["metadata"]["annotations"][*a] == "true")
}

/// Parameters of provisioners.
pub(crate) fn parameters(map: &Value, path: &str, allow_empty: bool) -> Vec<FieldError> {
    let count = entries(map).count();
    if count == 0 && !allow_empty {
        return vec![FieldError::required(path, "must contain at least one key/value pair")];
    }
    let mut errors = Vec::new();
    if count > MAX_PARAMETERS {
        errors.push(FieldError::too_long(path, MAX_PARAMETERS));
        return errors;
    }
    let mut bytes = 0;
    for (key, value) in entries(map) {
        if key.is_empty() {
            errors.push(FieldError::invalid(path, key.as_str(), "field can not be empty."));
        }
        bytes += key.len() + value.as_str().unwrap_or_default().len();
    }
    if bytes > MAX_PARAMETER_BYTES {
        errors.push(FieldError::too_long(path, MAX_PARAMETER_BYTES));
    }
    errors
}

impl Strategy for StorageClass {
    fn default(&self, class: &mut Value) {
        set_default(class, "reclaimPolicy", "Delete");
        set_default(class, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, class: &Value) -> Vec<FieldError> {
        let provisioner = text(class, "provisioner");
        let mut errors = if provisioner.is_empty() {
            vec![FieldError::required("provisioner", "")]
        } else {
            invalid("provisioner", provisioner, names::qualified(&provisioner.to_lowercase()))
        };
        errors.extend(parameters(&class["parameters"], "parameters", true));
        let policy = text(class, "reclaimPolicy");
        if !matches!(policy, "Delete" | "Retain") {
            errors.push(FieldError::not_supported("reclaimPolicy", policy, &["Delete", "Retain"]));
        }
        let mode = text(class, "volumeBindingMode");
        if !matches!(mode, "Immediate" | "WaitForFirstConsumer") {
            let modes = ["Immediate", "WaitForFirstConsumer"];
            errors.push(FieldError::not_supported("volumeBindingMode", mode, &modes));
        }
        for (i, term) in items(&class["allowedTopologies"]).iter().enumerate() {
            let mut seen = std::collections::BTreeSet::new();
            for (j, wanted) in items(&term["matchLabelExpressions"]).iter().enumerate() {
                let path = format!("allowedTopologies[{i}].matchLabelExpressions[{j}]");
                let key = text(wanted, "key");
                errors.extend(invalid(&format!("{path}.key"), key, names::qualified(key)));
                if items(&wanted["values"]).is_empty() {
                    errors.push(FieldError::required(format!("{path}.values"), ""));
                }
                if !seen.insert(key) {
                    errors.push(FieldError::duplicate(format!("{path}.key"), key));
                }
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            if new[field] != old[field] {
                errors.push(FieldError::forbidden(field, format!("updates to {field} are forbidden.")));
            }
        }
        errors.extend(immutable(&new["volumeBindingMode"], &old["volumeBindingMode"], "volumeBindingMode"));
        errors
    }

    fn row(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        let mark = if is_default(class, &DEFAULT) { " (default)" } else { "" };
        vec![
            format!("{}{mark}", meta::name(class)).into(),
            text(class, "provisioner").into(),
            text(class, "reclaimPolicy").into(),
            text(class, "volumeBindingMode").into(),
            flag(class, "allowVolumeExpansion").into(),
            age(class, now),
        ]
    }
}

/// A selector of nodes or segments, if there is one.
pub(crate) fn optional_selector(selector: &Value, path: &str) -> Vec<FieldError> {
    if selector.is_null() { Vec::new() } else { labels::selector(selector, path) }
}
