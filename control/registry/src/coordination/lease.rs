//! Leases.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::age;
use crate::validate::number;
use crate::value::text;

/// Strategy of leases.
pub struct Lease;

impl Strategy for Lease {
    fn validate(&self, lease: &Value) -> Vec<FieldError> {
        let spec = &lease["spec"];
        let mut errors = Vec::new();
        if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|s| *s <= 0) {
            errors.push(FieldError::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
        }
        errors.extend(number::not_negative(spec, "leaseTransitions", "spec"));
        errors
    }

    fn row(&self, lease: &Value, now: Timestamp) -> Vec<Value> {
        vec![meta::name(lease).into(), text(&lease["spec"], "holderIdentity").into(), age(lease, now)]
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
