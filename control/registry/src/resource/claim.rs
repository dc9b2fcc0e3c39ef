//! ResourceClaims and ResourceClaimTemplates.

use std::collections::BTreeSet;

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::deviceclass::opaque;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::invalid;
use crate::validate::names;
use crate::validate::template::immutable;
use crate::value::{has, items, items_mut, number as int, set_default, text};

/// Strategy of ResourceClaims.
pub struct ResourceClaim;
/// Strategy of ResourceClaimTemplates.
pub struct ResourceClaimTemplate;

pub const COLUMNS: &[Column] = &[NAME, column("State", "Whether the claim has devices, and who uses them"), AGE];

const MAX_REQUESTS: usize = 32;
const MAX_SELECTORS: usize = 32;

impl Strategy for ResourceClaim {
    fn default(&self, claim: &mut Value) {
        if let Some(spec) = claim.get_mut("spec") {
            default(spec);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn validate(&self, claim: &Value) -> Vec<FieldError> {
        spec(&claim["spec"], "spec")
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        immutable(&new["spec"], &old["spec"], "spec")
    }

    fn row(&self, claim: &Value, now: Timestamp) -> Vec<Value> {
        let status = &claim["status"];
        let mut states = Vec::new();
        if meta::is_deleting(claim) {
            states.push("deleted");
        }
        if !has(status, "allocation") {
            if !meta::is_deleting(claim) {
                states.push("pending");
            }
        } else {
            states.push("allocated");
            if !items(&status["reservedFor"]).is_empty() {
                states.push("reserved");
            }
        }
        vec![meta::name(claim).into(), states.join(",").into(), age(claim, now)]
    }
}

impl Strategy for ResourceClaimTemplate {
    fn default(&self, template: &mut Value) {
        if let Some(spec) = template.get_mut("spec").and_then(|s| s.get_mut("spec")) {
            default(spec);
        }
    }

    fn validate(&self, template: &Value) -> Vec<FieldError> {
        spec(&template["spec"]["spec"], "spec.spec")
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        immutable(&new["spec"], &old["spec"], "spec")
    }
}

fn default(spec: &mut Value) {
    let Some(devices) = spec.get_mut("devices").filter(|d| d.is_object()) else { return };
    for request in items_mut(devices, "requests") {
        if let Some(exactly) = request.get_mut("exactly").filter(|e| e.is_object()) {
            amount(exactly);
        }
        items_mut(request, "firstAvailable").for_each(amount);
    }
}

fn amount(request: &mut Value) {
    set_default(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" {
        set_default(request, "count", 1);
    }
}

fn spec(spec: &Value, path: &str) -> Vec<FieldError> {
    let devices = &spec["devices"];
    let path = format!("{path}.devices");
    let requests = items(&devices["requests"]);
    let mut errors = Vec::new();
    if requests.len() > MAX_REQUESTS {
        errors.push(FieldError::too_many(format!("{path}.requests"), requests.len(), MAX_REQUESTS));
    }
    let mut seen = BTreeSet::new();
    for (i, one) in requests.iter().enumerate() {
        let path = format!("{path}.requests[{i}]");
        errors.extend(request_name(one, &path));
        if !seen.insert(text(one, "name")) {
            errors.push(FieldError::duplicate(format!("{path}.name"), text(one, "name")));
        }
        match (has(one, "exactly"), items(&one["firstAvailable"])) {
            (true, []) => errors.extend(request(&one["exactly"], &format!("{path}.exactly"))),
            (true, _) => {
                let what = "exactly one of `exactly` or `firstAvailable` is required";
                errors.push(FieldError::invalid(path, Value::Null, what));
            }
            (false, []) => {
                errors.push(FieldError::required(path, "exactly one of `exactly` or `firstAvailable` is required"));
            }
            (false, several) => {
                for (j, sub) in several.iter().enumerate() {
                    let path = format!("{path}.firstAvailable[{j}]");
                    errors.extend(request_name(sub, &path));
                    errors.extend(request(sub, &path));
                }
            }
        }
    }
    for (i, constraint) in items(&devices["constraints"]).iter().enumerate() {
        let path = format!("{path}.constraints[{i}]");
        for (j, name) in items(&constraint["requests"]).iter().filter_map(Value::as_str).enumerate() {
            if !seen.contains(name.split('/').next().unwrap_or_default()) {
                let what = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
                errors.push(FieldError::invalid(format!("{path}.requests[{j}]"), name, what));
            }
        }
        if !has(constraint, "matchAttribute") && !has(constraint, "distinctAttribute") {
            errors.push(FieldError::required(format!("{path}.matchAttribute"), ""));
        }
    }
    for (i, config) in items(&devices["config"]).iter().enumerate() {
        errors.extend(opaque(config, &format!("{path}.config[{i}]")));
    }
    errors
}

fn request_name(request: &Value, path: &str) -> Vec<FieldError> {
    match text(request, "name") {
        "" => vec![FieldError::required(format!("{path}.name"), "")],
        name => invalid(&format!("{path}.name"), name, names::dns_label(name)),
    }
}

fn request(request: &Value, path: &str) -> Vec<FieldError> {
    let class_at = format!("{path}.deviceClassName");
    let mut errors = match text(request, "deviceClassName") {
        "" => vec![FieldError::required(class_at, "")],
        class => invalid(&class_at, class, names::dns_subdomain(class)),
    };
    errors.extend(selectors(request, path));
    let count = int(request, "count");
    let count_at = format!("{path}.count");
    match text(request, "allocationMode") {
        "All" => {
            if let Some(count) = count.filter(|c| *c != 0) {
                let what = "must not be specified when allocationMode is 'All'";
                errors.push(FieldError::invalid(count_at, count, what));
            }
        }
        "ExactCount" => {
            if count.unwrap_or(0) <= 0 {
                errors.push(FieldError::invalid(count_at, count.unwrap_or(0), "must be greater than zero"));
            }
        }
        other => {
            let at = format!("{path}.allocationMode");
            errors.push(FieldError::not_supported(at, other, &["All", "ExactCount"]));
        }
    }
    errors
}

/// Checks the form of device selectors; whether they compile is the API server's to say.
pub(super) fn selectors(owner: &Value, path: &str) -> Vec<FieldError> {
    let list = items(&owner["selectors"]);
    let path = format!("{path}.selectors");
    let mut errors = Vec::new();
    if list.len() > MAX_SELECTORS {
        errors.push(FieldError::too_many(path.as_str(), list.len(), MAX_SELECTORS));
    }
    for (i, selector) in list.iter().enumerate() {
        let path = format!("{path}[{i}].cel");
        if selector["cel"].is_null() {
            errors.push(FieldError::required(path, ""));
        } else if text(&selector["cel"], "expression").is_empty() {
            errors.push(FieldError::required(format!("{path}.expression"), ""));
        }
    }
    errors
}
