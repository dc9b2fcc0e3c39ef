//! Where a pod may run: tolerations, affinity, spreading.

use std::collections::BTreeSet;

use api::FieldError;
use serde_json::Value;

use super::{labels, names, number};
use crate::value::{flag, has, items, text};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Checks the taints of a node.
#[must_use]
pub fn taints(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, taint) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let (key, value) = (text(taint, "key"), text(taint, "value"));
        errors.extend(names::qualified(key).into_iter().map(|w| FieldError::invalid(format!("{path}.key"), key, w)));
        let wrong = names::label_value(value);
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.value"), value, w)));
        errors.extend(number::one_of(taint, "effect", &path, &EFFECTS, true));
        if !seen.insert((key, text(taint, "effect"))) {
            let mut error = FieldError::duplicate(path, taint.clone());
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
    errors
}

/// Checks the tolerations of a pod.
#[must_use]
pub fn tolerations(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, toleration) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let (key, operator, value) = (text(toleration, "key"), text(toleration, "operator"), text(toleration, "value"));
        if !key.is_empty() {
            let wrong = names::qualified(key);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.key"), key, w)));
        } else if operator != "Exists" {
            let what = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(format!("{path}.operator"), operator, what));
        }
        if has(toleration, "tolerationSeconds") && text(toleration, "effect") != "NoExecute" {
            let what = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(format!("{path}.effect"), text(toleration, "effect"), what));
        }
        match operator {
            "" | "Equal" => {
                let wrong = names::label_value(value);
                let path = format!("{path}.operator");
                errors.extend(wrong.into_iter().map(|w| FieldError::invalid(path.as_str(), value, w)));
            }
            "Exists" if !value.is_empty() => {
                let what = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(format!("{path}.operator"), value, what));
            }
            "Exists" => {}
            other => {
                errors.push(FieldError::not_supported(format!("{path}.operator"), other, &["Equal", "Exists"]));
            }
        }
        errors.extend(number::one_of(toleration, "effect", &path, &EFFECTS, false));
    }
    errors
}

/// Checks the affinity of a pod.
#[must_use]
pub fn affinity(affinity: &Value, path: &str) -> Vec<FieldError> {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let mut errors = Vec::new();
    let node = &affinity["nodeAffinity"];
    if has(node, REQUIRED) {
        errors.extend(node_selector(&node[REQUIRED], &format!("{path}.nodeAffinity.{REQUIRED}")));
    }
    for (i, term) in items(&node[PREFERRED]).iter().enumerate() {
        let path = format!("{path}.nodeAffinity.{PREFERRED}[{i}]");
        errors.extend(weight(term, &path));
        errors.extend(node_term(&term["preference"], &format!("{path}.preference")));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        for (i, term) in items(&affinity[kind][REQUIRED]).iter().enumerate() {
            errors.extend(pod_term(term, &format!("{path}.{kind}.{REQUIRED}[{i}]")));
        }
        for (i, term) in items(&affinity[kind][PREFERRED]).iter().enumerate() {
            let path = format!("{path}.{kind}.{PREFERRED}[{i}]");
            errors.extend(weight(term, &path));
            errors.extend(pod_term(&term["podAffinityTerm"], &format!("{path}.podAffinityTerm")));
        }
    }
    errors
}

/// Checks a selector of nodes: terms of which one must match.
#[must_use]
pub fn node_selector(selector: &Value, path: &str) -> Vec<FieldError> {
    let path = format!("{path}.nodeSelectorTerms");
    let terms = items(&selector["nodeSelectorTerms"]);
    let mut errors = Vec::new();
    if terms.is_empty() {
        errors.push(FieldError::required(path.as_str(), "must have at least one node selector term"));
    }
    for (i, term) in terms.iter().enumerate() {
        errors.extend(node_term(term, &format!("{path}[{i}]")));
    }
    errors
}

fn weight(term: &Value, path: &str) -> Option<FieldError> {
    let weight = term["weight"].as_i64().unwrap_or(0);
    let fine = (1..=100).contains(&weight);
    (!fine).then(|| FieldError::invalid(format!("{path}.weight"), weight, "must be in the range 1-100"))
}

fn pod_term(term: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = labels::selector(&term["labelSelector"], &format!("{path}.labelSelector"));
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(format!("{path}.topologyKey"), "can not be empty"));
    } else {
        let wrong = names::qualified(key);
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.topologyKey"), key, w)));
    }
    errors
}

