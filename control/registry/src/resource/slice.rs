//! ResourceSlices: the devices of a driver on a node.

use std::collections::BTreeSet;

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::invalid;
use crate::validate::names;
use crate::validate::template::immutable;
use crate::value::{flag, has, items, number as int, text};

/// Strategy of ResourceSlices.
pub struct ResourceSlice;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Node", "Where the devices are"),
    column("Driver", "Whose devices they are"),
    column("Pool", "Pool of the devices"),
    AGE,
];

const MAX_DEVICES: usize = 128;

impl Strategy for ResourceSlice {
    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, slice: &Value) -> Vec<FieldError> {
        let spec = &slice["spec"];
        let mut errors = match text(spec, "driver") {
            "" => vec![FieldError::required("spec.driver", "")],
            driver => invalid("spec.driver", driver, names::dns_subdomain(driver)),
        };
        let pool = &spec["pool"];
        match text(pool, "name") {
            "" => errors.push(FieldError::required("spec.pool.name", "")),
            name => {
                let wrong = name.split('/').flat_map(names::dns_subdomain).collect();
                errors.extend(invalid("spec.pool.name", name, wrong));
            }
        }
        if int(pool, "resourceSliceCount").unwrap_or(0) <= 0 {
            let count = int(pool, "resourceSliceCount").unwrap_or(0);
            errors.push(FieldError::invalid("spec.pool.resourceSliceCount", count, "must be greater than zero"));
        }
        if int(pool, "generation").unwrap_or(0) < 0 {
            let what = "must be greater than or equal to zero";
            errors.push(FieldError::invalid("spec.pool.generation", pool["generation"].clone(), what));
        }
        let places = [
            !text(spec, "nodeName").is_empty(),
            has(spec, "nodeSelector"),
            flag(spec, "allNodes"),
            flag(spec, "perDeviceNodeSelection"),
        ];
        let chosen = places.iter().filter(|p| **p).count();
        let has_devices = has(spec, "devices") || !has(spec, "sharedCounters");
        if chosen == 0 && has_devices {
            let what = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
            errors.push(FieldError::required("spec", what));
        } else if chosen > 1 {
            let what = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set";
            errors.push(FieldError::invalid("spec", Value::Null, what));
        }
        let devices = items(&spec["devices"]);
        if devices.len() > MAX_DEVICES {
            errors.push(FieldError::too_many("spec.devices", devices.len(), MAX_DEVICES));
        }
        let mut seen = BTreeSet::new();
        for (i, device) in devices.iter().enumerate() {
            let (name, at) = (text(device, "name"), format!("spec.devices[{i}].name"));
            if name.is_empty() {
                errors.push(FieldError::required(at.as_str(), ""));
            } else {
                errors.extend(invalid(&at, name, names::dns_label(name)));
            }
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(at, name));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (now, before) = (&new["spec"], &old["spec"]);
        let mut errors = immutable(&now["driver"], &before["driver"], "spec.driver");
        errors.extend(immutable(&now["nodeName"], &before["nodeName"], "spec.nodeName"));
        errors.extend(immutable(&now["pool"]["name"], &before["pool"]["name"], "spec.pool.name"));
        errors
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &["spec.driver", "spec.nodeName"]
    }

    fn fields(&self, slice: &Value) -> Vec<(&'static str, String)> {
        let spec = &slice["spec"];
        vec![("spec.driver", text(spec, "driver").to_owned()), ("spec.nodeName", text(spec, "nodeName").to_owned())]
    }

    fn row(&self, slice: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &slice["spec"];
        let node = match text(spec, "nodeName") {
            "" => "<unset>",
            node => node,
        };
        vec![
            meta::name(slice).into(),
            node.into(),
            text(spec, "driver").into(),
            text(&spec["pool"], "name").into(),
            age(slice, now),
        ]
    }
}
