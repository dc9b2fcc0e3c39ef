//! Nodes.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::pod::defaults::resource_list;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column, wide};
use crate::strategy::copy_field;
use crate::validate::scheduling::{is_unschedulable, taints};
use crate::value::{has, items, set, text};

/// Strategy of nodes.
pub struct Node;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "Whether the node is ready, and takes pods"),
    column("Roles", "Roles of the node"),
    AGE,
    column("Version", "Version the node runs"),
    wide("Internal-IP", "Address within the cluster"),
    wide("External-IP", "Address outside the cluster"),
    wide("OS-Image", "Operating system"),
    wide("Kernel-Version", "Kernel"),
    wide("Container-Runtime", "Container runtime and its version"),
];

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

impl Strategy for Node {
    fn default(&self, node: &mut Value) {
        let Some(status) = node.get_mut("status").filter(|s| s.is_object()) else { return };
        for list in ["capacity", "allocatable"] {
            if has(status, list) {
                resource_list(&mut status[list]);
            }
        }
        if has(status, "capacity") && !has(status, "allocatable") {
            let capacity = status["capacity"].clone();
            set(status, "allocatable", capacity);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    /// A node registers with its status.
    fn prepare_create(&self, node: &mut Value) {
        meta::remove(node, "generation");
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "status");
    }

    fn validate(&self, node: &Value) -> Vec<FieldError> {
        let mut errors = taints(&node["spec"]["taints"], "spec.taints");
        let ranges = items(&node["spec"]["podCIDRs"]);
        for (i, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
            if range.parse::<ipnet::IpNet>().is_err() {
                let what = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.push(FieldError::invalid(format!("spec.podCIDRs[{i}]"), range, what));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (new, old) = (&new["spec"], &old["spec"]);
        let what = "node updates may not change podCIDR except from \"\" to valid";
        let mut errors = Vec::new();
        if !items(&old["podCIDRs"]).is_empty() && new["podCIDRs"] != old["podCIDRs"] {
            errors.push(FieldError::forbidden("spec.podCIDRs", what));
        }
        if has(old, "providerID") && new["providerID"] != old["providerID"] {
            let what = "node updates may not change providerID except from \"\" to valid";
            errors.push(FieldError::forbidden("spec.providerID", what));
        }
        errors
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn fields(&self, node: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", is_unschedulable(node).to_string())]
    }

    fn row(&self, node: &Value, now: Timestamp) -> Vec<Value> {
        let facts = &node["status"]["nodeInfo"];
        let fact = |field: &str| match text(facts, field) {
            "" => "<unknown>".to_owned(),
            value => value.to_owned(),
        };
        vec![
            meta::name(node).into(),
            readiness(node).into(),
            roles(node).into(),
            age(node, now),
            text(facts, "kubeletVersion").into(),
            address(node, "InternalIP").into(),
            address(node, "ExternalIP").into(),
            fact("osImage").into(),
            fact("kernelVersion").into(),
            fact("containerRuntimeVersion").into(),
        ]
    }
}

fn readiness(node: &Value) -> String {
    let ready = items(&node["status"]["conditions"]).iter().find(|c| text(c, "type") == "Ready");
    let state = match ready.map(|c| text(c, "status")) {
        None => "Unknown",
        Some("True") => "Ready",
        Some(_) => "NotReady",
    };
    let closed = if is_unschedulable(node) { ",SchedulingDisabled" } else { "" };
    format!("{state}{closed}")
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<String> = Vec::new();
    for (key, value) in meta::labels(node) {
        if let Some(role) = key.strip_prefix(ROLE_PREFIX).filter(|r| !r.is_empty()) {
            roles.push(role.to_owned());
        } else if key == ROLE_LABEL && !value.is_empty() {
            roles.push(value);
        }
    }
    roles.sort();
    roles.dedup();
    crate::columns::or_none(roles.join(","))
}

fn address(node: &Value, kind: &str) -> String {
    let found = items(&node["status"]["addresses"]).iter().find(|a| text(a, "type") == kind);
    crate::columns::or_none(found.map(|a| text(a, "address")).unwrap_or_default().to_owned())
}
