//! Ingresses.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::{invalid, path_segment, wildcard_subdomain};
use crate::validate::names;
use crate::value::{has, items, number as int, text};

/// Strategy of Ingresses.
pub struct Ingress;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Class", "The name of the IngressClass resource that should be used for additional configuration"),
    column("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
    column("Address", "Address is a list containing ingress points for the load-balancer"),
    column("Ports", "Ports of TLS configurations that open"),
    AGE,
];

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const BAD_SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const BAD_SUFFIXES: [&str; 2] = ["/..", "/."];
const SHOWN_HOSTS: usize = 3;
const ADDRESS_WIDTH: usize = 16;

impl Strategy for Ingress {
    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, ingress: &Value) -> Vec<FieldError> {
        spec(&ingress["spec"])
    }

    fn validate_create(&self, ingress: &Value) -> Vec<FieldError> {
        let annotation = ingress["metadata"]["annotations"][CLASS_ANNOTATION].as_str();
        match annotation {
            Some(class) if has(&ingress["spec"], "ingressClassName") => {
                let path = format!("metadata.annotations.{CLASS_ANNOTATION}");
                vec![FieldError::invalid(path, class, "can not be set when the class field is also set")]
            }
            _ => Vec::new(),
        }
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (i, point) in items(&new["status"]["loadBalancer"]["ingress"]).iter().enumerate() {
            let path = format!("status.loadBalancer.ingress[{i}]");
            let (ip, host) = (text(point, "ip"), text(point, "hostname"));
            if !ip.is_empty() {
                errors.extend(invalid(&format!("{path}.ip"), ip, names::ip(ip)));
            }
            if !host.is_empty() {
                let path = format!("{path}.hostname");
                errors.extend(invalid(&path, host, names::dns_subdomain(host)));
                if names::ip(host).is_empty() {
                    errors.push(FieldError::invalid(path, host, "must be a DNS name, not an IP address"));
                }
            }
        }
        errors
    }

    fn row(&self, ingress: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &ingress["spec"];
        let class = match text(spec, "ingressClassName") {
            "" => "<none>",
            class => class,
        };
        let ports = if items(&spec["tls"]).is_empty() { "80" } else { "80, 443" };
        vec![
            meta::name(ingress).into(),
            class.into(),
            hosts(items(&spec["rules"])).into(),
            address(items(&ingress["status"]["loadBalancer"]["ingress"])).into(),
            ports.into(),
            age(ingress, now),
        ]
    }
}

fn hosts(rules: &[Value]) -> String {
    let named: Vec<&str> = rules.iter().map(|r| text(r, "host")).filter(|h| !h.is_empty()).collect();
    if named.is_empty() {
        return "*".to_owned();
    }
    let shown = named[..named.len().min(SHOWN_HOSTS)].join(",");
    if named.len() > SHOWN_HOSTS { format!("{shown} + {} more...", rules.len() - SHOWN_HOSTS) } else { shown }
}

fn address(points: &[Value]) -> String {
    let one = |point: &Value| match text(point, "ip") {
        "" => text(point, "hostname").to_owned(),
        ip => ip.to_owned(),
    };
    let all: std::collections::BTreeSet<String> = points.iter().map(one).filter(|a| !a.is_empty()).collect();
    let joined = all.into_iter().collect::<Vec<_>>().join(",");
    match joined.get(..ADDRESS_WIDTH - 3) {
        Some(start) if joined.len() > ADDRESS_WIDTH => format!("{start}..."),
        _ => joined,
    }
}

fn spec(spec: &Value) -> Vec<FieldError> {
    let rules = items(&spec["rules"]);
    let mut errors = Vec::new();
    if rules.is_empty() && !has(spec, "defaultBackend") {
        let what = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", spec["rules"].clone(), what));
    }
    if has(spec, "defaultBackend") {
        errors.extend(backend(&spec["defaultBackend"], "spec.defaultBackend"));
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{i}]");
        let host = text(rule, "host");
        if !host.is_empty() {
            if names::ip(host).is_empty() {
                let what = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(format!("{path}.host"), host, what));
            }
            errors.extend(domain(host, &format!("{path}.host")));
        }
        if has(rule, "http") {
            errors.extend(paths(items(&rule["http"]["paths"]), &format!("{path}.http.paths")));
        }
    }
    for (i, tls) in items(&spec["tls"]).iter().enumerate() {
        for (j, host) in items(&tls["hosts"]).iter().filter_map(Value::as_str).enumerate() {
            errors.extend(domain(host, &format!("spec.tls[{i}].hosts[{j}]")));
        }
        let secret = text(tls, "secretName");
        if !secret.is_empty() {
            errors.extend(invalid(&format!("spec.tls[{i}].secretName"), secret, names::dns_subdomain(secret)));
        }
    }
    if has(spec, "ingressClassName") {
        let class = text(spec, "ingressClassName");
        errors.extend(invalid("spec.ingressClassName", class, names::dns_subdomain(class)));
    }
    errors
}

