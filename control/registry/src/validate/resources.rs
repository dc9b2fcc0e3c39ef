//! Amounts of resources.

use api::{FieldError, Quantity};
use serde_json::Value;

use super::names;
use crate::value::{entries, has};

/// The quantity a field holds, however it is written.
#[must_use]
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text.trim()).ok(),
        Value::Number(n) => Quantity::parse(&n.to_string()).ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Checks one amount: well formed and not negative.
#[must_use]
pub fn amount(value: &Value, path: &str) -> Vec<FieldError> {
    match quantity(value) {
        None => {
            let what = api::quantity::QuantityError::Format.to_string();
            vec![FieldError::invalid(path, value.clone(), what)]
        }
        Some(q) if q.is_negative() => {
            vec![FieldError::invalid(path, q.to_string(), "must be greater than or equal to 0")]
        }
        Some(_) => Vec::new(),
    }
}

/// Checks the limits and requests of a container.
#[must_use]
pub fn requirements(resources: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for list in ["limits", "requests"] {
        for (name, value) in entries(&resources[list]) {
            let path = format!("{path}.{list}[{name}]");
            errors.extend(resource_name(name, &path));
            errors.extend(amount(value, &path));
            if name.contains('/') && quantity(value).is_some_and(|q| !q.is_whole()) {
                errors.push(FieldError::invalid(path, value.clone(), "must be an integer"));
            }
        }
    }
    for (name, request) in entries(&resources["requests"]) {
        let (Some(request), limit) = (quantity(request), quantity(&resources["limits"][name])) else { continue };
        let path = format!("{path}.requests");
        let fixed = name.contains('/') || name.starts_with("hugepages-");
        match limit {
            Some(limit) if fixed && request != limit => {
                let what = format!("must be equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(path, request.to_string(), what));
            }
            Some(limit) if request > limit => {
                let what = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(path, request.to_string(), what));
            }
            None if fixed && !has(&resources["limits"], name) => {
                let path = path.trim_end_matches("requests").to_owned() + "limits";
                errors.push(FieldError::required(path, "Limit must be set for non overcommitable resources"));
            }
            Some(_) | None => {}
        }
    }
    errors
}

fn resource_name(name: &str, path: &str) -> Vec<FieldError> {
    let mut wrong = names::qualified(name);
    if wrong.is_empty() && !name.contains('/') {
        let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        if !standard {
            let known = matches!(name, "pods" | "services" | "storage");
            if !known {
                wrong.push("must be a standard resource type or fully qualified".to_owned());
            }
            wrong.push("must be a standard resource for containers".to_owned());
        }
    }
    wrong.into_iter().map(|w| FieldError::invalid(path, name, w)).collect()
}
