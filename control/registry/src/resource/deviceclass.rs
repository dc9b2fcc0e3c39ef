//! DeviceClasses.

use api::FieldError;
use serde_json::Value;

use super::claim::selectors;
use crate::Strategy;
use crate::validate::names;
use crate::value::{items, text};

/// Strategy of DeviceClasses.
pub struct DeviceClass;

const MAX_CONFIGS: usize = 32;

impl Strategy for DeviceClass {
    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, class: &Value) -> Vec<FieldError> {
        let spec = &class["spec"];
        let mut errors = selectors(spec, "spec");
        let configs = items(&spec["config"]);
        if configs.len() > MAX_CONFIGS {
            errors.push(FieldError::too_many("spec.config", configs.len(), MAX_CONFIGS));
        }
        for (i, config) in configs.iter().enumerate() {
            errors.extend(opaque(config, &format!("spec.config[{i}]")));
        }
        errors
    }
}

/// Checks a driver's own configuration.
pub(super) fn opaque(config: &Value, path: &str) -> Vec<FieldError> {
    let opaque = &config["opaque"];
    let path = format!("{path}.opaque");
    if opaque.is_null() {
        return vec![FieldError::required(path, "")];
    }
    let driver = text(opaque, "driver");
    let mut errors = if driver.is_empty() {
        vec![FieldError::required(format!("{path}.driver"), "")]
    } else {
        crate::validate::forms::invalid(&format!("{path}.driver"), driver, names::dns_subdomain(driver))
    };
    if opaque["parameters"].is_null() {
        errors.push(FieldError::required(format!("{path}.parameters"), ""));
    }
    errors
}
