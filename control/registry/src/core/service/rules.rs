//! What a Service's spec must obey.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::FieldError;
use serde_json::{Value, json};

use super::families;
use crate::validate::{labels, names, number};
use crate::value::{has, items, number as int, text};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
/// `clusterIP` of a headless Service.
pub(super) const HEADLESS: &str = "None";

/// Whether the type takes a port on every node.
pub(super) fn has_node_ports(spec: &Value) -> bool {
    matches!(text(spec, "type"), "NodePort" | "LoadBalancer")
}

/// Whether traffic can come from outside the cluster.
pub(super) fn is_external(spec: &Value) -> bool {
    let by_address = text(spec, "type") == "ClusterIP" && !items(&spec["externalIPs"]).is_empty();
    has_node_ports(spec) || by_address
}

/// Whether a load balancer must be told which nodes have backends.
pub(super) fn needs_health_check(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

pub(super) fn service(spec: &Value) -> Vec<FieldError> {
    let kind = text(spec, "type");
    let headless = text(spec, "clusterIP") == HEADLESS;
    let mut errors = Vec::new();
    if items(&spec["ports"]).is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    if has_node_ports(spec) && headless {
        let what = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid("spec.clusterIPs[0]", HEADLESS, what));
    }
    if kind == "ExternalName" {
        errors.extend(external_name(spec));
    }
    errors.extend(ports(spec));
    errors.extend(labels::labels(&spec["selector"], "spec.selector"));
    errors.extend(number::one_of(spec, "type", "spec", &TYPES, true));
    errors.extend(affinity(spec));
    errors.extend(cluster_ips(spec));
    for (i, ip) in items(&spec["externalIPs"]).iter().filter_map(Value::as_str).enumerate() {
        let path = format!("spec.externalIPs[{i}]");
        errors.extend(names::ip(ip).into_iter().map(|w| FieldError::invalid(path.as_str(), ip, w)));
    }
    errors.extend(policies(spec));
    errors
}

fn external_name(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["clusterIP", "clusterIPs"] {
        if has(spec, field) && spec[field] != "" {
            errors.push(FieldError::forbidden(format!("spec.{field}"), "may not be set for ExternalName services"));
        }
    }
    match text(spec, "externalName").trim_end_matches('.') {
        "" => errors.push(FieldError::required("spec.externalName", "")),
        name => {
            let wrong = names::dns_subdomain(&name.to_lowercase());
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid("spec.externalName", name, w)));
        }
    }
    errors
}

