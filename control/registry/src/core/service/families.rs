//! IP families of a Service: what is not said follows from its addresses and from what it was.

use api::FieldError;
use serde_json::Value;
use std::net::IpAddr;

use super::rules::HEADLESS;
use crate::value::{items, set, set_default, text};

const SINGLE: &str = "SingleStack";

/// Sets the policy, and the families that follow from addresses or were there before; which family a Service has that says nothing is
/// for the allocator, which knows the cluster's. `old` is null when the Service is new. No policy means that of before, or one
/// family: two families are asked for in so many words. A headless Service without selector has endpoints of whatever family.
pub(super) fn settle(spec: &mut Value, old: &Value) {
    if text(spec, "type") == "ExternalName" {
        return;
    }
    let free =
        text(spec, "clusterIP") == HEADLESS && spec["selector"].as_object().is_none_or(serde_json::Map::is_empty);
    let policy = match text(old, "ipFamilyPolicy") {
        "" if free => "RequireDualStack",
        "" => SINGLE,
        before => before,
    };
    set_default(spec, "ipFamilyPolicy", policy);
    if text(spec, "ipFamilyPolicy") == SINGLE {
        for field in ["clusterIPs", "ipFamilies"] {
            let unchanged = spec[field] == old[field];
            if let Some(list) = spec.get_mut(field).and_then(Value::as_array_mut).filter(|_| unchanged) {
                list.truncate(1);
            }
        }
    }
    let mut families: Vec<Value> = items(&spec["ipFamilies"]).to_vec();
    for ip in items(&spec["clusterIPs"]).iter().skip(families.len()) {
        match ip.as_str().unwrap_or_default().parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => families.push("IPv4".into()),
            Ok(IpAddr::V6(_)) => families.push("IPv6".into()),
            Err(_) => break,
        }
    }
    if families.is_empty() && text(spec, "clusterIP") == text(old, "clusterIP") {
        families = items(&old["ipFamilies"]).to_vec();
    }
    if families.is_empty() {
        return;
    }
    if free && families.len() == 1 && text(spec, "ipFamilyPolicy") != SINGLE {
        families.push(if families[0] == "IPv4" { "IPv6" } else { "IPv4" }.into());
    }
    set(spec, "ipFamilies", families);
}

/// One family, and two of something.
pub(super) fn check(spec: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.ipFamilyPolicy";
    let mut errors = Vec::new();
    for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if text(spec, "ipFamilyPolicy") == SINGLE && items(&spec[field]).len() == 2 {
            let what = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            errors.push(FieldError::invalid(PATH, SINGLE, what));
        }
    }
    errors
}

/// The second address or family goes by the policy only.
pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let policy = text(new, "ipFamilyPolicy");
    let mut errors = Vec::new();
    for (field, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        let (now, before) = (items(&new[field]).len(), items(&old[field]).len());
        if policy != SINGLE && now > 0 && now < before {
            let what = format!("must be 'SingleStack' to release the secondary {what}");
            errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy, what));
        }
    }
    errors
}
