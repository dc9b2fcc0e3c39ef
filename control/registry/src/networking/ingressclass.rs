//! IngressClasses.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::ingress::reference;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::{domain_prefixed_path, invalid};
use crate::validate::names;
use crate::validate::template::immutable;
use crate::value::{has, set_default, text};

/// Strategy of IngressClasses.
pub struct IngressClass;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Controller", "Controller that is responsible for handling this class"),
    column("Parameters", "A reference to a resource with additional parameters"),
    AGE,
];

const MAX_CONTROLLER: usize = 250;

impl Strategy for IngressClass {
    fn default(&self, class: &mut Value) {
        if let Some(parameters) = class.get_mut("spec").and_then(|s| s.get_mut("parameters")) {
            set_default(parameters, "scope", "Cluster");
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, class: &Value) -> Vec<FieldError> {
        let spec = &class["spec"];
        let controller = text(spec, "controller");
        let mut errors = Vec::new();
        if controller.len() > MAX_CONTROLLER {
            errors.push(FieldError::too_long("spec.controller", MAX_CONTROLLER));
        }
        errors.extend(domain_prefixed_path(controller, "spec.controller"));
        if has(spec, "parameters") {
            errors.extend(parameters(&spec["parameters"]));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        immutable(&new["spec"]["controller"], &old["spec"]["controller"], "spec.controller")
    }

    fn row(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        let parameters = &class["spec"]["parameters"];
        let shown = match (text(parameters, "kind"), text(parameters, "apiGroup")) {
            ("", _) => "<none>".to_owned(),
            (kind, "") => format!("{kind}/{}", text(parameters, "name")),
            (kind, group) => format!("{kind}.{group}/{}", text(parameters, "name")),
        };
        vec![meta::name(class).into(), text(&class["spec"], "controller").into(), shown.into(), age(class, now)]
    }
}

fn parameters(parameters: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.parameters";
    const NAMESPACE: &str = "spec.parameters.namespace";
    let mut errors = reference(parameters, PATH);
    let namespace = text(parameters, "namespace");
    match parameters["scope"].as_str() {
        None => errors.push(FieldError::required("spec.parameters.scope", "")),
        Some("Cluster") if has(parameters, "namespace") => {
            errors.push(FieldError::forbidden(NAMESPACE, "`parameters.scope` is set to 'Cluster'"));
        }
        Some("Cluster") => {}
        Some("Namespace") if namespace.is_empty() => {
            errors.push(FieldError::required(NAMESPACE, "`parameters.scope` is set to 'Namespace'"));
        }
        Some("Namespace") => errors.extend(invalid(NAMESPACE, namespace, names::dns_label(namespace))),
        Some(other) => {
            errors.push(FieldError::not_supported("spec.parameters.scope", other, &["Cluster", "Namespace"]));
        }
    }
    errors
}
