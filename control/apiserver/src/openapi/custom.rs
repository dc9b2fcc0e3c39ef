//! Schemas of custom resources as the documents show them: the definition's own, with the fields all objects have.
//! Version 2 of OpenAPI knows less than structural schemas say, so what it does not know is left out there.

use super::schemas::{Dialect, describe, reference};
use registry::Resource;
use serde_json::{Map, Value, json};

pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// `com.example.stable.v1.CronTab` for the group `stable.example.com`.
pub(super) fn name(resource: &Resource) -> String {
    of_kind(resource, &resource.kind)
}

pub(super) fn list_name(resource: &Resource) -> String {
    of_kind(resource, &resource.list_kind)
}

fn of_kind(resource: &Resource, kind: &str) -> String {
    let reversed: Vec<&str> = resource.group.split('.').rev().collect();
    format!("{}.{}.{kind}", reversed.join("."), resource.version)
}

/// The schemas of the kind and of its list.
pub(super) fn schemas(resource: &Resource, dialect: Dialect) -> [(String, Value); 2] {
    let mut schema = resource.strategy.openapi_schema().cloned().unwrap_or_else(|| json!({"type": "object"}));
    if dialect == Dialect::V2 {
        prune(&mut schema);
    }
    embed(&mut schema, dialect);
    if !schema.is_object() {
        schema = json!({"type": "object"});
    }
    if schema["properties"].is_object() || dialect == Dialect::V3 || resource.strategy.openapi_schema().is_none() {
        add_type(&mut schema, OBJECT_META, dialect);
    }
    schema["x-kubernetes-group-version-kind"] = gvk(resource, &resource.kind);
    let mut list = json!({
        "type": "object",
        "description": format!("{} is a list of {}", resource.list_kind, resource.kind),
        "required": ["items"],
        "properties": {"items": {
            "type": "array", "description": describe("items"), "items": reference(&name(resource), dialect),
        }},
        "x-kubernetes-group-version-kind": gvk(resource, &resource.list_kind),
    });
    add_type(&mut list, LIST_META, dialect);
    [(name(resource), schema), (list_name(resource), list)]
}

fn gvk(resource: &Resource, kind: &str) -> Value {
    json!([{"group": resource.group, "version": resource.version, "kind": kind}])
}

/// Adds `apiVersion`, `kind` and `metadata`.
fn add_type(schema: &mut Value, metadata: &str, dialect: Dialect) {
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let properties = &mut schema["properties"];
    for field in ["apiVersion", "kind"] {
        properties[field] = json!({"type": "string", "description": describe(field)});
    }
    let reference = reference(metadata, dialect);
    let description = describe("metadata");
    properties["metadata"] = match dialect {
        Dialect::V2 => {
            let mut reference = reference;
            reference["description"] = json!(description);
            reference
        }
        Dialect::V3 => json!({"allOf": [reference], "description": description}),
    };
}

/// Gives embedded resources the fields all objects have.
fn embed(schema: &mut Value, dialect: Dialect) {
    each_child(schema, &mut |child| {
        embed(child, dialect);
        if child["x-kubernetes-embedded-resource"] == true {
            add_type(child, OBJECT_META, dialect);
        }
    });
}

fn each_child(schema: &mut Value, act: &mut dyn FnMut(&mut Value)) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(&mut *act);
    }
    for field in ["items", "additionalProperties"] {
        if let Some(child) = fields.get_mut(field).filter(|child| child.is_object()) {
            act(child);
        }
    }
}

/// What version 2 has no words for.
const UNKNOWN_TO_V2: [&str; 7] = ["allOf", "anyOf", "default", "example", "externalDocs", "not", "oneOf"];

fn prune(schema: &mut Value) {
    each_child(schema, &mut prune);
    let Some(fields) = schema.as_object_mut() else { return };
    UNKNOWN_TO_V2.iter().for_each(|field| drop(fields.remove(*field)));
    if fields.remove("nullable").is_some_and(|nullable| nullable == true) {
        // A value or null: only a schema without type says so.
        for field in ["type", "items", "properties", "additionalProperties"] {
            fields.remove(field);
        }
    }
    let is_set = |fields: &Map<String, Value>, name: &str| fields.get(name).is_some_and(|value| *value == true);
    if is_set(fields, "x-kubernetes-int-or-string") {
        fields.remove("type");
    }
    if is_set(fields, "x-kubernetes-preserve-unknown-fields") {
        // Clients would take the listed fields for all there are.
        for field in ["type", "items", "properties", "additionalProperties", "required"] {
            fields.remove(field);
        }
    }
}
