//! Which requests a webhook or a policy is about.

use std::collections::BTreeSet;

use api::FieldError;
use serde_json::{Value, json};

use crate::validate::forms::invalid;
use crate::validate::{labels, names};
use crate::value::{has, items, items_mut, set_default, text};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
const MAX_CONDITIONS: usize = 64;

/// Defaults of the rules of a list.
pub(super) fn default_rules(owner: &mut Value, field: &str) {
    for rule in items_mut(owner, field) {
        set_default(rule, "scope", "*");
    }
}

/// Defaults of `matchConstraints` and `matchResources`.
pub(super) fn default_match(resources: &mut Value) {
    set_default(resources, "matchPolicy", "Equivalent");
    set_default(resources, "namespaceSelector", json!({}));
    set_default(resources, "objectSelector", json!({}));
    default_rules(resources, "resourceRules");
    default_rules(resources, "excludeResourceRules");
}

/// Checks `matchConstraints` or `matchResources`.
pub(super) fn match_resources(resources: &Value, path: &str, needs_rules: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["namespaceSelector", "objectSelector"] {
        errors.extend(labels::selector(&resources[field], &format!("{path}.{field}")));
    }
    if needs_rules && items(&resources["resourceRules"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.resourceRules"), ""));
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (i, one) in items(&resources[field]).iter().enumerate() {
            let path = format!("{path}.{field}[{i}]");
            errors.extend(rule(one, &path));
            for (j, name) in items(&one["resourceNames"]).iter().filter_map(Value::as_str).enumerate() {
                errors.extend(invalid(&format!("{path}.resourceNames[{j}]"), name, names::dns_subdomain(name)));
            }
        }
    }
    errors.extend(choice(resources, "matchPolicy", path, &["Equivalent", "Exact"]));
    errors
}

/// A field that may be absent, else must be one of several.
pub(super) fn choice(owner: &Value, field: &str, path: &str, choices: &[&str]) -> Vec<FieldError> {
    match owner[field].as_str() {
        Some(value) if !choices.contains(&value) => {
            vec![FieldError::not_supported(format!("{path}.{field}"), value, choices)]
        }
        Some(_) | None => Vec::new(),
    }
}

/// Checks a rule with its operations.
pub(super) fn rule(rule: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let operations = items(&rule["operations"]);
    for (field, what) in [("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let (list, at) = (items(&rule[field]), format!("{path}.{field}"));
        if list.is_empty() {
            errors.push(FieldError::required(at.as_str(), ""));
        }
        if list.len() > 1 && list.iter().any(|o| o == "*") {
            let what = format!("if '*' is present, must not specify other {what}");
            errors.push(FieldError::invalid(at.as_str(), rule[field].clone(), what));
        }
        if field == "apiVersions" {
            let empty = list.iter().enumerate().filter(|(_, v)| *v == "");
            errors.extend(empty.map(|(i, _)| FieldError::required(format!("{at}[{i}]"), "")));
        }
    }
    for (i, operation) in operations.iter().filter_map(Value::as_str).enumerate() {
        if !OPERATIONS.contains(&operation) {
            errors.push(FieldError::not_supported(format!("{path}.operations[{i}]"), operation, &OPERATIONS));
        }
    }
    errors.extend(resources(&rule["resources"], &format!("{path}.resources")));
    errors.extend(choice(rule, "scope", path, &SCOPES));
    errors
}

fn resources(list: &Value, path: &str) -> Vec<FieldError> {
    let all: Vec<&str> = items(list).iter().filter_map(Value::as_str).collect();
    if all.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = Vec::new();
    let (mut whole, mut everywhere) = (BTreeSet::new(), BTreeSet::new());
    for (i, both) in all.iter().enumerate() {
        let at = format!("{path}[{i}]");
        if both.is_empty() {
            errors.push(FieldError::required(at.as_str(), ""));
            continue;
        }
        let Some((resource, part)) = both.split_once('/') else { continue };
        if part == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(part);
        }
        if whole.contains(resource) && part != "*" {
            let what = format!("if '{resource}/*' is present, must not specify {both}");
            errors.push(FieldError::invalid(at.as_str(), *both, what));
        }
        if everywhere.contains(part) && resource != "*" {
            let what = format!("if '*/{part}' is present, must not specify {both}");
            errors.push(FieldError::invalid(at.as_str(), *both, what));
        }
    }
    if all.len() > 1 && all.contains(&"*/*") {
        let what = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, list.clone(), what));
    }
    if all.contains(&"*") && all.iter().any(|r| *r != "*" && !r.contains('/')) {
        let what = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, list.clone(), what));
    }
    errors
}

/// Checks the form of `matchConditions`.
pub(super) fn match_conditions(owner: &Value, path: &str) -> Vec<FieldError> {
    let list = items(&owner["matchConditions"]);
    let path = if path.is_empty() { "matchConditions".to_owned() } else { format!("{path}.matchConditions") };
    let mut errors = Vec::new();
    if list.len() > MAX_CONDITIONS {
        errors.push(FieldError::too_many(path.as_str(), list.len(), MAX_CONDITIONS));
    }
    let mut seen = BTreeSet::new();
    for (i, condition) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        if text(condition, "expression").trim().is_empty() {
            errors.push(FieldError::required(format!("{path}.expression"), ""));
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
            continue;
        }
        errors.extend(invalid(&format!("{path}.name"), name, names::qualified(name)));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
    }
    errors
}

/// Checks `paramKind`.
pub(super) fn param_kind(kind: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = match text(kind, "apiVersion") {
        "" => vec![FieldError::required(format!("{path}.apiVersion"), "")],
        version => {
            let (_, short) = api::names::split_api_version(version);
            invalid(&format!("{path}.apiVersion"), version, names::dns_1035_label(short))
        }
    };
    match text(kind, "kind") {
        "" => errors.push(FieldError::required(format!("{path}.kind"), "")),
        name => {
            let wrong = names::dns_1035_label(&name.to_lowercase()).into_iter();
            let wrong = wrong.map(|w| format!("may have mixed case, but should otherwise match: {w}")).collect();
            errors.extend(invalid(&format!("{path}.kind"), name, wrong));
        }
    }
    errors
}

/// Checks `paramRef`.
pub(super) fn param_ref(reference: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match (has(reference, "name"), has(reference, "selector")) {
        (true, true) => {
            errors.push(FieldError::forbidden(format!("{path}.name"), "name and selector are mutually exclusive"));
        }
        (false, false) => errors.push(FieldError::required(path, "one of name or selector must be specified")),
        (false, true) => errors.extend(labels::selector(&reference["selector"], &format!("{path}.selector"))),
        (true, false) => {}
    }
    let at = format!("{path}.parameterNotFoundAction");
    match text(reference, "parameterNotFoundAction") {
        "" => errors.push(FieldError::required(at, "")),
        "Allow" | "Deny" => {}
        action => errors.push(FieldError::not_supported(at, action, &["Allow", "Deny"])),
    }
    errors
}
