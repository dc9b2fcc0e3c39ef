//! Pruning: fields the schema does not have are dropped, unless it preserves them.

use serde_json::Value;

use super::schema::{Additional, Props};

const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// Fields of `metadata` that are kept, here and in embedded resources.
const OBJECT_META: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Drops unknown fields of a whole object; returns their paths, in order.
pub fn prune(schema: &Props, object: &mut Value) -> Vec<String> {
    let mut dropped = Vec::new();
    node(schema, object, true, &mut String::new(), &mut dropped);
    dropped
}

fn node(schema: &Props, value: &mut Value, is_resource: bool, path: &mut String, dropped: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let is_resource = is_resource || schema.embedded;
            let keeps = schema.preserve_unknown || matches!(schema.additional, Additional::Any);
            let mut unknown: Vec<String> = Vec::new();
            for (name, value) in map.iter_mut() {
                let length = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                if is_resource && META_FIELDS.contains(&name.as_str()) {
                    if name == "metadata" {
                        metadata(value, path, dropped);
                    }
                } else if let Some(schema) = schema.field(name) {
                    node(schema, value, false, path, dropped);
                } else if keeps {
                    // Below a preserved field nothing is known, so nothing is dropped.
                } else {
                    unknown.push(name.clone());
                    dropped.push(path.clone());
                }
                path.truncate(length);
            }
            for name in unknown {
                map.remove(&name);
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            for (i, item) in items.iter_mut().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{i}]"));
                node(schema, item, false, path, dropped);
                path.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn metadata(value: &mut Value, path: &str, dropped: &mut Vec<String>) {
    if let Value::Object(map) = value {
        map.retain(|name, value| {
            let known = OBJECT_META.contains(&name.as_str());
            if !known {
                dropped.push(format!("{path}.{name}"));
            }
            known && !value.is_null()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_go_and_preserved_ones_stay() {
        let schema = Props::parse(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "a": {"type": "string"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"known": {"type": "object", "properties": {}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "integer"}}}},
                "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
                "embedded": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            }}
        }}));
        let mut object = json!({
            "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n", "foo": 1}, "bar": 1,
            "spec": {"a": "x", "b": 1, "free": {"z": {"y": 1}, "known": {"gone": 1}}, "map": {"k": {"x": 1, "y": 2}},
                "list": [{"x": 1}, {"q": 1}],
                "embedded": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "zzz": 1}, "spec": {"gone": 1}}}
        });
        let mut dropped = prune(&schema, &mut object);
        dropped.sort();
        assert_eq!(
            dropped,
            [
                "bar",
                "metadata.foo",
                "spec.b",
                "spec.embedded.metadata.zzz",
                "spec.embedded.spec.gone",
                "spec.free.known.gone",
                "spec.list[1].q",
                "spec.map.k.y"
            ]
        );
        assert_eq!(
            object,
            json!({
                "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n"},
                "spec": {"a": "x", "free": {"z": {"y": 1}, "known": {}}, "map": {"k": {"x": 1}},
                    "list": [{"x": 1}, {}],
                    "embedded": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {}}}
            })
        );
    }
}
