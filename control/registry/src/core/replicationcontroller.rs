//! ReplicationControllers.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::pod::defaults;
use crate::Strategy;
use crate::apps::replicaset;
use crate::columns::{age, labels};
use crate::validate::{labels as label_rules, number, template};
use crate::value::{entries, has, number as int, set, set_default};

/// Strategy of ReplicationControllers.
pub struct ReplicationController;

impl Strategy for ReplicationController {
    fn orphans_by_default(&self) -> bool {
        true
    }

    /// The selector, and the labels of the controller itself, follow the template's labels.
    fn default(&self, controller: &mut Value) {
        let labels = controller["spec"]["template"]["metadata"]["labels"].clone();
        if entries(&labels).next().is_some() {
            if entries(&controller["metadata"]["labels"]).next().is_none() {
                meta::metadata_mut(controller).insert("labels".to_owned(), labels.clone());
            }
            if entries(&controller["spec"]["selector"]).next().is_none() {
                set(&mut controller["spec"], "selector", labels);
            }
        }
        let Some(spec) = controller.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "replicas", 1);
        defaults::template(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, controller: &mut Value) {
        set(controller, "status", serde_json::json!({"replicas": 0}));
        meta::set_generation(controller, 1);
    }

    fn validate(&self, controller: &Value) -> Vec<FieldError> {
        let spec = &controller["spec"];
        let mut errors = number::not_negative(spec, "minReadySeconds", "spec");
        if entries(&spec["selector"]).next().is_none() {
            errors.push(FieldError::required("spec.selector", ""));
        }
        errors.extend(label_rules::labels(&spec["selector"], "spec.selector"));
        errors.extend(number::not_negative(spec, "replicas", "spec"));
        if !has(spec, "template") {
            errors.push(FieldError::required("spec.template", ""));
            return errors;
        }
        let own = meta::string_map(&spec["template"]["metadata"]["labels"]);
        if !api::selector::is_subset(&meta::string_map(&spec["selector"]), &own) {
            let what = "`selector` does not match template `labels`";
            let shown = spec["template"]["metadata"]["labels"].clone();
            errors.push(FieldError::invalid("spec.template.metadata.labels", shown, what));
        }
        errors.extend(template::pod_template(&spec["template"], "spec.template"));
        errors.extend(template::always_restarts(&spec["template"], "spec.template", "ReplicationController"));
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        replicaset::status(&new["status"])
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        super::pod::warnings::template(&new["spec"]["template"], "spec.template")
    }

    fn scale(&self) -> crate::scale::Paths {
        crate::scale::REPLICATION_CONTROLLER
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn fields(&self, controller: &Value) -> Vec<(&'static str, String)> {
        vec![("status.replicas", int(&controller["status"], "replicas").unwrap_or(0).to_string())]
    }

    fn row(&self, controller: &Value, now: Timestamp) -> Vec<Value> {
        let (names, images) = defaults::container_columns(controller);
        let (spec, status) = (&controller["spec"], &controller["status"]);
        vec![
            meta::name(controller).into(),
            int(spec, "replicas").unwrap_or(0).into(),
            int(status, "replicas").unwrap_or(0).into(),
            int(status, "readyReplicas").unwrap_or(0).into(),
            age(controller, now),
            names.into(),
            images.into(),
            labels(&spec["selector"]).into(),
        ]
    }
}
