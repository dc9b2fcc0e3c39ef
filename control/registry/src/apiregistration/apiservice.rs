//! APIServices: who serves a group version.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::{invalid, path_segment};
use crate::validate::names;
use crate::value::{flag, has, items, number as int, set_default, text};

/// Strategy of APIServices.
pub struct ApiService;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Service", "The reference to the service that hosts this API endpoint"),
    column("Available", "Whether this service is available"),
    AGE,
];

const MAX_GROUP_PRIORITY: i64 = 20_000;
const MAX_VERSION_PRIORITY: i64 = 1000;

impl Strategy for ApiService {
    fn default(&self, service: &mut Value) {
        let reference = service.get_mut("spec").and_then(|s| s.get_mut("service"));
        if let Some(reference) = reference.filter(|s| s.is_object()) {
            set_default(reference, "port", 443);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    /// A local APIService is available as long as it is there.
    fn prepare_create(&self, service: &mut Value) {
        meta::remove(service, "generation");
        meta::object_mut(service).remove("status");
        if !has(&service["spec"], "service") {
            let created = service["metadata"]["creationTimestamp"].clone();
            service["status"] = json!({"conditions": [{
                "type": "Available", "status": "True", "reason": "Local", "lastTransitionTime": created,
                "message": "Local APIServices are always available",
            }]});
        }
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        path_segment(name)
    }

    fn validate(&self, service: &Value) -> Vec<FieldError> {
        let (spec, name) = (&service["spec"], meta::name(service));
        let (group, version) = (text(spec, "group"), text(spec, "version"));
        let mut errors = Vec::new();
        let wanted = format!("{version}.{group}");
        if name != wanted {
            let what = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            errors.push(FieldError::invalid("metadata.name", name, what));
        }
        if group.is_empty() {
            if version != "v1" {
                let what = "only v1 may have an empty group and it better be legacy kube";
                errors.push(FieldError::required("spec.group", what));
            }
        } else {
            errors.extend(invalid("spec.group", group, names::dns_subdomain(group)));
        }
        errors.extend(invalid("spec.version", version, names::dns_1035_label(version)));
        for (field, max) in [("groupPriorityMinimum", MAX_GROUP_PRIORITY), ("versionPriority", MAX_VERSION_PRIORITY)] {
            let priority = int(spec, field).unwrap_or(0);
            if !(1..=max).contains(&priority) {
                let what = format!("must be positive and less than {max}");
                errors.push(FieldError::invalid(format!("spec.{field}"), priority, what));
            }
        }
        errors.extend(reference(spec));
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (i, condition) in items(&new["status"]["conditions"]).iter().enumerate() {
            let status = text(condition, "status");
            if !matches!(status, "True" | "False" | "Unknown") {
                let statuses = ["False", "True", "Unknown"];
                errors.push(FieldError::not_supported(format!("status.conditions[{i}].status"), status, &statuses));
            }
        }
        errors
    }

    fn row(&self, service: &Value, now: Timestamp) -> Vec<Value> {
        let reference = &service["spec"]["service"];
        let host = if reference.is_object() {
            format!("{}/{}", text(reference, "namespace"), text(reference, "name"))
        } else {
            "Local".to_owned()
        };
        let condition = items(&service["status"]["conditions"]).iter().find(|c| text(c, "type") == "Available");
        let available = match condition {
            None => "Unknown".to_owned(),
            Some(condition) if text(condition, "status") == "True" => "True".to_owned(),
            Some(condition) => format!("{} ({})", text(condition, "status"), text(condition, "reason")),
        };
        vec![meta::name(service).into(), host.into(), available.into(), age(service, now)]
    }
}

fn reference(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let skips = flag(spec, "insecureSkipTLSVerify");
    let bundle = text(spec, "caBundle");
    const SKIPS: &str = "spec.insecureSkipTLSVerify";
    if !has(spec, "service") {
        if !bundle.is_empty() {
            let what = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid("spec.caBundle", format!("{} bytes", bundle.len()), what));
        }
        if skips {
            let what = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(SKIPS, true, what));
        }
        return errors;
    }
    let service = &spec["service"];
    for field in ["namespace", "name"] {
        if text(service, field).is_empty() {
            errors.push(FieldError::required(format!("spec.service.{field}"), ""));
        }
    }
    if let Some(port) = int(service, "port") {
        let wrong = names::port_number(port).into_iter().map(|w| format!("port is not valid: {w}"));
        errors.extend(wrong.map(|w| FieldError::invalid("spec.service.port", port, w)));
    }
    if skips && !bundle.is_empty() {
        errors.push(FieldError::invalid(SKIPS, true, "may not be true if caBundle is present"));
    }
    errors
}
