use serde_json::{Value, json};

use super::check;

fn errors(schema: Value) -> Vec<String> {
    check(&schema, "schema").iter().map(ToString::to_string).collect()
}

#[test]
fn structural_schemas_pass() {
    assert_eq!(
        errors(json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}},
            "spec": {"type": "object", "required": ["a"], "properties": {
                "a": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "b": {"type": "array", "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}},
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
                "c": {"type": "object", "additionalProperties": {"type": "string"}},
                "d": {"x-kubernetes-preserve-unknown-fields": true}
            }, "oneOf": [{"required": ["a"]}, {"properties": {"b": {"maxItems": 1}}}]}
        }})),
        Vec::<String>::new()
    );
}

#[test]
fn what_is_not_structural_is_told() {
    let spec = |spec: Value| errors(json!({"type": "object", "properties": {"spec": spec}}));
    for (found, expected) in [
        (errors(json!({})), "schema.type: Required value: must not be empty at the root"),
        (
            spec(json!({})),
            "schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (
            spec(json!({"type": "array", "items": {}})),
            "schema.properties[spec].items.type: Required value: must not be empty for specified array items",
        ),
        (
            spec(json!({"type": "object", "anyOf": [{"type": "object", "required": ["a"]}]})),
            "schema.properties[spec].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            spec(json!({"type": "object", "anyOf": [{"properties": {"a": {"minimum": 1}}}]})),
            "schema.properties[spec].properties[a]: Required value: because it is defined in schema.properties[spec].anyOf[0].properties[a]",
        ),
        (
            spec(json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}})),
            "schema.properties[spec].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            spec(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false})),
            "schema.properties[spec].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
        ),
        (
            spec(json!({"type": "string", "uniqueItems": true})),
            "schema.properties[spec].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            errors(
                json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            ),
            "schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
    ] {
        assert!(found.iter().any(|e| e == expected), "{expected}: {found:#?}");
    }
}
