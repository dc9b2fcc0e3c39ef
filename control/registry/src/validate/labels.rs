//! Labels, annotations and label selectors.

use api::FieldError;
use serde_json::Value;

use super::names;
use crate::value::{entries, items, text};

/// All annotations of an object together may be this large.
const MAX_ANNOTATIONS_BYTES: usize = 256 << 10;

/// Checks a map of labels at a path.
#[must_use]
pub fn labels(map: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in entries(map) {
        let value = value.as_str().unwrap_or_default();
        errors.extend(names::qualified(key).into_iter().map(|w| FieldError::invalid(path, key.as_str(), w)));
        errors.extend(names::label_value(value).into_iter().map(|w| FieldError::invalid(path, value, w)));
    }
    errors
}

/// Checks a map of annotations at a path.
#[must_use]
pub fn annotations(map: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in entries(map) {
        let wrong = names::qualified(&key.to_lowercase());
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid(path, key.as_str(), w)));
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > MAX_ANNOTATIONS_BYTES {
        errors.push(FieldError::too_long(path, MAX_ANNOTATIONS_BYTES));
    }
    errors
}

/// Checks a label selector (`matchLabels`, `matchExpressions`) at a path.
#[must_use]
pub fn selector(selector: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = labels(&selector["matchLabels"], &format!("{path}.matchLabels"));
    for (i, expression) in items(&selector["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{i}]");
        let values = items(&expression["values"]);
        match text(expression, "operator") {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                errors.push(FieldError::invalid(format!("{path}.operator"), other, "not a valid selector operator"))
            }
        }
        let key = text(expression, "key");
        let wrong = names::qualified(key);
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.key"), key, w)));
        for (j, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            let wrong = names::label_value(value);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.values[{j}]"), value, w)));
        }
    }
    errors
}

/// Whether a label selector selects everything.
#[must_use]
pub fn selector_is_empty(selector: &Value) -> bool {
    entries(&selector["matchLabels"]).next().is_none() && items(&selector["matchExpressions"]).is_empty()
}
