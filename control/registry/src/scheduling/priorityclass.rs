//! PriorityClasses.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, text as column};
use crate::validate::template::immutable;
use crate::value::{flag, number as int, set_default, text};

/// Strategy of PriorityClasses.
pub struct PriorityClass;

pub const COLUMNS: &[Column] = &[
    NAME,
    count("Value", "Priority of the pods"),
    column("Global-Default", "Whether pods without a class get this one"),
    AGE,
    column("PreemptionPolicy", "Whether the pods may take the place of others"),
];

/// The classes that only the system may define, with their values.
pub const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
const HIGHEST: i64 = 1_000_000_000;

impl Strategy for PriorityClass {
    fn default(&self, class: &mut Value) {
        set_default(class, "preemptionPolicy", "PreemptLowerPriority");
        set_default(class, "value", 0);
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn spec_changed(&self, _new: &Value, _old: &Value) -> bool {
        false
    }

    fn validate(&self, class: &Value) -> Vec<FieldError> {
        let name = meta::name(class);
        let value = int(class, "value").unwrap_or(0);
        let mut errors = Vec::new();
        if name.starts_with("system-") {
            if let Some(wrong) = unlike_system(name, value, flag(class, "globalDefault")) {
                let what = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {wrong}"
                );
                errors.push(FieldError::forbidden("metadata.name", what));
            }
        } else if value > HIGHEST {
            let what = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.push(FieldError::forbidden("value", what));
        }
        let policy = text(class, "preemptionPolicy");
        if !matches!(policy, "PreemptLowerPriority" | "Never") {
            let policies = ["Never", "PreemptLowerPriority"];
            errors.push(FieldError::not_supported("preemptionPolicy", policy, &policies));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if int(new, "value").unwrap_or(0) != int(old, "value").unwrap_or(0) {
            errors.push(FieldError::forbidden("value", "may not be changed in an update."));
        }
        errors.extend(immutable(&new["preemptionPolicy"], &old["preemptionPolicy"], "preemptionPolicy"));
        errors
    }

    fn row(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            meta::name(class).into(),
            int(class, "value").unwrap_or(0).into(),
            flag(class, "globalDefault").into(),
            age(class, now),
            text(class, "preemptionPolicy").into(),
        ]
    }
}

fn unlike_system(name: &str, value: i64, global_default: bool) -> Option<String> {
    let Some((_, wanted)) = SYSTEM.into_iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value != wanted {
        return Some(format!("value of {name} PriorityClass must be {wanted}"));
    }
    global_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}
