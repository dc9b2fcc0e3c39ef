//! The `scale` subresource of kinds that have replicas.

use api::{LabelSelector, Status, meta};
use serde_json::{Value, json};

use crate::value::number;

/// The `autoscaling/v1 Scale` view of an object.
#[must_use]
pub fn read(object: &Value) -> Value {
    let mut metadata = serde_json::Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let selector = LabelSelector::from_json(&object["spec"]["selector"]).map(|s| s.to_string()).unwrap_or_default();
    let mut scale = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": {},
        "status": {"replicas": number(&object["status"], "replicas").unwrap_or(0)},
    });
    if let Some(replicas) = number(&object["spec"], "replicas").filter(|n| *n != 0) {
        scale["spec"]["replicas"] = replicas.into();
    }
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// The object with the replicas a `Scale` asks for, and its resourceVersion as the precondition.
pub fn write(object: &Value, scale: &Value) -> Result<Value, Status> {
    let replicas = number(&scale["spec"], "replicas").unwrap_or(0);
    if replicas < 0 {
        let error = api::FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        let gvk = api::Gvk::new("autoscaling", "v1", "Scale");
        return Err(Status::invalid(&gvk, meta::name(object), vec![error]));
    }
    let mut object = object.clone();
    meta::child_mut(&mut object, "spec").insert("replicas".to_owned(), replicas.into());
    if let Some(version) = scale["metadata"].get("resourceVersion").filter(|v| v.as_str() != Some("")) {
        meta::metadata_mut(&mut object).insert("resourceVersion".to_owned(), version.clone());
    }
    Ok(object)
}
