//! NetworkPolicies.

use api::{FieldError, IntOrString, meta};
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, selector, text as column};
use crate::validate::forms::{cidr, invalid};
use crate::validate::{labels, names};
use crate::value::{has, items, items_mut, number as int, set, set_default, text};

/// Strategy of NetworkPolicies.
pub struct NetworkPolicy;

pub const COLUMNS: &[Column] = &[NAME, column("Pod-Selector", "Labels of the pods the policy is about"), AGE];

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

impl Strategy for NetworkPolicy {
    fn default(&self, policy: &mut Value) {
        let Some(spec) = policy.get_mut("spec").filter(|s| s.is_object()) else { return };
        for direction in ["ingress", "egress"] {
            for rule in items_mut(spec, direction) {
                for port in items_mut(rule, "ports") {
                    set_default(port, "protocol", "TCP");
                }
            }
        }
        if items(&spec["policyTypes"]).is_empty() {
            let types = if items(&spec["egress"]).is_empty() && !has(spec, "egress") {
                json!(["Ingress"])
            } else {
                json!(["Ingress", "Egress"])
            };
            set(spec, "policyTypes", types);
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, policy: &Value) -> Vec<FieldError> {
        let spec = &policy["spec"];
        let mut errors = labels::selector(&spec["podSelector"], "spec.podSelector");
        for (direction, peers_field) in [("ingress", "from"), ("egress", "to")] {
            for (i, rule) in items(&spec[direction]).iter().enumerate() {
                let path = format!("spec.{direction}[{i}]");
                for (j, entry) in items(&rule["ports"]).iter().enumerate() {
                    errors.extend(port(entry, &format!("{path}.ports[{j}]")));
                }
                for (j, entry) in items(&rule[peers_field]).iter().enumerate() {
                    errors.extend(peer(entry, &format!("{path}.{peers_field}[{j}]")));
                }
            }
        }
        let types = items(&spec["policyTypes"]);
        if types.len() > 2 {
            let what = "may not specify more than two policyTypes";
            errors.push(FieldError::invalid("spec.policyTypes", spec["policyTypes"].clone(), what));
            return errors;
        }
        for (i, one) in types.iter().filter_map(Value::as_str).enumerate() {
            if !matches!(one, "Ingress" | "Egress") {
                let path = format!("spec.policyTypes[{i}]");
                errors.push(FieldError::not_supported(path, one, &["Egress", "Ingress"]));
            }
        }
        errors
    }

    fn row(&self, policy: &Value, now: Timestamp) -> Vec<Value> {
        vec![meta::name(policy).into(), selector(&policy["spec"]["podSelector"]).into(), age(policy, now)]
    }
}

fn port(port: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let protocol = text(port, "protocol");
    if has(port, "protocol") && !PROTOCOLS.contains(&protocol) {
        errors.push(FieldError::not_supported(format!("{path}.protocol"), protocol, &PROTOCOLS));
    }
    let (at, end_at, end) = (format!("{path}.port"), format!("{path}.endPort"), int(port, "endPort"));
    match (IntOrString::from_value(&port["port"]), end) {
        (None, Some(end)) => {
            errors.push(FieldError::invalid(end_at, end, "may not be specified when `port` is not specified"));
        }
        (None, None) => {}
        (Some(IntOrString::Int(n)), end) => {
            errors.extend(names::port_number(n).into_iter().map(|w| FieldError::invalid(at.as_str(), n, w)));
            if let Some(end) = end {
                if end < n {
                    let what = "must be greater than or equal to `port`";
                    errors.push(FieldError::invalid(end_at.as_str(), end, what));
                }
                let wrong = names::port_number(end);
                errors.extend(wrong.into_iter().map(|w| FieldError::invalid(end_at.as_str(), end, w)));
            }
        }
        (Some(IntOrString::Str(name)), end) => {
            if let Some(end) = end {
                let what = "may not be specified when `port` is non-numeric";
                errors.push(FieldError::invalid(end_at, end, what));
            }
            errors.extend(invalid(&at, &name, names::port_name(&name)));
        }
    }
    errors
}

fn peer(peer: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut count = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if has(peer, field) {
            count += 1;
            errors.extend(labels::selector(&peer[field], &format!("{path}.{field}")));
        }
    }
    let block = has(peer, "ipBlock");
    if block {
        count += 1;
        errors.extend(ip_block(&peer["ipBlock"], &format!("{path}.ipBlock")));
    }
    if count == 0 {
        errors.push(FieldError::required(path, "must specify a peer"));
    } else if count > 1 && block {
        errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
    }
    errors
}

fn ip_block(block: &Value, path: &str) -> Vec<FieldError> {
    let (range, at) = (text(block, "cidr"), format!("{path}.cidr"));
    if range.is_empty() {
        return vec![FieldError::required(at, "")];
    }
    let mut errors = invalid(&at, range, cidr(range));
    let Ok(outer) = range.parse::<IpNet>() else { return errors };
    for (i, except) in items(&block["except"]).iter().filter_map(Value::as_str).enumerate() {
        let path = format!("{path}.except[{i}]");
        match except.parse::<IpNet>() {
            Err(_) => errors.extend(invalid(&path, except, cidr(except))),
            Ok(inner) if !outer.contains(&inner.addr()) || inner.prefix_len() <= outer.prefix_len() => {
                errors.push(FieldError::invalid(path, except, "must be a strict subset of `cidr`"));
            }
            Ok(_) => {}
        }
    }
    errors
}
