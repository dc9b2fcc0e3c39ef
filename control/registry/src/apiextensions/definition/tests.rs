use serde_json::{Value, json};

use super::*;

fn widgets() -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}}],
        },
    })
}

/// The errors after one field was changed.
fn errors(pointer: &str, value: Value) -> Vec<String> {
    let mut object = widgets();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match value {
        Value::Null => {
            parent.as_object_mut().unwrap().remove(field);
        }
        value => parent[field] = value,
    }
    CustomResourceDefinition.default(&mut object);
    CustomResourceDefinition.prepare_create(&mut object);
    CustomResourceDefinition.validate(&object).iter().map(ToString::to_string).collect()
}

#[test]
fn a_definition_gets_its_defaults() {
    let mut object = widgets();
    CustomResourceDefinition.default(&mut object);
    assert_eq!(object["spec"]["names"]["singular"], "widget");
    assert_eq!(object["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(object["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(errors("/spec/group", json!("example.com")), Vec::<String>::new());
}

#[test]
fn mistakes_are_told() {
    for (pointer, value, expected) in [
        (
            "/spec/names/plural",
            json!("gadgets"),
            "metadata.name: Invalid value: \"widgets.example.com\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            "/spec/scope",
            json!("World"),
            "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        ("/spec/scope", Value::Null, "spec.scope: Required value"),
        (
            "/spec/preserveUnknownFields",
            json!(true),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ),
        (
            "/spec/versions/0/schema",
            json!({}),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            "/spec/versions/0/schema",
            json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"properties": {}}}}}),
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (
            "/spec/versions/0/schema",
            json!({"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}}),
            "spec.validation.openAPIV3Schema.properties[a].default: Invalid value: \"string\": \"\" in body must be of type integer: \"string\"",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            json!([{"name": "A", "type": "text", "jsonPath": ".spec.a"}]),
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
        ),
        (
            "/spec/versions/0/subresources",
            json!({"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ".status.a"}}),
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.a\": should be a json path under .spec",
        ),
    ] {
        let found = errors(pointer, value);
        assert!(found.iter().any(|e| e == expected), "{pointer}: {found:#?}");
    }
}
