//! ReplicaSets.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, selector};
use crate::core::pod::{defaults, warnings as pod_warnings};
use crate::table::{CONTAINERS, IMAGES, SELECTOR};
use crate::validate::{number, template};
use crate::value::{number as int, set_default};

/// Strategy of ReplicaSets.
pub struct ReplicaSet;

pub const COLUMNS: &[Column] = &[
    NAME,
    count("Desired", "Pods wanted"),
    count("Current", "Pods that exist"),
    count("Ready", "Pods that are ready"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

impl Strategy for ReplicaSet {
    fn default(&self, set: &mut Value) {
        let Some(spec) = set.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "replicas", 1);
        defaults::template(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// The count is there from the start: autoscalers and kubectl read it.
    fn prepare_create(&self, set: &mut Value) {
        crate::value::set(set, "status", serde_json::json!({"replicas": 0}));
        meta::set_generation(set, 1);
    }

    fn validate(&self, set: &Value) -> Vec<FieldError> {
        let spec = &set["spec"];
        let mut errors = number::not_negative(spec, "replicas", "spec");
        errors.extend(number::not_negative(spec, "minReadySeconds", "spec"));
        errors.extend(template::workload(spec, template::Workload::ReplicaSet));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        template::selector_kept(new, old)
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        status(&new["status"])
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        pod_warnings::template(&new["spec"]["template"], "spec.template")
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn fields(&self, set: &Value) -> Vec<(&'static str, String)> {
        vec![("status.replicas", int(&set["status"], "replicas").unwrap_or(0).to_string())]
    }

    fn row(&self, set: &Value, now: Timestamp) -> Vec<Value> {
        let (names, images) = defaults::container_columns(set);
        vec![
            meta::name(set).into(),
            int(&set["spec"], "replicas").unwrap_or(0).into(),
            int(&set["status"], "replicas").unwrap_or(0).into(),
            int(&set["status"], "readyReplicas").unwrap_or(0).into(),
            age(set, now),
            names.into(),
            images.into(),
            selector(&set["spec"]["selector"]).into(),
        ]
    }
}

/// Checks the counts of a ReplicaSet's or a ReplicationController's status.
pub(crate) fn status(status: &Value) -> Vec<FieldError> {
    let total = int(status, "replicas").unwrap_or(0);
    let mut errors = Vec::new();
    for field in ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"] {
        errors.extend(number::not_negative(status, field, "status"));
    }
    for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if let Some(n) = int(status, field).filter(|n| *n > total) {
            errors.push(FieldError::invalid(format!("status.{field}"), n, "cannot be greater than status.replicas"));
        }
    }
    let (ready, available) = (int(status, "readyReplicas").unwrap_or(0), int(status, "availableReplicas").unwrap_or(0));
    if available > ready {
        errors.push(FieldError::invalid("status.availableReplicas", available, "cannot be greater than readyReplicas"));
    }
    errors
}
