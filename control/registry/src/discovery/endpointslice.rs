//! EndpointSlices.

use std::net::IpAddr;

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::age;
use crate::core::endpoints::shorten;
use crate::validate::template::immutable;
use crate::validate::{names, number};
use crate::value::{has, items, items_mut, set, set_default, text};

/// Strategy of EndpointSlices.
pub struct EndpointSlice;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;

impl Strategy for EndpointSlice {
    fn default(&self, slice: &mut Value) {
        for port in items_mut(slice, "ports") {
            if !has(port, "name") {
                set(port, "name", "");
            }
            set_default(port, "protocol", "TCP");
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn spec_changed(&self, new: &Value, old: &Value) -> bool {
        ["endpoints", "ports", "addressType"].iter().any(|f| new[*f] != old[*f])
            || new["metadata"]["labels"] != old["metadata"]["labels"]
            || new["metadata"]["annotations"] != old["metadata"]["annotations"]
    }

    fn validate(&self, slice: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let types = ["IPv4", "IPv6", "FQDN"];
        match text(slice, "addressType") {
            "" => errors.push(FieldError::required("addressType", "")),
            kind if types.contains(&kind) => {}
            kind => errors.push(FieldError::not_supported("addressType", kind, &types)),
        }
        let endpoints = items(&slice["endpoints"]);
        if endpoints.len() > MAX_ENDPOINTS {
            errors.push(FieldError::too_many("endpoints", endpoints.len(), MAX_ENDPOINTS));
        }
        for (i, endpoint) in endpoints.iter().enumerate() {
            errors.extend(addresses(endpoint, &format!("endpoints[{i}].addresses"), text(slice, "addressType")));
        }
        let ports = items(&slice["ports"]);
        if ports.len() > MAX_PORTS {
            errors.push(FieldError::too_many("ports", ports.len(), MAX_PORTS));
        }
        let mut seen = std::collections::BTreeSet::new();
        for (i, port) in ports.iter().enumerate() {
            let (path, name) = (format!("ports[{i}]"), text(port, "name"));
            if !name.is_empty() {
                let wrong = names::dns_label(name);
                errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.name"), name, w)));
            }
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
            errors.extend(number::one_of(port, "protocol", &path, &["TCP", "UDP", "SCTP"], true));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        immutable(&new["addressType"], &old["addressType"], "addressType")
    }

    fn row(&self, slice: &Value, now: Timestamp) -> Vec<Value> {
        let unset = |list: Vec<String>| if list.is_empty() { "<unset>".to_owned() } else { shorten(list) };
        let ports = items(&slice["ports"]).iter().map(|p| match p["port"].as_i64() {
            Some(n) => n.to_string(),
            None => "*".to_owned(),
        });
        let addresses = items(&slice["endpoints"])
            .iter()
            .flat_map(|e| items(&e["addresses"]))
            .filter_map(|a| a.as_str().map(str::to_owned));
        vec![
            meta::name(slice).into(),
            text(slice, "addressType").into(),
            unset(ports.collect()).into(),
            unset(addresses.collect()).into(),
            age(slice, now),
        ]
    }
}

fn addresses(endpoint: &Value, path: &str, kind: &str) -> Vec<FieldError> {
    let list = items(&endpoint["addresses"]);
    if list.is_empty() {
        return vec![FieldError::required(path, "must contain at least 1 address")];
    }
    let mut errors = Vec::new();
    if list.len() > MAX_ADDRESSES {
        errors.push(FieldError::too_many(path, list.len(), MAX_ADDRESSES));
    }
    for (i, address) in list.iter().filter_map(Value::as_str).enumerate() {
        let path = format!("{path}[{i}]");
        let wrong = match (kind, address.parse::<IpAddr>()) {
            ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => Vec::new(),
            ("IPv4", Ok(IpAddr::V6(_))) => vec!["must be an IPv4 address".to_owned()],
            ("IPv6", Ok(IpAddr::V4(_))) => vec!["must be an IPv6 address".to_owned()],
            ("IPv4" | "IPv6", Err(_)) => names::ip(address),
            _ => names::dns_subdomain(address),
        };
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid(path.as_str(), address, w)));
    }
    errors
}
