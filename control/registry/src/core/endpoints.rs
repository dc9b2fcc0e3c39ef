//! Endpoints.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::age;
use crate::validate::{names, number};
use crate::value::{items, items_mut, set_default, text};

/// Strategy of Endpoints.
pub struct Endpoints;

/// Addresses shown in a table cell.
pub(crate) const MAX_SHOWN: usize = 3;

impl Strategy for Endpoints {
    fn default(&self, object: &mut Value) {
        for subset in items_mut(object, "subsets") {
            for port in items_mut(subset, "ports") {
                set_default(port, "protocol", "TCP");
            }
        }
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (i, subset) in items(&object["subsets"]).iter().enumerate() {
            let path = format!("subsets[{i}]");
            if items(&subset["addresses"]).is_empty() && items(&subset["notReadyAddresses"]).is_empty() {
                errors.push(FieldError::required(path.as_str(), "must specify `addresses` or `notReadyAddresses`"));
            }
            for list in ["addresses", "notReadyAddresses"] {
                for (j, address) in items(&subset[list]).iter().enumerate() {
                    let (ip, path) = (text(address, "ip"), format!("{path}.{list}[{j}].ip"));
                    errors.extend(names::ip(ip).into_iter().map(|w| FieldError::invalid(path.as_str(), ip, w)));
                }
            }
            let ports = items(&subset["ports"]);
            for (j, port) in ports.iter().enumerate() {
                errors.extend(endpoint_port(port, &format!("{path}.ports[{j}]"), ports.len() > 1));
            }
        }
        errors
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![meta::name(object).into(), addresses(object).into(), age(object, now)]
    }
}

fn endpoint_port(port: &Value, path: &str, needs_name: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = text(port, "name");
    if name.is_empty() && needs_name {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    } else if !name.is_empty() {
        let wrong = names::dns_label(name);
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.name"), name, w)));
    }
    let n = port["port"].as_i64().unwrap_or(0);
    errors.extend(names::port_number(n).into_iter().map(|w| FieldError::invalid(format!("{path}.port"), n, w)));
    errors.extend(number::one_of(port, "protocol", path, &["TCP", "UDP", "SCTP"], true));
    errors
}

fn addresses(object: &Value) -> String {
    let subsets = items(&object["subsets"]);
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let ips = || items(&subset["addresses"]).iter().map(|a| text(a, "ip"));
        let ports = items(&subset["ports"]);
        if ports.is_empty() {
            all.extend(ips().map(str::to_owned));
        }
        for port in ports {
            let number = port["port"].as_i64().unwrap_or(0);
            all.extend(ips().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{number}"),
                false => format!("{ip}:{number}"),
            }));
        }
    }
    shorten(all)
}

/// The first few of a list, and how many there are more.
pub(crate) fn shorten(all: Vec<String>) -> String {
    let shown = all[..all.len().min(MAX_SHOWN)].join(",");
    match all.len().checked_sub(MAX_SHOWN) {
        Some(more) if more > 0 => format!("{shown} + {more} more..."),
        _ => shown,
    }
}
