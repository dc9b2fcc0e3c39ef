//! What makes a definition's schema structural, and valid otherwise.

use api::FieldError;
use serde_json::Value;

use super::regex;

/// Where in the schema a node is, which decides what it may say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// A property, item or additional property of the structural part.
    Part,
    /// Below allOf, anyOf, oneOf or not.
    Junctor,
}

/// Errors in the whole definition; more say nothing new.
const MAX_ERRORS: usize = 100;
const KINDS: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS: [&str; 4] = ["FieldValueRequired", "FieldValueInvalid", "FieldValueForbidden", "FieldValueDuplicate"];
const UNTYPED: [&str; 12] = [
    "type",
    "additionalProperties",
    "nullable",
    "default",
    "title",
    "description",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
];

/// Checks an `openAPIV3Schema` below `path`: the forms of its fields, and the rules of structural schemas.
#[must_use]
pub fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    node(schema, path, Place::Root, &mut errors);
    if errors.is_empty() {
        for name in ["allOf", "anyOf", "oneOf", "not"] {
            covered(schema, schema, &format!("{path}.{name}"), name, &mut errors);
        }
        metadata(schema, path, &mut errors);
    }
    errors.truncate(MAX_ERRORS);
    errors
}

fn node(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    if errors.len() >= MAX_ERRORS {
        return;
    }
    unsupported(schema, path, errors);
    kind(schema, path, place, errors);
    lists(schema, path, place, errors);
    extensions(schema, path, place, errors);
    if let Place::Junctor = place {
        junctor_fields(schema, path, errors);
    }
    children(schema, path, place, errors);
}

