//! Deployments.

use api::intstr::Round;
use api::{FieldError, IntOrString, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, selector, text as column};
use crate::core::pod::{defaults, warnings as pod_warnings};
use crate::table::{CONTAINERS, IMAGES, SELECTOR};
use crate::validate::{number, template};
use crate::value::{has, number as int, set_default, text};

/// Strategy of Deployments.
pub struct Deployment;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "Ready pods of those wanted"),
    count("Up-to-date", "Pods of the current template"),
    count("Available", "Pods that have been ready long enough"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

impl Strategy for Deployment {
    fn default(&self, deployment: &mut Value) {
        let Some(spec) = deployment.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "replicas", 1);
        set_default(spec, "revisionHistoryLimit", 10);
        set_default(spec, "progressDeadlineSeconds", 600);
        set_default(spec, "strategy", json!({}));
        let strategy = &mut spec["strategy"];
        set_default(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            set_default(strategy, "rollingUpdate", json!({}));
            set_default(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
            set_default(&mut strategy["rollingUpdate"], "maxSurge", "25%");
        }
        defaults::template(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// A Deployment's annotations reach its ReplicaSets, so they count as a change too.
    fn spec_changed(&self, new: &Value, old: &Value) -> bool {
        new["spec"] != old["spec"] || new["metadata"]["annotations"] != old["metadata"]["annotations"]
    }

    fn status_keeps(&self, metadata_field: &str) -> bool {
        metadata_field == "labels"
    }

    fn validate(&self, deployment: &Value) -> Vec<FieldError> {
        let spec = &deployment["spec"];
        let mut errors = number::not_negative(spec, "replicas", "spec");
        errors.extend(template::workload(spec, template::Workload::Deployment));
        errors.extend(strategy(&spec["strategy"]));
        for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
            errors.extend(number::not_negative(spec, field, "spec"));
        }
        let deadline = int(spec, "progressDeadlineSeconds");
        if deadline.is_some_and(|d| d <= int(spec, "minReadySeconds").unwrap_or(0)) {
            errors.push(FieldError::invalid(
                "spec.progressDeadlineSeconds",
                deadline,
                "must be greater than minReadySeconds",
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        template::selector_kept(new, old)
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        status(&new["status"], &old["status"])
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        pod_warnings::template(&new["spec"]["template"], "spec.template")
    }

    fn row(&self, deployment: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&deployment["spec"], &deployment["status"]);
        let has_now = |field: &str| int(status, field).unwrap_or(0);
        let (names, images) = defaults::container_columns(deployment);
        vec![
            meta::name(deployment).into(),
            format!("{}/{}", has_now("readyReplicas"), int(spec, "replicas").unwrap_or(0)).into(),
            has_now("updatedReplicas").into(),
            has_now("availableReplicas").into(),
            age(deployment, now),
            names.into(),
            images.into(),
            selector(&spec["selector"]).into(),
        ]
    }
}

fn status(status: &Value, old: &Value) -> Vec<FieldError> {
    const COUNTS: [&str; 7] = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "collisionCount",
    ];
    let mut errors: Vec<FieldError> = COUNTS.iter().flat_map(|f| number::not_negative(status, f, "status")).collect();
    let count = |field: &str| int(status, field).unwrap_or(0);
    for (field, bound) in [
        ("updatedReplicas", "replicas"),
        ("readyReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ] {
        if count(field) > count(bound) {
            let what =
                format!("cannot be greater than {}", if bound == "replicas" { "status.replicas" } else { bound });
            errors.push(FieldError::invalid(format!("status.{field}"), count(field), what));
        }
    }
    if has(old, "collisionCount") && count("collisionCount") < int(old, "collisionCount").unwrap_or(0) {
        let what = "cannot be decremented";
        errors.push(FieldError::invalid("status.collisionCount", count("collisionCount"), what));
    }
    errors
}

fn strategy(strategy: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.strategy";
    let rolling = &strategy["rollingUpdate"];
    let path = format!("{PATH}.rollingUpdate");
    match text(strategy, "type") {
        "Recreate" if has(strategy, "rollingUpdate") => {
            vec![FieldError::forbidden(path, "may not be specified when strategy `type` is 'Recreate'")]
        }
        "Recreate" => Vec::new(),
        "RollingUpdate" => {
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            let mut errors = number::count_or_percent(unavailable, &format!("{path}.maxUnavailable"));
            errors.extend(number::count_or_percent(surge, &format!("{path}.maxSurge")));
            let amount = |v: &Value| IntOrString::from_value(v).and_then(|v| v.of(100, Round::Up));
            if amount(unavailable) == Some(0) && amount(surge) == Some(0) {
                let what = "may not be 0 when `maxSurge` is 0";
                errors.push(FieldError::invalid(format!("{path}.maxUnavailable"), unavailable.clone(), what));
            }
            let percent = IntOrString::from_value(unavailable).and_then(|v| v.percent());
            if percent.is_some_and(|p| p > 100) {
                let what = "must not be greater than 100%";
                errors.push(FieldError::invalid(format!("{path}.maxUnavailable"), unavailable.clone(), what));
            }
            errors
        }
        other => {
            vec![FieldError::not_supported(format!("{PATH}.type"), other, &["Recreate", "RollingUpdate"])]
        }
    }
}
