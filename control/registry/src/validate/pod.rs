//! The spec of a pod.

use std::collections::BTreeSet;

use api::FieldError;
use serde_json::Value;

use super::container::{Place, container, host_ports};
use super::{labels, names, number, resources, scheduling, security, volumes};
use crate::value::{entries, flag, has, items, text};

/// Search paths and servers in a pod's DNS configuration.
const MAX_SEARCHES: usize = 32;
const MAX_SERVERS: usize = 3;

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
    errors.extend(namespaces(spec, path));
    errors.extend(extras(spec, path));
    errors.extend(labels::labels(&spec["nodeSelector"], &format!("{path}.nodeSelector")));
    errors.extend(scheduling::tolerations(&spec["tolerations"], &format!("{path}.tolerations")));
    errors.extend(scheduling::affinity(&spec["affinity"], &format!("{path}.affinity")));
    errors.extend(scheduling::spread(&spec["topologySpreadConstraints"], &format!("{path}.topologySpreadConstraints")));
    errors.extend(scheduling::gates(&spec["schedulingGates"], &format!("{path}.schedulingGates")));
    for (i, alias) in items(&spec["hostAliases"]).iter().enumerate() {
        let path = format!("{path}.hostAliases[{i}].ip");
        let ip = text(alias, "ip");
        errors.extend(names::ip(ip).into_iter().map(|w| FieldError::invalid(path.as_str(), ip, w)));
        for (j, name) in items(&alias["hostnames"]).iter().filter_map(Value::as_str).enumerate() {
            let path = format!("{}.hostnames[{j}]", path.trim_end_matches(".ip"));
            errors.extend(names::dns_subdomain(name).into_iter().map(|w| FieldError::invalid(path.as_str(), name, w)));
        }
    }
    errors
}

/// Which namespaces of the host the pod uses, and its security context.
fn namespaces(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if has(spec, "securityContext") {
        errors.extend(security::pod(&spec["securityContext"], &format!("{path}.securityContext")));
    }
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let what = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(format!("{path}.shareProcessNamespace"), true, what));
    }
    if spec["hostUsers"] == false {
        for field in ["hostPID", "hostIPC"].into_iter().filter(|f| flag(spec, f)) {
            let what = format!("when `{field}` is true");
            errors.push(FieldError::forbidden(format!("{path}.hostUsers"), what));
        }
    }
    errors
}

fn extras(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(number::one_of(spec, "preemptionPolicy", path, &["Never", "PreemptLowerPriority"], false));
    if has(spec, "os") {
        errors.extend(number::one_of(&spec["os"], "name", &format!("{path}.os"), &["linux", "windows"], true));
    }
    for (i, gate) in items(&spec["readinessGates"]).iter().enumerate() {
        let kind = text(gate, "conditionType");
        let path = format!("{path}.readinessGates[{i}].conditionType");
        errors.extend(names::qualified(kind).into_iter().map(|w| FieldError::invalid(path.as_str(), kind, w)));
    }
    for (name, amount) in entries(&spec["overhead"]) {
        errors.extend(resources::amount(amount, &format!("{path}.overhead[{name}]")));
    }
    if has(spec, "resources") {
        errors.extend(resources::requirements(&spec["resources"], &format!("{path}.resources")));
    }
    let searches = items(&spec["dnsConfig"]["searches"]);
    if searches.len() > MAX_SEARCHES {
        let shown = spec["dnsConfig"]["searches"].clone();
        let what = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.push(FieldError::invalid(format!("{path}.dnsConfig.searches"), shown, what));
    }
    let servers = items(&spec["dnsConfig"]["nameservers"]);
    if servers.len() > MAX_SERVERS {
        let shown = spec["dnsConfig"]["nameservers"].clone();
        let what = format!("must not have more than {MAX_SERVERS} nameservers");
        errors.push(FieldError::invalid(format!("{path}.dnsConfig.nameservers"), shown, what));
    }
    for (i, option) in items(&spec["dnsConfig"]["options"]).iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(format!("{path}.dnsConfig.options[{i}]"), "must not be empty"));
        }
    }
    let mut claims = BTreeSet::new();
    for (i, claim) in items(&spec["resourceClaims"]).iter().enumerate() {
        let path = format!("{path}.resourceClaims[{i}]");
        let name = text(claim, "name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !claims.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        match (has(claim, "resourceClaimName"), has(claim, "resourceClaimTemplateName")) {
            (true, true) => {
                let what = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.push(FieldError::invalid(path, claim.clone(), what));
            }
            (false, false) => {
                let what = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.push(FieldError::invalid(path, claim.clone(), what));
            }
            _ => {}
        }
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
