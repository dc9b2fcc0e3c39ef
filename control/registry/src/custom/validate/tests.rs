use serde_json::{Value, json};

use super::super::schema::Props;
use super::*;

fn errors(schema: Value, value: Value) -> Vec<String> {
    validate(&Props::parse(&schema), &value, None).iter().map(ToString::to_string).collect()
}

fn spec(schema: Value, value: Value) -> Vec<String> {
    errors(json!({"type": "object", "properties": {"x": schema}}), json!({"x": value}))
}

#[test]
fn every_rule_has_kubernetes_words() {
    for (schema, value, expected) in [
        (
            json!({"type": "integer"}),
            json!("a"),
            r#"x: Invalid value: "string": x in body must be of type integer: "string""#,
        ),
        (
            json!({"type": "string"}),
            json!(null),
            r#"x: Invalid value: "null": x in body must be of type string: "null""#,
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            r#"x: Invalid value: "number": x in body must be of type integer: "number""#,
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            r#"x: Invalid value: "boolean": x in body must be of type integer,string: "boolean""#,
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            r#"x: Unsupported value: "c": supported values: "a", "b""#,
        ),
        (
            json!({"type": "string", "pattern": "^a$"}),
            json!("b"),
            r#"x: Invalid value: "b": x in body should match '^a$'"#,
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("b"),
            r#"x: Invalid value: "b": x in body should be at least 2 chars long"#,
        ),
        (json!({"type": "string", "maxLength": 2}), json!("bbb"), "x: Too long: may not be more than 2 bytes"),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "x: Invalid value: 0: x in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "integer", "maximum": 1}),
            json!(2),
            "x: Invalid value: 2: x in body should be less than or equal to 1",
        ),
        (
            json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
            json!(1),
            "x: Invalid value: 1: x in body should be greater than 1",
        ),
        (
            json!({"type": "number", "multipleOf": 0.5}),
            json!(0.7),
            "x: Invalid value: 0.7: x in body should be a multiple of 0.5",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            "x: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            json!([]),
            "x: Invalid value: 0: x in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!([1]),
            r#"x[0]: Invalid value: "integer": x[0] in body must be of type string: "integer""#,
        ),
        (json!({"type": "object", "required": ["a"]}), json!({}), "x.a: Required value"),
        (
            json!({"type": "object", "minProperties": 1}),
            json!({}),
            "x: Invalid value: 0: x in body should have at least 1 properties",
        ),
        (
            json!({"type": "string", "format": "ipv4"}),
            json!("1.2.3"),
            r#"x: Invalid value: "1.2.3": x in body must be of type ipv4: "1.2.3""#,
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("x"),
            r#"x: Invalid value: "x": x in body must be of type date-time: "x""#,
        ),
        (
            json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"a": 1, "b": 1}),
            r#"<nil>: Invalid value: "": "x" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
        ),
        (
            json!({"type": "object", "anyOf": [{"required": ["a"]}]}),
            json!({}),
            r#"<nil>: Invalid value: "": "x" must validate at least one schema (anyOf)"#,
        ),
        (
            json!({"type": "object", "not": {"required": ["a"]}}),
            json!({"a": 1}),
            r#"<nil>: Invalid value: "": "x" must not validate the schema (not)"#,
        ),
    ] {
        let found = spec(schema, value);
        assert_eq!(found.first().map(String::as_str), Some(expected));
    }
}

#[test]
fn formats_are_checked() {
    for (format, good, bad) in [
        ("uuid", "0b8a3cb2-1f6c-4bd2-9a1c-8a3f2e9d1c00", "0b8a3cb2"),
        ("duration", "1h30m", "an hour"),
        ("date", "2024-02-29", "2023-02-29"),
        ("date-time", "2024-01-01T00:00:00Z", "2024-01-01"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("ipv6", "::1", "1.2.3.4"),
        ("mac", "00:11:22:33:44:55", "00:11"),
        ("uri", "https://a.b/c", "a b"),
        ("email", "a@b.c", "a"),
        ("hostname", "a.b-c", "-a"),
        ("byte", "aGk=", "*"),
        ("unheard-of", "x", ""),
    ] {
        assert!(format::matches(format, good), "{format} {good}");
        assert!(format == "unheard-of" || !format::matches(format, bad), "{format} {bad}");
    }
}

#[test]
fn what_was_wrong_and_stays_is_let_be() {
    let schema = Props::parse(&json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1}, "b": {"type": "string", "maxLength": 1},
        "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}}
    }}));
    let old = json!({"a": "xxx", "b": "y", "l": [{"k": "p", "v": 9}, {"k": "q", "v": 1}]});
    let check =
        |new: Value| -> Vec<String> { validate(&schema, &new, Some(&old)).iter().map(|e| e.field.clone()).collect() };
    assert_eq!(
        check(json!({"a": "xxx", "b": "z", "l": [{"k": "q", "v": 0}, {"k": "p", "v": 9}]})),
        Vec::<String>::new()
    );
    assert_eq!(
        check(json!({"a": "xxxx", "b": "zz", "l": [{"k": "q", "v": 3}, {"k": "p", "v": 9}]})),
        ["a", "b", "l[0].v"]
    );
}

#[test]
fn sets_and_maps_hold_nothing_twice() {
    let schema = Props::parse(&json!({"type": "object", "properties": {
        "s": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}}}}
    }}));
    let found: Vec<String> = list_types(&schema, &json!({"s": ["a", "b", "a"], "m": [{"k": "x"}, {"k": "x", "y": 1}]}))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, [r#"m[1]: Duplicate value: {"k":"x"}"#, r#"s[2]: Duplicate value: "a""#]);
}
