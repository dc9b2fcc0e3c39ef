//! ServiceCIDRs: ranges that service addresses come from.

use api::{FieldError, meta};
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::{cidr, invalid};
use crate::validate::template::immutable;
use crate::value::{items, text};

/// Strategy of ServiceCIDRs.
pub struct ServiceCidr;

pub const COLUMNS: &[Column] = &[NAME, column("CIDRs", "Ranges of addresses"), AGE];
/// Keeps a range as long as addresses are given from it.
pub const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const PATH: &str = "spec.cidrs";

impl Strategy for ServiceCidr {
    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// Addresses are given from a range as soon as it is there.
    fn prepare_create(&self, range: &mut Value) {
        let mut finalizers: Vec<String> = meta::finalizers(range).into_iter().map(str::to_owned).collect();
        if !finalizers.iter().any(|name| name == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
        meta::set_finalizers(range, &finalizers.iter().map(String::as_str).collect::<Vec<_>>());
        meta::set_generation(range, 1);
        let created = range["metadata"]["creationTimestamp"].clone();
        range["status"] = json!({"conditions": [{
            "type": "Ready", "status": "True", "reason": "", "lastTransitionTime": created,
            "message": "Kubernetes Service CIDR is ready",
        }]});
    }

    fn validate(&self, range: &Value) -> Vec<FieldError> {
        let list = items(&range["spec"]["cidrs"]);
        if list.is_empty() {
            return vec![FieldError::required(PATH, "at least one CIDR required")];
        }
        let mut errors = Vec::new();
        if list.len() > 2 {
            let what = "may only hold up to 2 values";
            errors.push(FieldError::invalid(PATH, range["spec"]["cidrs"].clone(), what));
        }
        let nets: Vec<IpNet> = list.iter().filter_map(|c| c.as_str()?.parse().ok()).collect();
        if let [one, two] = nets[..]
            && one.addr().is_ipv4() == two.addr().is_ipv4()
        {
            let what = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96";
            errors.push(FieldError::invalid(PATH, range["spec"]["cidrs"].clone(), what));
        }
        for (i, one) in list.iter().filter_map(Value::as_str).enumerate() {
            let path = format!("{PATH}[{i}]");
            errors.extend(invalid(&path, one, cidr(one)));
            if let Ok(net) = one.parse::<IpNet>()
                && net.trunc().to_string() != one
            {
                let what = format!("must be in canonical form ({:?})", net.trunc().to_string());
                errors.push(FieldError::invalid(path, one, what));
            }
        }
        errors
    }

    /// A range of the second family may join; else ranges stay.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (now, before) = (items(&new["spec"]["cidrs"]), items(&old["spec"]["cidrs"]));
        if before.len() == 1 && now.len() == 2 && now[0] == before[0] {
            return Vec::new();
        }
        immutable(&new["spec"]["cidrs"], &old["spec"]["cidrs"], PATH)
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        conditions(&new["status"]["conditions"], "status.conditions")
    }

    fn row(&self, range: &Value, now: Timestamp) -> Vec<Value> {
        let list: Vec<&str> = items(&range["spec"]["cidrs"]).iter().filter_map(Value::as_str).collect();
        vec![meta::name(range).into(), list.join(",").into(), age(range, now)]
    }
}

/// Conditions of the form that groups share (`metav1.Condition`).
pub(crate) fn conditions(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (i, condition) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let kind = text(condition, "type");
        if kind.is_empty() {
            errors.push(FieldError::required(format!("{path}.type"), "must be set"));
        } else {
            errors.extend(invalid(&format!("{path}.type"), kind, crate::validate::names::qualified(kind)));
        }
        let status = text(condition, "status");
        if !matches!(status, "True" | "False" | "Unknown") {
            errors.push(FieldError::not_supported(format!("{path}.status"), status, &["False", "True", "Unknown"]));
        }
        if text(condition, "lastTransitionTime").is_empty() {
            errors.push(FieldError::required(format!("{path}.lastTransitionTime"), "must be set"));
        }
        if text(condition, "reason").is_empty() {
            errors.push(FieldError::required(format!("{path}.reason"), "must be set"));
        }
        if !kind.is_empty() && !seen.insert(kind) {
            errors.push(FieldError::duplicate(format!("{path}.type"), kind));
        }
    }
    errors
}