fn domain(host: &str, path: &str) -> Vec<FieldError> {
    let wrong = if host.contains('*') { wildcard_subdomain(host) } else { names::dns_subdomain(host) };
    invalid(path, host, wrong)
}

fn paths(list: &[Value], path: &str) -> Vec<FieldError> {
    if list.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = Vec::new();
    for (i, entry) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let (route, at) = (text(entry, "path"), format!("{path}.path"));
        let relative = || FieldError::invalid(at.as_str(), route, "must be an absolute path");
        match entry["pathType"].as_str() {
            None => errors.push(FieldError::required(format!("{path}.pathType"), "pathType must be specified")),
            Some("Exact" | "Prefix") => {
                if !route.starts_with('/') {
                    errors.push(relative());
                }
                let within = BAD_SEQUENCES.iter().filter(|s| route.contains(*s));
                let contain =
                    within.map(|s| FieldError::invalid(at.as_str(), route, format!("must not contain '{s}'")));
                errors.extend(contain);
                let at_end = BAD_SUFFIXES.iter().filter(|s| route.ends_with(*s));
                errors
                    .extend(at_end.map(|s| FieldError::invalid(at.as_str(), route, format!("cannot end with '{s}'"))));
            }
            Some("ImplementationSpecific") => {
                if !route.is_empty() && !route.starts_with('/') {
                    errors.push(relative());
                }
            }
            Some(other) => errors.push(FieldError::not_supported(format!("{path}.pathType"), other, &PATH_TYPES)),
        }
        errors.extend(backend(&entry["backend"], &format!("{path}.backend")));
    }
    errors
}

fn backend(backend: &Value, path: &str) -> Vec<FieldError> {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (has(backend, "service"), has(backend, "resource")) {
        (true, true) => vec![FieldError::invalid(path, "", "cannot set both resource and service backends")],
        (false, false) => vec![FieldError::invalid(path, "", "resource or service backend is required")],
        (false, true) => reference(resource, &format!("{path}.resource")),
        (true, false) => {
            let mut errors = Vec::new();
            let name_at = format!("{path}.service.name");
            match text(service, "name") {
                "" => errors.push(FieldError::required(name_at, "")),
                name => errors.extend(invalid(&name_at, name, names::dns_1035_label(name))),
            }
            let port = &service["port"];
            let (name, number) = (text(port, "name"), int(port, "number").unwrap_or(0));
            match (name.is_empty(), number == 0) {
                (false, false) => {
                    errors.push(FieldError::invalid(path, "", "cannot set both port name & port number"));
                }
                (true, true) => errors.push(FieldError::required(path, "port name or number is required")),
                (false, true) => {
                    errors.extend(invalid(&format!("{path}.service.port.name"), name, names::port_name(name)));
                }
                (true, false) => {
                    let wrong = names::port_number(number);
                    let at = format!("{path}.service.port.number");
                    errors.extend(wrong.into_iter().map(|w| FieldError::invalid(at.as_str(), number, w)));
                }
            }
            errors
        }
    }
}

/// A reference to an object of a named group and kind.
pub(crate) fn reference(reference: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if has(reference, "apiGroup") {
        let group = text(reference, "apiGroup");
        errors.extend(invalid(&format!("{path}.apiGroup"), group, names::dns_subdomain(group)));
    }
    for (field, what) in [("kind", "kind is required"), ("name", "name is required")] {
        match text(reference, field) {
            "" => errors.push(FieldError::required(format!("{path}.{field}"), what)),
            value => errors.extend(invalid(&format!("{path}.{field}"), value, path_segment(value))),
        }
    }
    errors
}
