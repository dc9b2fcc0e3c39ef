//! DaemonSets.

use api::intstr::Round;
use api::{FieldError, IntOrString, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, labels, number as count, selector, text as column};
use crate::core::pod::{defaults, warnings as pod_warnings};
use crate::table::{CONTAINERS, IMAGES, SELECTOR};
use crate::validate::{number, template};
use crate::value::{has, number as int, set, set_default, text};

/// Strategy of DaemonSets.
pub struct DaemonSet;

pub const COLUMNS: &[Column] = &[
    NAME,
    count("Desired", "Nodes that should run the pod"),
    count("Current", "Nodes that run at least one"),
    count("Ready", "Nodes with a ready one"),
    count("Up-to-date", "Nodes with the current template"),
    count("Available", "Nodes with one that has been ready long enough"),
    column("Node Selector", "Labels of the nodes"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const STATUS_COUNTS: [&str; 4] =
    ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"];

impl Strategy for DaemonSet {
    fn default(&self, set: &mut Value) {
        let Some(spec) = set.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "revisionHistoryLimit", 10);
        set_default(spec, "updateStrategy", json!({}));
        let strategy = &mut spec["updateStrategy"];
        set_default(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            set_default(strategy, "rollingUpdate", json!({}));
            set_default(&mut strategy["rollingUpdate"], "maxUnavailable", 1);
            set_default(&mut strategy["rollingUpdate"], "maxSurge", 0);
        }
        defaults::template(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        let counts: serde_json::Map<String, Value> =
            STATUS_COUNTS.map(|f| (f.to_owned(), json!(0))).into_iter().collect();
        set(object, "status", counts);
        meta::set_generation(object, 1);
    }

    fn validate(&self, set: &Value) -> Vec<FieldError> {
        let spec = &set["spec"];
        let mut errors = template::workload(spec, template::Workload::DaemonSet);
        errors.extend(number::not_negative(spec, "minReadySeconds", "spec"));
        errors.extend(strategy(&spec["updateStrategy"]));
        errors.extend(number::not_negative(spec, "revisionHistoryLimit", "spec"));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        template::selector_kept(new, old)
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let status = &new["status"];
        let more = ["observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable"];
        let mut errors: Vec<FieldError> =
            STATUS_COUNTS.iter().chain(&more).flat_map(|f| number::not_negative(status, f, "status")).collect();
        let collisions = |v: &Value| int(&v["status"], "collisionCount");
        if let (Some(now), Some(before)) = (collisions(new), collisions(old))
            && now < before
        {
            errors.push(FieldError::invalid("status.collisionCount", now, "cannot be decremented"));
        }
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        pod_warnings::template(&new["spec"]["template"], "spec.template")
    }

    fn row(&self, set: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&set["spec"], &set["status"]);
        let has_now = |field: &str| Value::from(int(status, field).unwrap_or(0));
        let (names, images) = defaults::container_columns(set);
        vec![
            meta::name(set).into(),
            has_now("desiredNumberScheduled"),
            has_now("currentNumberScheduled"),
            has_now("numberReady"),
            has_now("updatedNumberScheduled"),
            has_now("numberAvailable"),
            labels(&spec["template"]["spec"]["nodeSelector"]).into(),
            age(set, now),
            names.into(),
            images.into(),
            selector(&spec["selector"]).into(),
        ]
    }
}

fn strategy(strategy: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.updateStrategy";
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "OnDelete" => Vec::new(),
        "RollingUpdate" if !has(strategy, "rollingUpdate") => {
            vec![FieldError::required(format!("{PATH}.rollingUpdate"), "")]
        }
        "RollingUpdate" => {
            let path = format!("{PATH}.rollingUpdate");
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            let mut errors = number::count_or_percent(unavailable, &format!("{path}.maxUnavailable"));
            errors.extend(number::at_most_all(unavailable, &format!("{path}.maxUnavailable")));
            errors.extend(number::count_or_percent(surge, &format!("{path}.maxSurge")));
            errors.extend(number::at_most_all(surge, &format!("{path}.maxSurge")));
            let some = |v: &Value| IntOrString::from_value(v).and_then(|v| v.of(100, Round::Up)).unwrap_or(0) != 0;
            match (some(unavailable), some(surge)) {
                (true, true) => {
                    let what = "may not be set when maxUnavailable is non-zero";
                    errors.push(FieldError::invalid(format!("{path}.maxSurge"), surge.clone(), what));
                }
                (false, false) => {
                    let what = "cannot be 0 when maxSurge is 0";
                    errors.push(FieldError::required(format!("{path}.maxUnavailable"), what));
                }
                _ => {}
            }
            errors
        }
        other => vec![FieldError::not_supported(format!("{PATH}.type"), other, &["OnDelete", "RollingUpdate"])],
    }
}
