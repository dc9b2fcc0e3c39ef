//! RuntimeClasses.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::invalid;
use crate::validate::template::immutable;
use crate::validate::{labels, names};
use crate::value::{has, text};

/// Strategy of RuntimeClasses.
pub struct RuntimeClass;

pub const COLUMNS: &[Column] = &[NAME, column("Handler", "What runs the pods, by the runtime's configuration"), AGE];

impl Strategy for RuntimeClass {
    fn validate(&self, class: &Value) -> Vec<FieldError> {
        let handler = text(class, "handler");
        let mut errors = invalid("handler", handler, names::dns_label(handler));
        if has(&class["scheduling"], "nodeSelector") {
            errors.extend(labels::labels(&class["scheduling"]["nodeSelector"], "scheduling.nodeSelector"));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        immutable(&new["handler"], &old["handler"], "handler")
    }

    fn row(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        vec![meta::name(class).into(), text(class, "handler").into(), age(class, now)]
    }
}