fn node_term(term: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for list in ["matchExpressions", "matchFields"] {
        for (i, requirement) in items(&term[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{i}]");
            let values = items(&requirement["values"]);
            match text(requirement, "operator") {
                "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                    format!("{path}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                )),
                "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                    format!("{path}.values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                )),
                "Gt" | "Lt" if values.len() == 1 && values[0].as_str().is_none_or(|v| v.parse::<i64>().is_err()) => {
                    let shown = values[0].clone();
                    errors.push(FieldError::invalid(format!("{path}.values[0]"), shown, "must be an integer"));
                }
                "Gt" | "Lt" if values.len() != 1 => errors.push(FieldError::required(
                    format!("{path}.values"),
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                )),
                "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
                other => {
                    errors.push(FieldError::invalid(
                        format!("{path}.operator"),
                        other,
                        "not a valid selector operator",
                    ));
                }
            }
            let key = text(requirement, "key");
            if list == "matchFields" && key != "metadata.name" {
                errors.push(FieldError::invalid(format!("{path}.key"), key, "not a valid field selector key"));
            } else {
                let wrong = names::qualified(key);
                errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.key"), key, w)));
            }
        }
    }
    errors
}

/// Checks the topology spread constraints of a pod.
#[must_use]
pub fn spread(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, constraint) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let skew = constraint["maxSkew"].as_i64().unwrap_or(0);
        if skew <= 0 {
            errors.push(FieldError::invalid(format!("{path}.maxSkew"), skew, "must be greater than zero"));
        }
        if text(constraint, "topologyKey").is_empty() {
            errors.push(FieldError::required(format!("{path}.topologyKey"), "can not be empty"));
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if text(constraint, "whenUnsatisfiable").is_empty() {
            errors.push(FieldError::not_supported(format!("{path}.whenUnsatisfiable"), "", &actions));
        }
        errors.extend(number::one_of(constraint, "whenUnsatisfiable", &path, &actions, false));
        let identity = (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
        if !seen.insert(identity) {
            let shown = format!("{{{}, {}}}", identity.0, identity.1);
            errors.push(FieldError::duplicate(format!("{path}.{{topologyKey, whenUnsatisfiable}}"), shown));
        }
        if let Some(domains) = constraint["minDomains"].as_i64() {
            let at = format!("{path}.minDomains");
            if domains <= 0 {
                errors.push(FieldError::invalid(at.as_str(), domains, "must be greater than zero"));
            }
            if identity.1 != "DoNotSchedule" {
                let what = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", identity.1);
                errors.push(FieldError::invalid(at, domains, what));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            errors.extend(number::one_of(constraint, field, &path, &["Honor", "Ignore"], false));
        }
        for (j, key) in items(&constraint["matchLabelKeys"]).iter().filter_map(Value::as_str).enumerate() {
            let at = format!("{path}.matchLabelKeys[{j}]");
            errors.extend(names::qualified(key).into_iter().map(|w| FieldError::invalid(at.as_str(), key, w)));
            if has(&constraint["labelSelector"]["matchLabels"], key) {
                let what = "exists in both matchLabelKeys and labelSelector";
                errors.push(FieldError::invalid(at, key, what));
            }
        }
        if !items(&constraint["matchLabelKeys"]).is_empty() && !has(constraint, "labelSelector") {
            let what = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(format!("{path}.matchLabelKeys"), what));
        }
        errors.extend(labels::selector(&constraint["labelSelector"], &format!("{path}.labelSelector")));
    }
    errors
}

/// Checks the scheduling gates of a pod.
#[must_use]
pub fn gates(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, gate) in items(list).iter().enumerate() {
        let name = text(gate, "name");
        let path = format!("{path}[{i}].name");
        errors.extend(names::qualified(name).into_iter().map(|w| FieldError::invalid(path.as_str(), name, w)));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path, name));
        }
    }
    errors
}

/// Whether a pod's tolerations only grew, or changed their seconds.
#[must_use]
pub fn tolerations_kept(new: &Value, old: &Value) -> bool {
    let bare = |t: &Value| {
        let mut t = t.clone();
        if let Some(map) = t.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        t
    };
    let kept: Vec<Value> = items(new).iter().map(bare).collect();
    items(old).iter().all(|t| kept.contains(&bare(t)))
}

/// Whether a node takes no new pods.
#[must_use]
pub fn is_unschedulable(node: &Value) -> bool {
    flag(&node["spec"], "unschedulable")
}
