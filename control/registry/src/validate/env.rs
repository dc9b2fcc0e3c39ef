//! Environment variables.

use api::FieldError;
use serde_json::Value;

use super::names;
use crate::value::{has, items, text};

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
const FIELD_PATHS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Checks a container's `env`.
#[must_use]
pub fn env(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, variable) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let name = text(variable, "name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else {
            let wrong = names::env_var(name);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.name"), name, w)));
        }
        if has(variable, "valueFrom") {
            errors.extend(value_from(variable, &format!("{path}.valueFrom")));
        }
    }
    errors
}

fn value_from(variable: &Value, path: &str) -> Vec<FieldError> {
    let from = &variable["valueFrom"];
    let named: Vec<&str> = SOURCES.into_iter().filter(|s| has(from, s)).collect();
    let mut errors = Vec::new();
    match named.as_slice() {
        [] => errors.push(FieldError::invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        )),
        [_] if !text(variable, "value").is_empty() => {
            errors.push(FieldError::invalid(path, "", "may not be specified when `value` is not empty"));
        }
        [_] => {}
        _ => errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time")),
    }
    if has(from, "fieldRef") {
        errors.extend(field_ref(&from["fieldRef"], &format!("{path}.fieldRef")));
    }
    if has(from, "resourceFieldRef") && text(&from["resourceFieldRef"], "resource").is_empty() {
        errors.push(FieldError::required(format!("{path}.resourceFieldRef.resource"), ""));
    }
    for source in ["configMapKeyRef", "secretKeyRef"] {
        if !has(from, source) {
            continue;
        }
        for field in ["name", "key"] {
            if text(&from[source], field).is_empty() {
                errors.push(FieldError::required(format!("{path}.{source}.{field}"), ""));
            }
        }
        let key = text(&from[source], "key");
        if !key.is_empty() {
            let path = format!("{path}.{source}.key");
            errors.extend(names::config_key(key).into_iter().map(|w| FieldError::invalid(path.as_str(), key, w)));
        }
    }
    errors
}

/// A reference to one of the pod's own fields.
#[must_use]
pub fn field_ref(reference: &Value, path: &str) -> Vec<FieldError> {
    let field = text(reference, "fieldPath");
    let path = format!("{path}.fieldPath");
    if field.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let subscript =
        ["metadata.labels['", "metadata.annotations['"].iter().any(|p| field.starts_with(p) && field.ends_with("']"));
    if subscript || FIELD_PATHS.contains(&field) {
        return Vec::new();
    }
    let what = format!("error converting fieldPath: field label not supported: {field}");
    vec![FieldError::invalid(path, field, what)]
}

/// Checks a container's `envFrom`.
#[must_use]
pub fn env_from(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, source) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let named: Vec<&str> = ["configMapRef", "secretRef"].into_iter().filter(|s| has(source, s)).collect();
        match named.as_slice() {
            [] => {
                errors.push(FieldError::invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"));
            }
            [one] if text(&source[*one], "name").is_empty() => {
                errors.push(FieldError::required(format!("{path}.{one}.name"), ""));
            }
            [_] => {}
            _ => errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time")),
        }
    }
    errors
}
