//! What an update of a pod may change.

use api::FieldError;
use serde_json::Value;

use super::scheduling;
use crate::value::{entries, has, items, number, remove, set, text};

const MUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks an update of a pod's spec.
#[must_use]
pub fn pod(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for list in ["containers", "initContainers"] {
        if items(&new[list]).len() != items(&old[list]).len() {
            let what = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(format!("spec.{list}"), what));
        }
    }
    if !errors.is_empty() {
        return errors;
    }
    errors.extend(active_deadline(new, old));
    let gated = !items(&old["schedulingGates"]).is_empty();
    errors.extend(gates(new, old));
    if gated {
        errors.extend(narrowed(new, old));
    }
    if !scheduling::tolerations_kept(&new["tolerations"], &old["tolerations"]) {
        let what = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", what));
    }
    let (new_fixed, old_fixed) = (fixed_part(new, new, old), fixed_part(old, new, old));
    let changed: Vec<String> = changed_fields(&new_fixed, &old_fixed);
    if !changed.is_empty() {
        errors.push(FieldError::forbidden("spec", format!("{MUTABLE}\nchanged: {}", changed.join(", "))));
    }
    errors
}

fn active_deadline(new: &Value, old: &Value) -> Option<FieldError> {
    const PATH: &str = "spec.activeDeadlineSeconds";
    match (number(new, "activeDeadlineSeconds"), number(old, "activeDeadlineSeconds")) {
        (Some(new), Some(old)) if new > old => {
            Some(FieldError::invalid(PATH, new, "must be less than or equal to previous value"))
        }
        (None, Some(_)) => {
            Some(FieldError::invalid(PATH, Value::Null, "must not update from a positive integer to nil value"))
        }
        _ => None,
    }
}

/// The spec without what may change.
fn fixed_part(spec: &Value, new: &Value, old: &Value) -> Value {
    let mut spec = spec.clone();
    for field in ["activeDeadlineSeconds", "tolerations"] {
        remove(&mut spec, field);
    }
    let shortened = number(old, "terminationGracePeriodSeconds").is_some_and(|n| n < 0)
        && number(new, "terminationGracePeriodSeconds") == Some(1);
    if shortened {
        remove(&mut spec, "terminationGracePeriodSeconds");
    }
    // Checked apart: gates may be lifted, never added; a gated pod's choice of nodes may be narrowed.
    remove(&mut spec, "schedulingGates");
    if !items(&old["schedulingGates"]).is_empty() {
        remove(&mut spec, "nodeSelector");
        remove_node_affinity(&mut spec);
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            set(container, "image", "");
        }
    }
    spec
}

/// Scheduling gates only go.
fn gates(new: &Value, old: &Value) -> Vec<FieldError> {
    let before = items(&old["schedulingGates"]);
    let added = items(&new["schedulingGates"]).iter().filter(|gate| !before.contains(gate));
    let what =
        |gate: &Value| format!("only deletion is allowed, but found new scheduling gate '{}'", text(gate, "name"));
    added.map(|gate| FieldError::forbidden("spec.schedulingGates", what(gate))).collect()
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

fn remove_node_affinity(spec: &mut Value) {
    let Some(affinity) = spec.get_mut("affinity").filter(|a| a.is_object()) else { return };
    if affinity["nodeAffinity"].is_object() {
        remove(&mut affinity["nodeAffinity"], REQUIRED);
        if affinity["nodeAffinity"] == serde_json::json!({}) {
            remove(affinity, "nodeAffinity");
        }
    }
    if *affinity == serde_json::json!({}) {
        remove(spec, "affinity");
    }
}

/// While it is gated, a pod may be told more narrowly where it may run.
fn narrowed(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if entries(&old["nodeSelector"]).any(|(key, value)| new["nodeSelector"].get(key) != Some(value)) {
        let what = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid("spec.nodeSelector", new["nodeSelector"].clone(), what));
    }
    let terms = |spec: &Value| spec["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"].clone();
    let (now, before) = (terms(new), terms(old));
    let (now, before) = (items(&now), items(&before));
    let path = format!("spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms");
    if before.is_empty() {
        return errors;
    }
    if now.len() != before.len() {
        let what = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(FieldError::invalid(path, now.to_vec(), what));
        return errors;
    }
    for (i, (now, before)) in now.iter().zip(before).enumerate() {
        for list in ["matchExpressions", "matchFields"] {
            let kept = items(&before[list]).iter().enumerate().all(|(j, r)| items(&now[list]).get(j) == Some(r));
            if !kept {
                let what = "only additions are allowed (no mutations or deletions)";
                errors.push(FieldError::invalid(format!("{path}[{i}]"), now.clone(), what));
            }
        }
    }
    errors
}

fn changed_fields(new: &Value, old: &Value) -> Vec<String> {
    let names = new.as_object().into_iter().chain(old.as_object()).flatten().map(|(k, _)| k);
    let mut changed: Vec<String> = names.filter(|k| new[*k] != old[*k]).map(|k| format!("spec.{k}")).collect();
    changed.sort();
    changed.dedup();
    changed
}

/// Checks an update of a pod's status.
#[must_use]
pub fn pod_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let nominated = text(new, "nominatedNodeName");
    if !nominated.is_empty() {
        let wrong = super::names::dns_subdomain(nominated);
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid("status.nominatedNodeName", nominated, w)));
    }
    if has(old, "qosClass") && new["qosClass"] != old["qosClass"] {
        errors.push(FieldError::invalid("status.qosClass", new["qosClass"].clone(), "field is immutable"));
    }
    for (i, ip) in items(&new["podIPs"]).iter().enumerate() {
        let ip = text(ip, "ip");
        let path = format!("status.podIPs[{i}].ip");
        errors.extend(super::names::ip(ip).into_iter().map(|w| FieldError::invalid(path.as_str(), ip, w)));
    }
    errors
}
