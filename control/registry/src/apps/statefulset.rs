//! StatefulSets.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::core::persistentvolumeclaim::claim_spec;
use crate::core::pod::{defaults, warnings as pod_warnings};
use crate::table::{CONTAINERS, IMAGES};
use crate::validate::{number, template};
use crate::value::{has, items_mut, number as int, set, set_default, text};

/// Strategy of StatefulSets.
pub struct StatefulSet;

pub const COLUMNS: &[Column] = &[NAME, column("Ready", "Ready pods of those wanted"), AGE, CONTAINERS, IMAGES];

/// Fields of the spec that an update may change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
];

impl Strategy for StatefulSet {
    fn default(&self, set: &mut Value) {
        let Some(spec) = set.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "podManagementPolicy", "OrderedReady");
        set_default(spec, "updateStrategy", json!({}));
        let strategy = &mut spec["updateStrategy"];
        if text(strategy, "type").is_empty() {
            self::set(strategy, "type", "RollingUpdate");
            set_default(strategy, "rollingUpdate", json!({}));
        }
        if text(strategy, "type") == "RollingUpdate" && has(strategy, "rollingUpdate") {
            set_default(&mut strategy["rollingUpdate"], "partition", 0);
        }
        set_default(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
        for field in ["whenDeleted", "whenScaled"] {
            set_default(&mut spec["persistentVolumeClaimRetentionPolicy"], field, "Retain");
        }
        set_default(spec, "replicas", 1);
        set_default(spec, "revisionHistoryLimit", 10);
        for claim in items_mut(spec, "volumeClaimTemplates").filter(|c| c.is_object()) {
            // Kubernetes stores the templates as whole claims.
            set_default(claim, "apiVersion", "v1");
            set_default(claim, "kind", "PersistentVolumeClaim");
            if has(claim, "spec") {
                claim_spec(&mut claim["spec"]);
            }
            set_default(claim, "status", json!({}));
            set_default(&mut claim["status"], "phase", "Pending");
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
        set(object, "status", json!({"replicas": 0, "availableReplicas": 0}));
        meta::set_generation(object, 1);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        crate::validate::names::dns_subdomain(name)
    }

    fn validate(&self, set: &Value) -> Vec<FieldError> {
        let spec = &set["spec"];
        let mut errors = Vec::new();
        match text(spec, "podManagementPolicy") {
            "" => errors.push(FieldError::required("spec.podManagementPolicy", "")),
            "OrderedReady" | "Parallel" => {}
            other => {
                let what = "must be 'OrderedReady' or 'Parallel'";
                errors.push(FieldError::invalid("spec.podManagementPolicy", other, what));
            }
        }
        errors.extend(strategy(&spec["updateStrategy"]));
        for field in ["whenDeleted", "whenScaled"] {
            let path = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
            let policy = text(&spec["persistentVolumeClaimRetentionPolicy"], field);
            if !matches!(policy, "" | "Retain" | "Delete") {
                errors.push(FieldError::not_supported(path, policy, &["Delete", "Retain"]));
            }
        }
        errors.extend(number::not_negative(spec, "replicas", "spec"));
        errors.extend(number::not_negative(spec, "minReadySeconds", "spec"));
        errors.extend(number::not_negative(&spec["ordinals"], "start", "spec.ordinals"));
        errors.extend(template::workload(spec, template::Workload::StatefulSet));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let fixed = |set: &Value| {
            let mut spec = set["spec"].clone();
            if let Some(map) = spec.as_object_mut() {
                map.retain(|field, _| !MUTABLE.contains(&field.as_str()));
            }
            spec
        };
        if fixed(new) == fixed(old) {
            return Vec::new();
        }
        let what = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        vec![FieldError::forbidden("spec", what)]
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let status = &new["status"];
        let count = |field: &str| int(status, field).unwrap_or(0);
        let mut errors = Vec::new();
        for field in ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
            errors.extend(number::not_negative(status, field, "status"));
        }
        errors.extend(number::not_negative(status, "observedGeneration", "status"));
        for field in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
            if count(field) > count("replicas") {
                let what = "cannot be greater than status.replicas";
                errors.push(FieldError::invalid(format!("status.{field}"), count(field), what));
            }
        }
        if count("availableReplicas") > count("readyReplicas") {
            let what = "cannot be greater than status.readyReplicas";
            errors.push(FieldError::invalid("status.availableReplicas", count("availableReplicas"), what));
        }
        if let Some(before) = int(&old["status"], "collisionCount")
            && count("collisionCount") < before
        {
            let what = "cannot be decremented";
            errors.push(FieldError::invalid("status.collisionCount", count("collisionCount"), what));
        }
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = pod_warnings::template(&new["spec"]["template"], "spec.template");
        let limit = int(&new["spec"], "revisionHistoryLimit");
        if limit.is_some_and(|n| n < 0) {
            let what = "a negative value retains all historical revisions; a value >= 0 is recommended";
            warnings.push(format!("spec.revisionHistoryLimit: {what}"));
        }
        warnings
    }

    fn row(&self, set: &Value, now: Timestamp) -> Vec<Value> {
        let (names, images) = defaults::container_columns(set);
        let ready = int(&set["status"], "readyReplicas").unwrap_or(0);
        vec![
            meta::name(set).into(),
            format!("{ready}/{}", int(&set["spec"], "replicas").unwrap_or(0)).into(),
            age(set, now),
            names.into(),
            images.into(),
        ]
    }
}

fn strategy(strategy: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.updateStrategy";
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "" => vec![FieldError::required(PATH, "")],
        "OnDelete" if has(strategy, "rollingUpdate") => {
            let what = "only allowed for updateStrategy 'RollingUpdate'";
            vec![FieldError::invalid(format!("{PATH}.rollingUpdate"), rolling.clone(), what)]
        }
        "OnDelete" => Vec::new(),
        "RollingUpdate" => {
            let path = format!("{PATH}.rollingUpdate");
            let mut errors = number::not_negative(rolling, "partition", &path);
            let unavailable = &rolling["maxUnavailable"];
            let path = format!("{path}.maxUnavailable");
            errors.extend(number::count_or_percent(unavailable, &path));
            errors.extend(number::at_most_all(unavailable, &path));
            if unavailable == 0 || unavailable == "0%" {
                errors.push(FieldError::invalid(path, unavailable.clone(), "cannot be 0"));
            }
            errors
        }
        _ => vec![FieldError::invalid(PATH, strategy.clone(), "must be 'RollingUpdate' or 'OnDelete'")],
    }
}
