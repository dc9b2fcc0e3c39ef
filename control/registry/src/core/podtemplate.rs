//! PodTemplates.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::pod::defaults;
use crate::Strategy;
use crate::columns::{Column, NAME, labels, text as column};
use crate::validate::template;
use crate::value::{items, text};

/// Strategy of PodTemplates.
pub struct PodTemplate;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Containers", "Names of the containers"),
    column("Images", "Images of the containers"),
    column("Pod Labels", "Labels of the pods"),
];

impl Strategy for PodTemplate {
    fn default(&self, object: &mut Value) {
        defaults::template(object);
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn spec_changed(&self, new: &Value, old: &Value) -> bool {
        new["template"] != old["template"]
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        template::pod_template(&object["template"], "template")
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        super::pod::warnings::template(&new["template"], "template")
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let containers = items(&object["template"]["spec"]["containers"]);
        let listed = |field: &str| containers.iter().map(|c| text(c, field)).collect::<Vec<_>>().join(",");
        vec![
            meta::name(object).into(),
            listed("name").into(),
            listed("image").into(),
            labels(&object["template"]["metadata"]["labels"]).into(),
        ]
    }
}
