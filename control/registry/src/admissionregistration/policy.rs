//! ValidatingAdmissionPolicies and MutatingAdmissionPolicies: their form. What their expressions mean is the API
//! server's.

use std::collections::BTreeSet;

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::rules;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, text as column};
use crate::networking::servicecidr::conditions;
use crate::validate::forms::invalid;
use crate::validate::names;
use crate::value::{has, items, set_default, text};

/// Strategy of ValidatingAdmissionPolicies.
pub struct Validating;
/// Strategy of MutatingAdmissionPolicies.
pub struct Mutating;

const PARAM_KIND: Column = column("ParamKind", "Kind of the parameters");
pub const VALIDATING_COLUMNS: &[Column] = &[NAME, count("Validations", "Number of rules"), PARAM_KIND, AGE];
pub const MUTATING_COLUMNS: &[Column] = &[NAME, count("Mutations", "Number of changes"), PARAM_KIND, AGE];

const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

impl Strategy for Validating {
    fn default(&self, policy: &mut Value) {
        default(policy);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, policy: &Value) -> Vec<FieldError> {
        let spec = &policy["spec"];
        let mut errors = shared(spec);
        let (validations, annotations) = (items(&spec["validations"]), items(&spec["auditAnnotations"]));
        if validations.is_empty() && annotations.is_empty() {
            let what = "validations or auditAnnotations must be non-empty";
            errors.push(FieldError::required("spec.validations", what));
            errors.push(FieldError::required("spec.auditAnnotations", what));
        }
        for (i, one) in validations.iter().enumerate() {
            errors.extend(validation(one, &format!("spec.validations[{i}]")));
        }
        let mut keys = BTreeSet::new();
        for (i, annotation) in annotations.iter().enumerate() {
            let path = format!("spec.auditAnnotations[{i}]");
            let key = text(annotation, "key");
            let wrong = names::qualified(&format!("{}/{key}", meta::name(policy)));
            errors.extend(invalid(&format!("{path}.key"), key, wrong));
            if !keys.insert(key) {
                errors.push(FieldError::duplicate(format!("{path}.key"), key));
            }
            if text(annotation, "valueExpression").trim().is_empty() {
                let what = "valueExpression is not specified";
                errors.push(FieldError::required(format!("{path}.valueExpression"), what));
            }
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        conditions(&new["status"]["conditions"], "status.conditions")
    }

    fn row(&self, policy: &Value, now: Timestamp) -> Vec<Value> {
        row(policy, items(&policy["spec"]["validations"]).len(), now)
    }
}

impl Strategy for Mutating {
    fn default(&self, policy: &mut Value) {
        default(policy);
        if let Some(spec) = policy.get_mut("spec").filter(|s| s.is_object()) {
            set_default(spec, "reinvocationPolicy", "Never");
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, policy: &Value) -> Vec<FieldError> {
        let spec = &policy["spec"];
        let mut errors = shared(spec);
        let mutations = items(&spec["mutations"]);
        if mutations.is_empty() {
            errors.push(FieldError::required("spec.mutations", "mutations must contain at least one item"));
        }
        for (i, one) in mutations.iter().enumerate() {
            errors.extend(mutation(one, &format!("spec.mutations[{i}]")));
        }
        errors.extend(rules::choice(spec, "reinvocationPolicy", "spec", &["IfNeeded", "Never"]));
        errors
    }

    fn row(&self, policy: &Value, now: Timestamp) -> Vec<Value> {
        row(policy, items(&policy["spec"]["mutations"]).len(), now)
    }
}

fn default(policy: &mut Value) {
    let Some(spec) = policy.get_mut("spec").filter(|s| s.is_object()) else { return };
    set_default(spec, "failurePolicy", "Fail");
    if let Some(constraints) = spec.get_mut("matchConstraints").filter(|m| m.is_object()) {
        rules::default_match(constraints);
    }
}

fn row(policy: &Value, rules: usize, now: Timestamp) -> Vec<Value> {
    let kind = &policy["spec"]["paramKind"];
    let kind = if kind.is_object() {
        format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind"))
    } else {
        "<unset>".to_owned()
    };
    vec![meta::name(policy).into(), rules.into(), kind.into(), age(policy, now)]
}

fn shared(spec: &Value) -> Vec<FieldError> {
    let mut errors = rules::choice(spec, "failurePolicy", "spec", &["Fail", "Ignore"]);
    if has(spec, "paramKind") {
        errors.extend(rules::param_kind(&spec["paramKind"], "spec.paramKind"));
    }
    if has(spec, "matchConstraints") {
        errors.extend(rules::match_resources(&spec["matchConstraints"], "spec.matchConstraints", true));
    } else {
        errors.push(FieldError::required("spec.matchConstraints", ""));
    }
    errors.extend(rules::match_conditions(spec, "spec"));
    let mut seen = BTreeSet::new();
    for (i, variable) in items(&spec["variables"]).iter().enumerate() {
        let path = format!("spec.variables[{i}]");
        let (name, at) = (text(variable, "name"), format!("{path}.name"));
        if name.is_empty() {
            errors.push(FieldError::required(at, "name is not specified"));
        } else if !is_identifier(name) {
            errors.push(FieldError::invalid(at, name, "name is not a valid CEL identifier"));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(at, name));
        }
        errors.extend(expression(variable, &path));
    }
    errors
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn expression(owner: &Value, path: &str) -> Vec<FieldError> {
    if text(owner, "expression").trim().is_empty() {
        vec![FieldError::required(format!("{path}.expression"), "expression is not specified")]
    } else {
        Vec::new()
    }
}

fn validation(validation: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = expression(validation, path);
    let (message, at) = (text(validation, "message"), format!("{path}.message"));
    if has(validation, "message") && message.trim().is_empty() {
        errors.push(FieldError::invalid(at, message, "message must be non-empty if specified"));
    } else if message.trim().contains('\n') {
        errors.push(FieldError::invalid(at, message, "message must not contain line breaks"));
    }
    errors.extend(rules::choice(validation, "reason", path, &REASONS));
    errors
}

fn mutation(mutation: &Value, path: &str) -> Vec<FieldError> {
    let kind = text(mutation, "patchType");
    let (wanted, other) = match kind {
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "" => return vec![FieldError::required(format!("{path}.patchType"), "")],
        other => {
            let kinds = ["ApplyConfiguration", "JSONPatch"];
            return vec![FieldError::not_supported(format!("{path}.patchType"), other, &kinds)];
        }
    };
    let mut errors = if has(mutation, wanted) {
        expression(&mutation[wanted], &format!("{path}.{wanted}"))
    } else {
        let what = format!("must be specified when patchType is {kind}");
        vec![FieldError::required(format!("{path}.{wanted}"), what)]
    };
    if has(mutation, other) {
        let what = format!("must not be specified when patchType is {kind}");
        errors.push(FieldError::invalid(format!("{path}.{other}"), mutation[other].clone(), what));
    }
    errors
}
