//! CSINodes: the drivers on a node.

use std::collections::BTreeSet;

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as column};
use crate::validate::forms::{csi_driver, invalid};
use crate::validate::names;
use crate::value::{items, text};

/// Strategy of CSINodes.
pub struct CsiNode;

pub const COLUMNS: &[Column] = &[NAME, column("Drivers", "Number of drivers on the node"), AGE];
const MAX_NODE_ID: usize = 256;

impl Strategy for CsiNode {
    fn validate(&self, node: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut seen = BTreeSet::new();
        for (i, driver) in items(&node["spec"]["drivers"]).iter().enumerate() {
            let path = format!("spec.drivers[{i}]");
            let (name, id) = (text(driver, "name"), text(driver, "nodeID"));
            errors.extend(csi_driver(name, &format!("{path}.name")));
            if id.is_empty() {
                errors.push(FieldError::required(format!("{path}.nodeID"), id));
            } else if id.len() > MAX_NODE_ID {
                let what = format!("must be {MAX_NODE_ID} characters or less");
                errors.push(FieldError::invalid(format!("{path}.nodeID"), id, what));
            }
            if let Some(count) = driver["allocatable"]["count"].as_i64().filter(|c| *c < 0) {
                let what = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(format!("{path}.allocatable.count"), count, what));
            }
            let mut keys = BTreeSet::new();
            for key in items(&driver["topologyKeys"]).iter().filter_map(Value::as_str) {
                let path = format!("{path}.topologyKeys");
                if key.is_empty() {
                    errors.push(FieldError::required(path.as_str(), ""));
                    continue;
                }
                if !keys.insert(key) {
                    errors.push(FieldError::duplicate(path.as_str(), key));
                }
                errors.extend(invalid(&path, key, names::qualified(key)));
            }
            if !name.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
        errors
    }

    /// A driver that stays is as it was, its allocatable volumes aside.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let before = items(&old["spec"]["drivers"]);
        for (i, driver) in items(&new["spec"]["drivers"]).iter().enumerate() {
            let mut same_name = before.iter().filter(|o| o["name"] == driver["name"]).peekable();
            let kept = |o: &Value| ["nodeID", "topologyKeys"].iter().all(|f| o[*f] == driver[*f]);
            if same_name.peek().is_some() && !same_name.any(kept) {
                let path = format!("spec.drivers[{i}]");
                errors.push(FieldError::invalid(path, driver.clone(), "field is immutable"));
            }
        }
        errors
    }

    fn row(&self, node: &Value, now: Timestamp) -> Vec<Value> {
        vec![meta::name(node).into(), items(&node["spec"]["drivers"]).len().into(), age(node, now)]
    }
}
