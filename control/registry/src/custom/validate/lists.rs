//! List types and embedded resources: what a schema says beyond a value's own form.

use std::collections::{HashMap, HashSet};

use api::FieldError;
use serde_json::Value;

use super::super::schema::Props;
use crate::validate::{labels, names};

/// For each item, what it was before: lists of type `map` by their keys, `set` by value; others do not correlate.
pub fn correlated<'a>(schema: &Props, items: &[Value], old: Option<&'a Value>) -> Vec<Option<&'a Value>> {
    let before = match old.and_then(Value::as_array) {
        Some(before) if matches!(schema.list_type.as_str(), "map" | "set") => before,
        _ => return Vec::new(),
    };
    let mut by_key: HashMap<String, &Value> = HashMap::with_capacity(before.len());
    for item in before {
        by_key.entry(key(schema, item)).or_insert(item);
    }
    items.iter().map(|item| by_key.get(&key(schema, item)).copied()).collect()
}

fn key(schema: &Props, item: &Value) -> String {
    if schema.is_map_list() {
        let keys: Vec<&Value> = schema.map_keys.iter().map(|key| &item[key.as_str()]).collect();
        serde_json::to_string(&keys).unwrap_or_default()
    } else {
        item.to_string()
    }
}

/// The first item that is there twice.
pub(super) fn first_duplicate(items: &[Value]) -> Option<usize> {
    let mut seen = HashSet::with_capacity(items.len());
    items.iter().position(|item| !seen.insert(item.to_string()))
}

/// Checks that lists of type `set` and `map` hold nothing twice.
#[must_use]
pub fn list_types(schema: &Props, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(schema, value, &mut String::new(), &mut |schema, value, path| {
        let Value::Array(items) = value else { return };
        if !matches!(schema.list_type.as_str(), "map" | "set") {
            return;
        }
        let mut seen = HashSet::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            if seen.insert(key(schema, item)) {
                continue;
            }
            let shown = if schema.is_map_list() {
                Value::Object(
                    schema
                        .map_keys
                        .iter()
                        .filter_map(|key| item.get(key).map(|value| (key.clone(), value.clone())))
                        .collect(),
                )
            } else {
                item.clone()
            };
            errors.push(FieldError::duplicate(format!("{path}[{i}]"), shown));
        }
    });
    errors
}

/// Checks what embedded resources must have: apiVersion, kind, and valid metadata.
#[must_use]
pub fn embedded(schema: &Props, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(schema, value, &mut String::new(), &mut |schema, value, path| {
        if !schema.embedded || !value.is_object() {
            return;
        }
        match value.get("apiVersion") {
            None => errors.push(FieldError::required(format!("{path}.apiVersion"), "must not be empty")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(format!("{path}.apiVersion"), "", "must not be empty"));
            }
            Some(Value::String(text)) if text.matches('/').count() > 1 => errors.push(FieldError::invalid(
                format!("{path}.apiVersion"),
                text.as_str(),
                format!("unexpected GroupVersion string: {text}"),
            )),
            Some(Value::String(_)) => {}
            Some(other) => {
                errors.push(FieldError::invalid(format!("{path}.apiVersion"), other.clone(), "must be a string"))
            }
        }
        match value.get("kind") {
            None => errors.push(FieldError::required(format!("{path}.kind"), "must not be empty")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(format!("{path}.kind"), "", "must not be empty"));
            }
            Some(Value::String(text)) => errors.extend(
                names::dns_1035_label(&text.to_lowercase())
                    .into_iter()
                    .map(|wrong| FieldError::invalid(format!("{path}.kind"), text.as_str(), wrong)),
            ),
            Some(other) => {
                errors.push(FieldError::invalid(format!("{path}.kind"), other.clone(), "must be a string"));
            }
        }
        let metadata = &value["metadata"];
        if let Some(name) = metadata["name"].as_str().filter(|name| !name.is_empty()) {
            let wrong = names::dns_subdomain(name);
            errors.extend(
                wrong.into_iter().map(|wrong| FieldError::invalid(format!("{path}.metadata.name"), name, wrong)),
            );
        }
        errors.extend(labels::labels(&metadata["labels"], &format!("{path}.metadata.labels")));
        errors.extend(labels::annotations(&metadata["annotations"], &format!("{path}.metadata.annotations")));
    });
    errors
}

fn walk(schema: &Props, value: &Value, path: &mut String, visit: &mut dyn FnMut(&Props, &Value, &str)) {
    visit(schema, value, path);
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let Some(schema) = schema.field(name) else { continue };
                let length = path.len();
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                walk(schema, value, path, visit);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            for (i, item) in items.iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{i}]"));
                walk(schema, item, path, visit);
                path.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
