//! VolumeAttributesClasses.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::storageclass::{is_default, parameters};
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::csi_driver;
use crate::value::text;

/// Strategy of VolumeAttributesClasses.
pub struct VolumeAttributesClass;

pub const COLUMNS: &[Column] = &[NAME, column("DriverName", "Driver the class is for"), AGE];
const DEFAULT: [&str; 1] = ["volumeattributesclass.alpha.kubernetes.io/is-default-class"];

impl Strategy for VolumeAttributesClass {
    fn validate(&self, class: &Value) -> Vec<FieldError> {
        let mut errors = csi_driver(text(class, "driverName"), "driverName");
        errors.extend(parameters(&class["parameters"], "parameters", false));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for field in ["driverName", "parameters"] {
            if new[field] != old[field] {
                errors.push(FieldError::forbidden(field, format!("updates to {field} are forbidden.")));
            }
        }
        errors
    }

    fn row(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        let mark = if is_default(class, &DEFAULT) { " (default)" } else { "" };
        vec![format!("{}{mark}", meta::name(class)).into(), text(class, "driverName").into(), age(class, now)]
    }
}