fn ports(spec: &Value) -> Vec<FieldError> {
    let list = items(&spec["ports"]);
    let kind = text(spec, "type");
    let mut errors = Vec::new();
    let (mut seen_names, mut seen_ports, mut seen_nodes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (i, port) in list.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let name = text(port, "name");
        if name.is_empty() && list.len() > 1 {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !name.is_empty() {
            let wrong = names::dns_label(name);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.name"), name, w)));
            if !seen_names.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
        let n = int(port, "port").unwrap_or(0);
        errors.extend(names::port_number(n).into_iter().map(|w| FieldError::invalid(format!("{path}.port"), n, w)));
        errors.extend(number::one_of(port, "protocol", &path, &PROTOCOLS, true));
        errors.extend(number::port(&port["targetPort"], &format!("{path}.targetPort")));
        let app = text(port, "appProtocol");
        if !app.is_empty() {
            let wrong = names::qualified(app);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.appProtocol"), app, w)));
        }
        let protocol = text(port, "protocol");
        if !seen_ports.insert((protocol, n)) {
            errors.push(FieldError::duplicate(path.as_str(), json!({"protocol": protocol, "port": n})));
        }
        if let Some(node) = int(port, "nodePort").filter(|n| *n != 0) {
            let path = format!("{path}.nodePort");
            if kind == "ClusterIP" {
                errors.push(FieldError::forbidden(path.as_str(), "may not be used when `type` is 'ClusterIP'"));
            }
            if kind == "ExternalName" {
                errors.push(FieldError::forbidden(path.as_str(), "may not be used when `type` is 'ExternalName'"));
            }
            errors.extend(names::port_number(node).into_iter().map(|w| FieldError::invalid(path.as_str(), node, w)));
            if !seen_nodes.insert((protocol, node)) {
                errors.push(FieldError::duplicate(path, node));
            }
        }
    }
    errors
}

fn affinity(spec: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
    const MAX_SECONDS: i64 = 86_400;
    let mut errors = number::one_of(spec, "sessionAffinity", "spec", &["ClientIP", "None"], true);
    if text(spec, "sessionAffinity") == "ClientIP" {
        let seconds = int(&spec["sessionAffinityConfig"]["clientIP"], "timeoutSeconds").unwrap_or(0);
        if !(1..=MAX_SECONDS).contains(&seconds) {
            let what = format!("must be greater than 0 and less than {MAX_SECONDS}");
            errors.push(FieldError::invalid(PATH, seconds, what));
        }
    }
    errors
}

fn cluster_ips(spec: &Value) -> Vec<FieldError> {
    let (one, list) = (text(spec, "clusterIP"), items(&spec["clusterIPs"]));
    let mut errors = Vec::new();
    if let Some(first) = list.first().and_then(Value::as_str)
        && !one.is_empty()
        && first != one
    {
        let what = "first value must match `clusterIP`";
        errors.push(FieldError::invalid("spec.clusterIPs", spec["clusterIPs"].clone(), what));
    }
    if list.len() > 2 {
        let what = "may only hold up to 2 values";
        errors.push(FieldError::invalid("spec.clusterIPs", spec["clusterIPs"].clone(), what));
    }
    for (i, ip) in list.iter().filter_map(Value::as_str).enumerate() {
        let path = format!("spec.clusterIPs[{i}]");
        if ip == HEADLESS && list.len() > 1 {
            errors.push(FieldError::invalid(path, ip, "'None' must be the first and only value"));
        } else if ip != HEADLESS {
            errors.extend(names::ip(ip).into_iter().map(|w| FieldError::invalid(path.as_str(), ip, w)));
        }
    }
    for (i, family) in items(&spec["ipFamilies"]).iter().filter_map(Value::as_str).enumerate() {
        let path = format!("spec.ipFamilies[{i}]");
        if !matches!(family, "IPv4" | "IPv6") {
            errors.push(FieldError::not_supported(path.as_str(), family, &["IPv4", "IPv6"]));
            continue;
        }
        let is_v4 = list.get(i).and_then(Value::as_str).and_then(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.is_ipv4());
        if is_v4.is_some_and(|v4| v4 != (family == "IPv4")) {
            let what = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            let ip = list[i].clone();
            errors.push(FieldError::invalid(format!("spec.clusterIPs[{i}]"), ip, what));
        }
    }
    let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    errors.extend(number::one_of(spec, "ipFamilyPolicy", "spec", &policies, false));
    errors.extend(families::check(spec));
    errors
}

fn policies(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let external = text(spec, "externalTrafficPolicy");
    if !is_external(spec) {
        if !external.is_empty() {
            let what = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid("spec.externalTrafficPolicy", external, what));
        }
    } else {
        errors.extend(number::one_of(spec, "externalTrafficPolicy", "spec", &["Cluster", "Local"], true));
    }
    if text(spec, "type") != "ExternalName" {
        errors.extend(number::one_of(spec, "internalTrafficPolicy", "spec", &["Cluster", "Local"], true));
    }
    if text(spec, "type") != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if has(spec, field) {
                errors.push(FieldError::forbidden(
                    format!("spec.{field}"),
                    "may only be used when `type` is 'LoadBalancer'",
                ));
            }
        }
    }
    if has(spec, "healthCheckNodePort") && spec["healthCheckNodePort"] != 0 && !needs_health_check(spec) {
        let what = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"].clone(), what));
    }
    errors
}

/// Addresses once given stay, as long as the type has them.
pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    if text(new, "type") == "ExternalName" || text(old, "type") == "ExternalName" {
        return Vec::new();
    }
    let mut errors = families::update(new, old);
    let (now, before) = (items(&new["clusterIPs"]), items(&old["clusterIPs"]));
    errors.extend(match (now.first(), before.first()) {
        (now_first, Some(before_first)) if now_first != Some(before_first) => {
            vec![FieldError::invalid("spec.clusterIPs[0]", new["clusterIPs"].clone(), "may not change once set")]
        }
        _ if !text(old, "clusterIP").is_empty() && text(new, "clusterIP") != text(old, "clusterIP") => {
            vec![FieldError::invalid("spec.clusterIPs[0]", json!([text(new, "clusterIP")]), "may not change once set")]
        }
        _ => Vec::new(),
    });
    errors
}