fn unsupported(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (field, what) in [
        ("id", "id is not supported"),
        ("additionalItems", "additionalItems is not supported"),
        ("patternProperties", "patternProperties is not supported"),
        ("definitions", "definitions is not supported"),
        ("dependencies", "dependencies is not supported"),
        ("$ref", "$ref is not supported"),
    ] {
        let present = match &schema[field] {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Object(map) => !map.is_empty() || field == "additionalItems",
            _ => true,
        };
        if present {
            errors.push(FieldError::forbidden(format!("{path}.{field}"), what));
        }
    }
    if schema["uniqueItems"] == true {
        errors.push(FieldError::forbidden(
            format!("{path}.uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && regex(pattern).is_err()
    {
        errors.push(FieldError::invalid(
            format!("{path}.pattern"),
            pattern,
            "must be a valid regular expression, but isn't: error parsing regexp",
        ));
    }
    match &schema["additionalProperties"] {
        Value::Object(_) | Value::Bool(true) if schema["properties"].as_object().is_some_and(|p| !p.is_empty()) => {
            errors.push(FieldError::forbidden(
                format!("{path}.additionalProperties"),
                "additionalProperties and properties are mutual exclusive",
            ));
        }
        Value::Bool(false) => errors.push(FieldError::forbidden(
            format!("{path}.additionalProperties"),
            "additionalProperties cannot be set to false",
        )),
        _ => {}
    }
}

fn kind(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    let kind = schema["type"].as_str().unwrap_or_default();
    let flag = |field: &str| schema[field] == true;
    let (int_or_string, preserves) = (flag("x-kubernetes-int-or-string"), flag("x-kubernetes-preserve-unknown-fields"));
    if !kind.is_empty() && !KINDS.contains(&kind) {
        errors.push(FieldError::not_supported(format!("{path}.type"), kind, &KINDS));
    }
    match place {
        Place::Root if kind.is_empty() => {
            errors.push(FieldError::required(format!("{path}.type"), "must not be empty at the root"));
        }
        Place::Root if kind != "object" => {
            errors.push(FieldError::invalid(format!("{path}.type"), kind, "must be object at the root"));
        }
        Place::Part if kind.is_empty() && !int_or_string && !preserves => {
            let what = if path.ends_with(".items") {
                "must not be empty for specified array items"
            } else {
                "must not be empty for specified object fields"
            };
            errors.push(FieldError::required(format!("{path}.type"), what));
        }
        Place::Root | Place::Part | Place::Junctor => {}
    }
    if int_or_string && !kind.is_empty() && place == Place::Part {
        errors.push(FieldError::invalid(
            format!("{path}.type"),
            kind,
            "must be empty if x-kubernetes-int-or-string is true",
        ));
    }
    if schema["nullable"] == true && place == Place::Root {
        errors.push(FieldError::forbidden(format!("{path}.nullable"), "nullable cannot be true at the root"));
    }
    if kind == "array" && !schema["items"].is_object() && !matches!(place, Place::Junctor) {
        errors.push(FieldError::required(format!("{path}.items"), "must be specified"));
    }
    if schema["items"].is_array() {
        errors.push(FieldError::forbidden(format!("{path}.items"), "items must be a schema object and not an array"));
    }
    if flag("x-kubernetes-embedded-resource") {
        if kind != "object" {
            let text = format!("{path}.type");
            errors.push(if kind.is_empty() {
                FieldError::required(text, "must be object if x-kubernetes-embedded-resource is true")
            } else {
                FieldError::invalid(text, kind, "must be object if x-kubernetes-embedded-resource is true")
            });
        }
        if !preserves && schema["properties"].as_object().is_none_or(serde_json::Map::is_empty) {
            errors.push(FieldError::required(
                format!("{path}.properties"),
                "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
            ));
        }
    }
}

fn lists(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    let kind = schema["type"].as_str().unwrap_or_default();
    let (list_field, keys_field) =
        (format!("{path}.x-kubernetes-list-type"), format!("{path}.x-kubernetes-list-map-keys"));
    let keys = schema["x-kubernetes-list-map-keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let list_type = schema["x-kubernetes-list-type"].as_str();
    if let Some(list_type) = list_type {
        if !["atomic", "set", "map"].contains(&list_type) {
            errors.push(FieldError::not_supported(list_field.clone(), list_type, &["atomic", "set", "map"]));
        }
        if kind != "array" && matches!(place, Place::Root | Place::Part) {
            let type_field = format!("{path}.type");
            errors.push(if kind.is_empty() {
                FieldError::required(type_field, "must be array if x-kubernetes-list-type is specified")
            } else {
                FieldError::invalid(type_field, kind, "must be array if x-kubernetes-list-type is specified")
            });
        }
    }
    if !keys.is_empty() && list_type != Some("map") {
        let what = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list_type {
            None => FieldError::required(list_field.clone(), what),
            Some(other) => FieldError::invalid(list_field.clone(), other, what),
        });
    }
    if list_type == Some("map") {
        map_list(&schema["items"], keys, path, &keys_field, errors);
    }
    if list_type == Some("set") {
        let items = &schema["items"];
        if items["nullable"] == true {
            errors.push(FieldError::forbidden(
                format!("{path}.items.nullable"),
                "cannot be nullable when x-kubernetes-list-type is set",
            ));
        }
        match items["type"].as_str() {
            Some("array") if items["x-kubernetes-list-type"].as_str().is_some_and(|t| t != "atomic") => {
                errors.push(FieldError::invalid(
                    format!("{path}.items.x-kubernetes-list-type"),
                    items["x-kubernetes-list-type"].clone(),
                    "must be atomic as item of a list with x-kubernetes-list-type=set",
                ));
            }
            Some("object") if items["x-kubernetes-map-type"] != "atomic" => errors.push(FieldError::invalid(
                format!("{path}.items.x-kubernetes-map-type"),
                items["x-kubernetes-map-type"].clone(),
                "must be atomic as item of a list with x-kubernetes-list-type=set",
            )),
            _ => {}
        }
    }
    if let Some(map_type) = schema["x-kubernetes-map-type"].as_str() {
        let field = format!("{path}.x-kubernetes-map-type");
        if !["atomic", "granular"].contains(&map_type) {
            errors.push(FieldError::not_supported(field, map_type, &["atomic", "granular"]));
        }
        if kind != "object" && matches!(place, Place::Root | Place::Part) {
            let type_field = format!("{path}.type");
            errors.push(if kind.is_empty() {
                FieldError::required(type_field, "must be object if x-kubernetes-map-type is specified")
            } else {
                FieldError::invalid(type_field, kind, "must be object if x-kubernetes-map-type is specified")
            });
        }
    }
}

fn map_list(items: &Value, keys: &[Value], path: &str, keys_field: &str, errors: &mut Vec<FieldError>) {
    if keys.is_empty() {
        errors.push(FieldError::required(keys_field, "must not be empty if x-kubernetes-list-type is map"));
    }
    if !items.is_object() {
        errors
            .push(FieldError::required(format!("{path}.items"), "must have a schema if x-kubernetes-list-type is map"));
        return;
    }
    if items["type"] != "object" {
        errors.push(FieldError::invalid(
            format!("{path}.items.type"),
            items["type"].clone(),
            "must be object if parent array's x-kubernetes-list-type is map",
        ));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (i, key) in keys.iter().filter_map(Value::as_str).enumerate() {
        if seen.contains(&key) {
            errors.push(FieldError::duplicate(format!("{keys_field}[{i}]"), key));
        }
        seen.push(key);
        let property = &items["properties"][key];
        if !property.is_object() {
            errors.push(FieldError::invalid(
                format!("{keys_field}[{i}]"),
                key,
                "entries must all be names of item properties",
            ));
            continue;
        }
        if matches!(property["type"].as_str(), Some("array" | "object")) {
            errors.push(FieldError::invalid(
                format!("{path}.items.properties[{key}].type"),
                property["type"].clone(),
                "must be a scalar type if parent array's x-kubernetes-list-type is map",
            ));
        }
        if property["nullable"] == true {
            errors.push(FieldError::forbidden(
                format!("{path}.items.properties[{key}].nullable"),
                "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            ));
        }
        let required = items["required"].as_array().is_some_and(|r| r.iter().any(|r| r == key));
        if !required && property.get("default").is_none_or(Value::is_null) {
            errors.push(FieldError::required(
                format!("{path}.items.properties[{key}].default"),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ));
        }
    }
}

fn extensions(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        errors.push(FieldError::invalid(
            format!("{path}.x-kubernetes-preserve-unknown-fields"),
            false,
            "must be true or undefined",
        ));
    }
    if place == Place::Root && schema["x-kubernetes-embedded-resource"] == true {
        errors.push(FieldError::forbidden(
            format!("{path}.x-kubernetes-embedded-resource"),
            "must not be used at the root",
        ));
    }
    for (i, rule) in schema["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.x-kubernetes-validations[{i}]");
        let text = |field: &str| rule[field].as_str().unwrap_or_default();
        if text("rule").trim().is_empty() {
            errors.push(FieldError::required(format!("{path}.rule"), "rule is not specified"));
        }
        let message = text("message");
        if !message.is_empty() && message.trim().is_empty() {
            errors.push(FieldError::invalid(
                format!("{path}.message"),
                message,
                "message must be non-empty if specified",
            ));
        } else if message.trim().contains('\n') {
            errors.push(FieldError::invalid(
                format!("{path}.message"),
                message,
                "message must not contain line breaks",
            ));
        } else if text("rule").trim().contains('\n') && message.is_empty() {
            errors.push(FieldError::required(
                format!("{path}.message"),
                "message must be specified if rule contains line breaks",
            ));
        }
        let expression = text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            errors.push(FieldError::required(
                format!("{path}.messageExpression"),
                "messageExpression must be non-empty if specified",
            ));
        }
        if let Some(reason) = rule["reason"].as_str()
            && !REASONS.contains(&reason)
        {
            errors.push(FieldError::not_supported(format!("{path}.reason"), reason, &REASONS));
        }
        let field = text("fieldPath");
        if !field.is_empty() && !names_a_field(schema, field) {
            errors.push(FieldError::invalid(
                format!("{path}.fieldPath"),
                field,
                "fieldPath must be a valid path: does not refer to a valid field",
            ));
        }
    }
}

/// Whether `.a.b['c']` leads to a field of the schema.
fn names_a_field(schema: &Value, path: &str) -> bool {
    let Some(steps) = super::super::rules::field_steps(path) else { return false };
    let mut at = schema;
    for step in &steps {
        let next = &at["properties"][step];
        at = if next.is_object() { next } else { &at["additionalProperties"] };
        if !at.is_object() {
            return false;
        }
    }
    true
}

/// What a node below a junctor may not say, because it is the structural part's to say.
fn junctor_fields(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let int_or_string_pattern = matches!(schema["type"].as_str(), Some("integer" | "string"))
        && schema.as_object().is_some_and(|map| map.len() == 1);
    for field in UNTYPED {
        let value = &schema[field];
        let present = match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        if !present || (field == "type" && int_or_string_pattern) || field == "x-kubernetes-validations" {
            continue;
        }
        let what = match field {
            "type" => "must be empty to be structural",
            "additionalProperties" | "default" => "must be undefined to be structural",
            "nullable" => "must be false to be structural",
            "title" | "description" => "must be empty to be structural",
            _ => "must be false to be structural",
        };
        errors.push(FieldError::forbidden(format!("{path}.{field}"), what));
    }
    if !schema["x-kubernetes-validations"].is_null() {
        errors
            .push(FieldError::forbidden(format!("{path}.x-kubernetes-validations"), "must be empty to be structural"));
    }
}

fn children(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    let below = match place {
        Place::Root | Place::Part => Place::Part,
        Place::Junctor => Place::Junctor,
    };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        node(property, &format!("{path}.properties[{name}]"), below, errors);
    }
    if schema["additionalProperties"].is_object() {
        node(&schema["additionalProperties"], &format!("{path}.additionalProperties"), below, errors);
    }
    if schema["items"].is_object() {
        node(&schema["items"], &format!("{path}.items"), below, errors);
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (i, alternative) in schema[junctor].as_array().into_iter().flatten().enumerate() {
            node(alternative, &format!("{path}.{junctor}[{i}]"), Place::Junctor, errors);
        }
    }
    if schema["not"].is_object() {
        node(&schema["not"], &format!("{path}.not"), Place::Junctor, errors);
    }
}

/// Fields and items named below a junctor must be in the structural part too.
fn covered(part: &Value, schema: &Value, path: &str, junctor: &str, errors: &mut Vec<FieldError>) {
    let one = |alternative: &Value, at: &str, errors: &mut Vec<FieldError>| within(part, alternative, at, errors);
    match &schema[junctor] {
        Value::Array(alternatives) => {
            for (i, alternative) in alternatives.iter().enumerate() {
                one(alternative, &format!("{path}[{i}]"), errors);
            }
        }
        alternative @ Value::Object(_) => one(alternative, path, errors),
        _ => {}
    }
    if std::ptr::eq(part, schema) {
        let base = path.strip_suffix(junctor).unwrap_or(path);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            covered(property, property, &format!("{base}properties[{name}].{junctor}"), junctor, errors);
        }
        for field in ["items", "additionalProperties"] {
            if schema[field].is_object() {
                covered(&schema[field], &schema[field], &format!("{base}{field}.{junctor}"), junctor, errors);
            }
        }
    }
}

fn within(part: &Value, alternative: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (name, property) in alternative["properties"].as_object().into_iter().flatten() {
        let mut own = &part["properties"][name];
        if !own.is_object() {
            own = &part["additionalProperties"];
        }
        if own.is_object() {
            within(own, property, &format!("{path}.properties[{name}]"), errors);
        } else if part["x-kubernetes-preserve-unknown-fields"] != true || !part["properties"].is_null() {
            errors.push(FieldError::required(
                format!("{}.properties[{name}]", before_junctor(path)),
                format!("because it is defined in {}.properties[{name}]", path),
            ));
        }
    }
    if alternative["items"].is_object() {
        if part["items"].is_object() {
            within(&part["items"], &alternative["items"], &format!("{path}.items"), errors);
        } else {
            errors.push(FieldError::required(
                format!("{}.items", before_junctor(path)),
                format!("because it is defined in {}.items", path),
            ));
        }
    }
    for junctor in ["allOf", "anyOf", "oneOf", "not"] {
        match &alternative[junctor] {
            Value::Array(list) => {
                for (i, inner) in list.iter().enumerate() {
                    within(part, inner, &format!("{path}.{junctor}[{i}]"), errors);
                }
            }
            inner @ Value::Object(_) => within(part, inner, &format!("{path}.{junctor}"), errors),
            _ => {}
        }
    }
}

/// The path with its steps through junctors left out.
fn before_junctor(path: &str) -> String {
    let steps = path.split('.').filter(|step| {
        !["allOf[", "anyOf[", "oneOf["].iter().any(|junctor| step.starts_with(junctor)) && *step != "not"
    });
    steps.collect::<Vec<_>>().join(".")
}

/// `metadata` of the root may only restrict the name.
fn metadata(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let metadata = &schema["properties"]["metadata"];
    let Some(map) = metadata.as_object() else { return };
    let path = format!("{path}.properties[metadata]");
    let allowed = |field: &str| matches!(field, "type" | "properties" | "description" | "title" | "nullable");
    let forbids = map.iter().any(|(field, value)| !allowed(field) && !value.is_null() && *value != Value::Bool(false));
    let names = metadata["properties"].as_object().into_iter().flatten();
    let other = names.into_iter().any(|(name, _)| !matches!(name.as_str(), "name" | "generateName"));
    if forbids || other {
        errors.push(FieldError::forbidden(
            path.clone(),
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        ));
    }
    if metadata["type"] != "object" {
        errors.push(FieldError::invalid(format!("{path}.type"), metadata["type"].clone(), "must be object"));
    }
    for field in ["apiVersion", "kind"] {
        let property = &schema["properties"][field];
        if property.is_object() && property["type"] != "string" {
            errors.push(FieldError::invalid(
                format!("{}.properties[{field}].type", path.trim_end_matches(".properties[metadata]")),
                property["type"].clone(),
                "must be string",
            ));
        }
    }
}
