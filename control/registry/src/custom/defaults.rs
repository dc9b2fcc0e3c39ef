//! Defaulting: absent fields take the schema's values, also inside values that are defaults themselves.

use serde_json::{Map, Value};

use super::schema::{Additional, Props};

/// Fills in the defaults of an object or a part of one. Nulls of fields that may
/// not be null are taken as absent.
pub fn default(schema: &Props, value: &mut Value) {
    match value {
        Value::Object(map) => {
            drop_nulls(schema, map);
            for (name, property) in &schema.properties {
                if let Some(default) = &property.default
                    && !map.contains_key(name)
                {
                    map.insert(name.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(name) {
                    self::default(property, value);
                }
            }
            if let Additional::Schema(additional) = &schema.additional {
                for (_, value) in map.iter_mut().filter(|(name, _)| !schema.properties.contains_key(*name)) {
                    element(additional, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.items.as_deref() {
                items.iter_mut().for_each(|item| element(schema, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Nulls of known fields that may not be null count as absent.
fn drop_nulls(schema: &Props, map: &mut Map<String, Value>) {
    map.retain(|name, value| {
        !value.is_null() || schema.field(name).is_none_or(|s| s.nullable || s.preserve_unknown && s.kind.is_empty())
    });
}

/// A null element takes the default of elements.
fn element(schema: &Props, value: &mut Value) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
    default(schema, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: Value, mut value: Value, expected: Value) {
        default(&Props::parse(&schema), &mut value);
        assert_eq!(value, expected);
    }

    #[test]
    fn defaults_are_filled_in_where_the_parent_is_there() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "replicas": {"type": "integer", "default": 1},
                "name": {"type": "string", "nullable": true, "default": "x"},
                "deep": {"type": "object", "default": {}, "properties": {"a": {"type": "string", "default": "A"}}},
                "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
                "baz": {"type": "string"},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"q": {"type": "integer", "default": 2}}}}
            }}
        }});
        check(schema.clone(), json!({}), json!({}));
        check(schema.clone(), json!({"spec": {}}), json!({"spec": {"replicas": 1, "name": "x", "deep": {"a": "A"}}}));
        check(
            schema.clone(),
            json!({"spec": {"replicas": null, "name": null, "baz": null, "list": [{}, {"p": "UDP"}], "map": {"k": {}}, "deep": {"a": "B"}}}),
            json!({"spec": {"replicas": 1, "name": null, "list": [{"p": "TCP"}, {"p": "UDP"}], "map": {"k": {"q": 2}}, "deep": {"a": "B"}}}),
        );
    }
}
