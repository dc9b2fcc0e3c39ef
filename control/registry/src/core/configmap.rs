//! ConfigMaps.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::age;
use crate::validate::{names, template::immutable};
use crate::value::{entries, flag};

/// Strategy of ConfigMaps.
pub struct ConfigMap;

/// All entries together may be this large.
pub(super) const MAX_BYTES: usize = 1 << 20;

impl Strategy for ConfigMap {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut size = 0;
        for map in ["data", "binaryData"] {
            for (key, value) in entries(&object[map]) {
                let path = format!("{map}[{key}]");
                let wrong = names::config_key(key);
                errors.extend(wrong.into_iter().map(|w| FieldError::invalid(path.as_str(), key.as_str(), w)));
                if map == "binaryData" && object["data"].get(key).is_some() {
                    let what = "duplicate of key present in data";
                    errors.push(FieldError::invalid(path, key.as_str(), what));
                }
                let length = value.as_str().map_or(0, str::len);
                size += if map == "binaryData" { length / 4 * 3 } else { length };
            }
        }
        if size > MAX_BYTES {
            errors.push(FieldError::too_long("", MAX_BYTES));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        frozen(new, old, &["data", "binaryData"])
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = entries(&object["data"]).count() + entries(&object["binaryData"]).count();
        vec![meta::name(object).into(), count.into(), age(object, now)]
    }
}

/// Fields that never change once `immutable` is set.
pub(super) fn frozen(new: &Value, old: &Value, fields: &[&str]) -> Vec<FieldError> {
    if !flag(old, "immutable") {
        return Vec::new();
    }
    let what = "field is immutable when `immutable` is set";
    let mut errors = Vec::new();
    if !flag(new, "immutable") {
        errors.push(FieldError::forbidden("immutable", what));
    }
    for field in fields {
        if !immutable(&new[*field], &old[*field], field).is_empty() {
            errors.push(FieldError::forbidden(*field, what));
        }
    }
    errors
}
