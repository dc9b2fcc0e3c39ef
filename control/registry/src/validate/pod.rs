//! The spec of a pod.

use std::collections::BTreeSet;

use api::FieldError;
use serde_json::Value;

use super::container::{Place, container, host_ports};
use super::{labels, names, number, scheduling, volumes};
use crate::value::{flag, has, items, text};

/// Checks a pod's spec at a path.
#[must_use]
pub fn spec(spec: &Value, path: &str) -> Vec<FieldError> {
    let (mut errors, volume_names) = volumes::volumes(&spec["volumes"], &format!("{path}.volumes"));
    errors.extend(containers(spec, path, &volume_names));
    errors.extend(number::one_of(spec, "restartPolicy", path, &["Always", "OnFailure", "Never"], true));
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.extend(number::one_of(spec, "dnsPolicy", path, &dns, true));
    if text(spec, "dnsPolicy") == "None" {
        if !has(spec, "dnsConfig") {
            let what = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(format!("{path}.dnsConfig"), what));
        } else if items(&spec["dnsConfig"]["nameservers"]).is_empty() {
            let what = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(format!("{path}.dnsConfig.nameservers"), what));
        }
    }
    for (i, server) in items(&spec["dnsConfig"]["nameservers"]).iter().filter_map(Value::as_str).enumerate() {
        let path = format!("{path}.dnsConfig.nameservers[{i}]");
        errors.extend(names::ip(server).into_iter().map(|w| FieldError::invalid(path.as_str(), server, w)));
    }
    for (field, rule) in [
        ("hostname", names::dns_label as fn(&str) -> Vec<String>),
        ("subdomain", names::dns_label),
        ("serviceAccountName", names::dns_subdomain),
        ("nodeName", names::dns_subdomain),
        ("schedulerName", names::qualified),
        ("priorityClassName", names::dns_subdomain),
        ("runtimeClassName", names::dns_subdomain),
    ] {
        let value = text(spec, field);
        if !value.is_empty() {
            let path = format!("{path}.{field}");
            errors.extend(rule(value).into_iter().map(|w| FieldError::invalid(path.as_str(), value, w)));
        }
    }
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64()
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let what = format!("must be between 1 and {}, inclusive", i32::MAX);
        errors.push(FieldError::invalid(format!("{path}.activeDeadlineSeconds"), seconds, what));
    }
    errors.extend(labels::labels(&spec["nodeSelector"], &format!("{path}.nodeSelector")));
    errors.extend(scheduling::tolerations(&spec["tolerations"], &format!("{path}.tolerations")));
    errors.extend(scheduling::affinity(&spec["affinity"], &format!("{path}.affinity")));
    errors.extend(scheduling::spread(&spec["topologySpreadConstraints"], &format!("{path}.topologySpreadConstraints")));
    errors.extend(scheduling::gates(&spec["schedulingGates"], &format!("{path}.schedulingGates")));
    for (i, alias) in items(&spec["hostAliases"]).iter().enumerate() {
        let path = format!("{path}.hostAliases[{i}].ip");
        let ip = text(alias, "ip");
        errors.extend(names::ip(ip).into_iter().map(|w| FieldError::invalid(path.as_str(), ip, w)));
    }
    errors
}

fn containers(spec: &Value, path: &str, volume_names: &BTreeSet<String>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    if items(&spec["containers"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let lists =
        [("containers", Place::Main), ("initContainers", Place::Init), ("ephemeralContainers", Place::Ephemeral)];
    for (list, place) in lists {
        for (i, item) in items(&spec[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{i}]");
            errors.extend(container(item, &path, place, volume_names));
            let name = text(item, "name");
            if !name.is_empty() && !seen.insert(name.to_owned()) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
    }
    errors.extend(host_ports(&spec["containers"], &format!("{path}.containers"), flag(spec, "hostNetwork")));
    errors
}
