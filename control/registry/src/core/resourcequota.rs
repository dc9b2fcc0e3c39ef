//! ResourceQuotas.

use std::collections::BTreeSet;

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod::defaults::resource_list;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::{names, resources, template::immutable};
use crate::value::{entries, has, items, set, text};

/// Strategy of ResourceQuotas.
pub struct ResourceQuota;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Request", "What is used of what may be requested"),
    column("Limit", "What is used of the limits"),
    AGE,
];

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];
const COUNTED: [&str; 9] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const MEASURED: [&str; 9] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
];

impl Strategy for ResourceQuota {
    fn default(&self, quota: &mut Value) {
        for (part, list) in [("spec", "hard"), ("status", "hard"), ("status", "used")] {
            if has(&quota[part], list) {
                resource_list(&mut quota[part][list]);
            }
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn prepare_create(&self, quota: &mut Value) {
        set(quota, "status", json!({}));
        meta::remove(quota, "generation");
    }

    fn validate(&self, quota: &Value) -> Vec<FieldError> {
        let spec = &quota["spec"];
        let mut errors = amounts(&spec["hard"], "spec.hard");
        errors.extend(scopes(spec));
        errors.extend(scope_selector(&spec["scopeSelector"]));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let sorted = |q: &Value| -> Value {
            let set: BTreeSet<&str> = items(&q["spec"]["scopes"]).iter().filter_map(Value::as_str).collect();
            set.into_iter().collect()
        };
        immutable(&sorted(new), &sorted(old), "spec.scopes")
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let mut errors = amounts(&new["status"]["hard"], "status.hard");
        errors.extend(amounts(&new["status"]["used"], "status.used"));
        errors
    }

    fn row(&self, quota: &Value, now: Timestamp) -> Vec<Value> {
        let (status, mut requests, mut limits) = (&quota["status"], Vec::new(), Vec::new());
        for (name, hard) in entries(&status["hard"]) {
            let written = |v: &Value| resources::quantity(v).map_or_else(|| "0".to_owned(), |q| q.to_string());
            let cell = format!("{name}: {}/{}", written(&status["used"][name]), written(hard));
            if name.starts_with("limits.") { limits.push(cell) } else { requests.push(cell) }
        }
        requests.sort();
        limits.sort();
        vec![meta::name(quota).into(), requests.join(", ").into(), limits.join(", ").into(), age(quota, now)]
    }
}

fn is_count(name: &str) -> bool {
    COUNTED.contains(&name) || name.starts_with("count/")
}

fn amounts(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (name, amount) in entries(list) {
        let path = format!("{path}[{name}]");
        let wrong = names::qualified(name);
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid(path.as_str(), name.as_str(), w)));
        let known = is_count(name)
            || MEASURED.contains(&name.as_str())
            || name == "limits.ephemeral-storage"
            || name == "storage"
            || name.starts_with("hugepages-")
            || name.starts_with("requests.hugepages-");
        if !name.contains('/') && !known {
            let what = "must be a standard resource for quota";
            errors.push(FieldError::invalid(path.as_str(), name.as_str(), what));
        }
        errors.extend(resources::amount(amount, &path));
        if is_count(name) && resources::quantity(amount).is_some_and(|q| !q.is_whole()) {
            errors.push(FieldError::invalid(path, amount.clone(), "must be an integer"));
        }
    }
    errors
}

/// Whether a scope makes sense for a resource.
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            resource == "pods"
                || resource == "count/pods"
                || MEASURED.contains(&resource) && resource != "requests.storage"
                || resource == "limits.ephemeral-storage"
        }
        "BestEffort" => resource == "pods" || resource == "count/pods",
        "VolumeAttributesClass" => {
            matches!(resource, "persistentvolumeclaims" | "count/persistentvolumeclaims" | "requests.storage")
        }
        _ => true,
    }
}

fn scopes(spec: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.scopes";
    let all = &spec["scopes"];
    let mut errors = Vec::new();
    let named: Vec<&str> = items(all).iter().filter_map(Value::as_str).collect();
    for scope in &named {
        if !SCOPES.contains(scope) {
            errors.push(FieldError::invalid(PATH, all.clone(), "unsupported scope"));
        }
        if entries(&spec["hard"]).any(|(r, _)| !fits(scope, r)) {
            errors.push(FieldError::invalid(PATH, all.clone(), "unsupported scope applied to resource"));
        }
    }
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|s| named.contains(s)) {
            errors.push(FieldError::invalid(PATH, all.clone(), "conflicting scopes"));
        }
    }
    errors
}

fn scope_selector(selector: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.scopeSelector.matchExpressions";
    let mut errors = Vec::new();
    for (i, requirement) in items(&selector["matchExpressions"]).iter().enumerate() {
        let (scope, operator) = (text(requirement, "scopeName"), text(requirement, "operator"));
        let values = items(&requirement["values"]);
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(format!("{PATH}.scopeName"), scope, "unsupported scope"));
        }
        let only_exists = matches!(
            scope,
            "BestEffort" | "NotBestEffort" | "Terminating" | "NotTerminating" | "CrossNamespacePodAffinity"
        );
        if only_exists && operator != "Exists" {
            let what = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(FieldError::invalid(format!("{PATH}.operator"), operator, what));
            continue;
        }
        let path = format!("{PATH}.values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let what = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(FieldError::required(path, what));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let what = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(FieldError::invalid(path, requirement["values"].clone(), what));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let what = "not a valid selector operator";
                errors.push(FieldError::invalid(format!("{PATH}[{i}].operator"), other, what));
            }
        }
    }
    errors
}
