//! Containers and their ports.

use std::collections::BTreeSet;

use api::FieldError;
use serde_json::Value;

use super::{env, names, number, probe, resources, security, volumes};
use crate::value::{entries, has, items, text};

/// Which of the pod's lists a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Main,
    Init,
    Ephemeral,
}

/// Checks one container at a path.
#[must_use]
pub fn container(container: &Value, path: &str, place: Place, volume_names: &BTreeSet<String>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = text(container, "name");
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    } else {
        let wrong = names::dns_label(name);
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.name"), name, w)));
    }
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        let what = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(format!("{path}.image"), image, what));
    }
    let sidecar = place == Place::Init && text(container, "restartPolicy") == "Always";
    errors.extend(restarts(container, path, place));
    errors.extend(lifecycle(container, path, place == Place::Main || sidecar, place));
    let policies = ["File", "FallbackToLogsOnError"];
    errors.extend(number::one_of(container, "terminationMessagePolicy", path, &policies, true));
    errors.extend(ports(&container["ports"], &format!("{path}.ports")));
    errors.extend(env::env(&container["env"], &format!("{path}.env")));
    errors.extend(env::env_from(&container["envFrom"], &format!("{path}.envFrom")));
    errors.extend(volumes::devices(&container["volumeDevices"], &format!("{path}.volumeDevices"), volume_names));
    errors.extend(volumes::mounts(&container["volumeMounts"], &format!("{path}.volumeMounts"), volume_names));
    errors.extend(number::one_of(container, "imagePullPolicy", path, &["Always", "IfNotPresent", "Never"], true));
    errors.extend(resources::requirements(&container["resources"], &format!("{path}.resources")));
    errors.extend(resizes(&container["resizePolicy"], &format!("{path}.resizePolicy")));
    if has(container, "securityContext") {
        errors.extend(security::container(&container["securityContext"], &format!("{path}.securityContext")));
    }
    if place == Place::Ephemeral {
        for field in ["ports", "resources", "resizePolicy"].into_iter().filter(|f| is_given(&container[*f])) {
            errors.push(FieldError::forbidden(format!("{path}.{field}"), NOT_EPHEMERAL));
        }
    }
    errors
}

const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";

/// Whether there is anything in a list or an object.
fn is_given(value: &Value) -> bool {
    !items(value).is_empty() || entries(value).next().is_some()
}

fn restarts(container: &Value, path: &str, place: Place) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if place == Place::Ephemeral {
        for field in ["restartPolicy", "restartPolicyRules"].into_iter().filter(|f| has(container, f)) {
            errors.push(FieldError::forbidden(format!("{path}.{field}"), NOT_EPHEMERAL));
        }
        return errors;
    }
    errors.extend(number::one_of(container, "restartPolicy", path, &["Always", "Never", "OnFailure"], false));
    let rules = items(&container["restartPolicyRules"]);
    if !rules.is_empty() && !has(container, "restartPolicy") {
        let what = "must specify restartPolicy when restart rules are used";
        errors.push(FieldError::required(format!("{path}.restartPolicy"), what));
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = format!("{path}.restartPolicyRules[{i}]");
        errors.extend(number::one_of(rule, "action", &path, &["Restart", "RestartAllContainers"], true));
        if !has(rule, "exitCodes") {
            errors.push(FieldError::required(format!("{path}.exitCodes"), "must be specified"));
            continue;
        }
        let path = format!("{path}.exitCodes");
        errors.extend(number::one_of(&rule["exitCodes"], "operator", &path, &["In", "NotIn"], true));
        if items(&rule["exitCodes"]["values"]).is_empty() {
            errors.push(FieldError::required(format!("{path}.values"), "at least one value is required"));
        }
    }
    errors
}

fn resizes(policies: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, policy) in items(policies).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let resource = text(policy, "resourceName");
        if !seen.insert(resource) {
            errors.push(FieldError::duplicate(format!("{path}.resourceName"), resource));
        }
        errors.extend(number::one_of(policy, "resourceName", &path, &["cpu", "memory"], true));
        let actions = ["NotRequired", "RestartContainer"];
        errors.extend(number::one_of(policy, "restartPolicy", &path, &actions, true));
    }
    errors
}

fn lifecycle(container: &Value, path: &str, allowed: bool, place: Place) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] {
        if !has(container, field) {
            continue;
        }
        let path = format!("{path}.{field}");
        if !allowed {
            let what = if place == Place::Ephemeral {
                NOT_EPHEMERAL
            } else {
                "may not be set for init containers without restartPolicy=Always"
            };
            errors.push(FieldError::forbidden(path, what));
        } else if field == "lifecycle" {
            for hook in ["postStart", "preStop"] {
                if has(&container["lifecycle"], hook) {
                    errors.extend(probe::handler(&container["lifecycle"][hook], &format!("{path}.{hook}"), true));
                }
            }
        } else {
            errors.extend(probe::probe(&container[field], &path, field != "readinessProbe"));
        }
    }
    errors
}

fn ports(ports: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, port) in items(ports).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let name = text(port, "name");
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if wrong.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.name"), name, w)));
        }
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => errors.push(FieldError::required(format!("{path}.containerPort"), "")),
            n => {
                let wrong = names::port_number(n);
                errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.containerPort"), n, w)));
            }
        }
        if let Some(n) = port["hostPort"].as_i64().filter(|n| *n != 0) {
            let wrong = names::port_number(n);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.hostPort"), n, w)));
        }
        let host = text(port, "hostIP");
        if !host.is_empty() {
            errors.extend(names::ip(host).into_iter().map(|w| FieldError::invalid(format!("{path}.hostIP"), host, w)));
        }
        errors.extend(number::one_of(port, "protocol", &path, &["TCP", "UDP", "SCTP"], true));
    }
    errors
}

/// No two containers may take the same port of the host.
#[must_use]
pub fn host_ports(containers: &Value, path: &str, host_network: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut taken = BTreeSet::new();
    for (i, container) in items(containers).iter().enumerate() {
        for (j, port) in items(&container["ports"]).iter().enumerate() {
            let Some(number) = port["hostPort"].as_i64().filter(|n| *n != 0) else { continue };
            let path = format!("{path}[{i}].ports[{j}].hostPort");
            let claim = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            if host_network && port["containerPort"].as_i64() != Some(number) {
                let what = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(path.as_str(), number, what));
            }
            if !taken.insert(claim.clone()) {
                errors.push(FieldError::duplicate(path, claim));
            }
        }
    }
    errors
}
