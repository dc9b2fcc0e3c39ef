//! ValidatingAdmissionPolicyBindings and MutatingAdmissionPolicyBindings.

use std::collections::BTreeSet;

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::rules;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::invalid;
use crate::validate::names;
use crate::value::{has, items, text};

/// Strategy of ValidatingAdmissionPolicyBindings.
pub struct Validating;
/// Strategy of MutatingAdmissionPolicyBindings.
pub struct Mutating;

pub const COLUMNS: &[Column] =
    &[NAME, column("PolicyName", "The policy that is put to use"), column("ParamRef", "Parameters of the policy"), AGE];

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

impl Strategy for Validating {
    fn default(&self, binding: &mut Value) {
        default(binding);
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, binding: &Value) -> Vec<FieldError> {
        const PATH: &str = "spec.validationActions";
        let mut errors = shared(&binding["spec"]);
        let list = &binding["spec"]["validationActions"];
        let actions: Vec<&str> = items(list).iter().filter_map(Value::as_str).collect();
        if actions.is_empty() {
            errors.push(FieldError::required(PATH, "at least one validation action is required"));
        }
        let mut seen = BTreeSet::new();
        for (i, action) in actions.iter().enumerate() {
            if !ACTIONS.contains(action) {
                errors.push(FieldError::not_supported(format!("{PATH}[{i}]"), *action, &ACTIONS));
            } else if !seen.insert(*action) {
                errors.push(FieldError::duplicate(format!("{PATH}[{i}]"), *action));
            }
        }
        if seen.contains("Deny") && seen.contains("Warn") {
            let what = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
            errors.push(FieldError::invalid(PATH, list.clone(), what));
        }
        errors
    }

    fn row(&self, binding: &Value, now: Timestamp) -> Vec<Value> {
        row(binding, now)
    }
}

impl Strategy for Mutating {
    fn default(&self, binding: &mut Value) {
        default(binding);
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, binding: &Value) -> Vec<FieldError> {
        shared(&binding["spec"])
    }

    fn row(&self, binding: &Value, now: Timestamp) -> Vec<Value> {
        row(binding, now)
    }
}

fn default(binding: &mut Value) {
    let matched = binding.get_mut("spec").and_then(|s| s.get_mut("matchResources"));
    if let Some(resources) = matched.filter(|m| m.is_object()) {
        rules::default_match(resources);
    }
}

fn shared(spec: &Value) -> Vec<FieldError> {
    let mut errors = match text(spec, "policyName") {
        "" => vec![FieldError::required("spec.policyName", "")],
        name => invalid("spec.policyName", name, names::dns_subdomain(name)),
    };
    if has(spec, "paramRef") {
        errors.extend(rules::param_ref(&spec["paramRef"], "spec.paramRef"));
    }
    if has(spec, "matchResources") {
        errors.extend(rules::match_resources(&spec["matchResources"], "spec.matchResources", false));
    }
    errors
}

fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &binding["spec"];
    let reference = &spec["paramRef"];
    let shown = match (text(reference, "namespace"), text(reference, "name")) {
        _ if !reference.is_object() => "<unset>".to_owned(),
        ("", "") => "*".to_owned(),
        ("", name) => name.to_owned(),
        (namespace, "") => format!("{namespace}/*"),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    vec![meta::name(binding).into(), text(spec, "policyName").into(), shown.into(), age(binding, now)]
}
