//! CSIStorageCapacities.

use api::{FieldError, Quantity, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::storageclass::optional_selector;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::invalid;
use crate::validate::names;
use crate::validate::template::immutable;
use crate::value::text;

/// Strategy of CSIStorageCapacities.
pub struct CsiStorageCapacity;

pub const COLUMNS: &[Column] =
    &[NAME, column("StorageClassName", "Class of the volumes"), column("Capacity", "Bytes available"), AGE];

impl Strategy for CsiStorageCapacity {
    fn validate(&self, capacity: &Value) -> Vec<FieldError> {
        let class = text(capacity, "storageClassName");
        let mut errors = invalid("storageClassName", class, names::dns_subdomain(class));
        errors.extend(optional_selector(&capacity["nodeTopology"], "nodeTopology"));
        for field in ["capacity", "maximumVolumeSize"] {
            let quantity = capacity[field].as_str().and_then(|q| q.parse::<Quantity>().ok());
            if quantity.is_some_and(|q| q.is_negative()) {
                let what = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(field, capacity[field].clone(), what));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = immutable(&new["nodeTopology"], &old["nodeTopology"], "nodeTopology");
        errors.extend(immutable(&new["storageClassName"], &old["storageClassName"], "storageClassName"));
        errors
    }

    fn row(&self, capacity: &Value, now: Timestamp) -> Vec<Value> {
        let amount = match text(capacity, "capacity") {
            "" => "<unset>",
            amount => amount,
        };
        vec![meta::name(capacity).into(), text(capacity, "storageClassName").into(), amount.into(), age(capacity, now)]
    }
}
