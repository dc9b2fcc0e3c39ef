//! PodDisruptionBudgets.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, text as column};
use crate::validate::{labels, number};
use crate::value::{has, number as int};

/// Strategy of PodDisruptionBudgets.
pub struct PodDisruptionBudget;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Min Available", "Pods that must stay"),
    column("Max Unavailable", "Pods that may go"),
    count("Allowed Disruptions", "Pods that may go now"),
    AGE,
];

impl Strategy for PodDisruptionBudget {
    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, budget: &mut Value) {
        let zeros = ["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"];
        let counts: serde_json::Map<String, Value> = zeros.map(|f| (f.to_owned(), 0.into())).into_iter().collect();
        crate::value::set(budget, "status", counts);
        meta::set_generation(budget, 1);
    }

    fn validate(&self, budget: &Value) -> Vec<FieldError> {
        let spec = &budget["spec"];
        let mut errors = Vec::new();
        if has(spec, "minAvailable") && has(spec, "maxUnavailable") {
            let what = "minAvailable and maxUnavailable cannot be both set";
            errors.push(FieldError::invalid("spec", spec.clone(), what));
        }
        for field in ["minAvailable", "maxUnavailable"] {
            let path = format!("spec.{field}");
            errors.extend(number::count_or_percent(&spec[field], &path));
            errors.extend(number::at_most_all(&spec[field], &path));
        }
        if has(spec, "selector") {
            errors.extend(labels::selector(&spec["selector"], "spec.selector"));
        }
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        errors.extend(number::one_of(spec, "unhealthyPodEvictionPolicy", "spec", &policies, false));
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let status = &new["status"];
        let mut errors = Vec::new();
        for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            errors.extend(number::not_negative(status, field, "status"));
        }
        errors
    }

    fn row(&self, budget: &Value, now: Timestamp) -> Vec<Value> {
        let shown = |field: &str| match &budget["spec"][field] {
            Value::Null => "N/A".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        vec![
            meta::name(budget).into(),
            shown("minAvailable").into(),
            shown("maxUnavailable").into(),
            int(&budget["status"], "disruptionsAllowed").unwrap_or(0).into(),
            age(budget, now),
        ]
    }
}
