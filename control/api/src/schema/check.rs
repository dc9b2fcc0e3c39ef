//! Checking objects against their schema: unknown fields and wrong types.

use serde_json::Value;

use super::{Body, Scalar, Schema, Type};
use crate::quantity::{Quantity, QuantityError};
use crate::time;

/// Values nested deeper than this are refused.
const MAX_DEPTH: usize = 64;

/// A value that cannot be read as its field's type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    #[error("json: cannot unmarshal {found} into field {path} of type {expected}")]
    Mismatch { path: String, found: &'static str, expected: &'static str },
    #[error("json: cannot unmarshal number {number} into field {path} of type {expected}")]
    Range { path: String, number: String, expected: &'static str },
    #[error("{path}: {source}")]
    Quantity { path: String, source: QuantityError },
    #[error("{path}: cannot parse {text:?} as an RFC 3339 time")]
    Time { path: String, text: String },
    #[error("{path}: illegal base64 data")]
    Base64 { path: String },
    #[error("{path}: nested too deeply")]
    TooDeep { path: String },
}

/// Paths of fields the schema does not have, such as `spec.containers[0].foo`.
#[must_use]
pub fn unknown_fields(schema: &Schema, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk_unknown(*schema, value, &mut String::new(), &mut found);
    found
}

/// Removes fields the schema does not have, and nulls, as decoding into a typed object would; returns the unknown
/// fields' paths.
pub fn prune(schema: &Schema, value: &mut Value) -> Vec<String> {
    let found = unknown_fields(schema, value);
    drop_unknown(*schema, value);
    found
}

/// Checks that every known field has a value of its type.
pub fn type_check(schema: &Schema, value: &Value) -> Result<(), TypeError> {
    check_named(*schema, value, &mut String::new(), 0)
}

fn with_field<R>(path: &mut String, field: &str, f: impl FnOnce(&mut String) -> R) -> R {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    path.push_str(field);
    let result = f(path);
    path.truncate(length);
    result
}

fn with_index<R>(path: &mut String, index: &str, f: impl FnOnce(&mut String) -> R) -> R {
    let length = path.len();
    path.push('[');
    path.push_str(index);
    path.push(']');
    let result = f(path);
    path.truncate(length);
    result
}

fn walk_unknown(schema: Schema, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let (Value::Object(map), Body::Object(_)) = (value, &schema.definition().body) else { return };
    for (name, value) in map {
        with_field(path, name, |path| match schema.field(name) {
            Some(field) => walk_type(&field.kind, value, path, found),
            None => found.push(path.clone()),
        });
    }
}

fn walk_type(kind: &'static Type, value: &Value, path: &mut String, found: &mut Vec<String>) {
    match (kind, value) {
        (Type::List(inner), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                with_index(path, &i.to_string(), |path| walk_type(inner, item, path, found));
            }
        }
        (Type::Map(inner), Value::Object(map)) => {
            for (key, item) in map {
                with_field(path, key, |path| walk_type(inner, item, path, found));
            }
        }
        (Type::Named(_), _) => {
            if let Some(schema) = kind.schema() {
                walk_unknown(schema, value, path, found);
            }
        }
        _ => {}
    }
}

fn drop_unknown(schema: Schema, value: &mut Value) {
    let (Value::Object(map), Body::Object(_)) = (value, &schema.definition().body) else { return };
    map.retain(|name, value| match schema.field(name) {
        Some(field) if !value.is_null() => {
            drop_in_type(&field.kind, value);
            true
        }
        _ => false,
    });
}

fn drop_in_type(kind: &'static Type, value: &mut Value) {
    match (kind, value) {
        (Type::List(inner), Value::Array(items)) => items.iter_mut().for_each(|i| drop_in_type(inner, i)),
        (Type::Map(inner), Value::Object(map)) => {
            for item in map.values_mut() {
                // A null in a map of texts decodes as the empty text.
                if item.is_null() && inner.scalar() == Some(Scalar::String) {
                    *item = "".into();
                }
                drop_in_type(inner, item);
            }
            map.retain(|_, item| !item.is_null());
        }
        (Type::Named(_), value) => {
            if let Some(schema) = kind.schema() {
                drop_unknown(schema, value);
            }
        }
        _ => {}
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn mismatch(path: &str, value: &Value, expected: &'static str) -> TypeError {
    TypeError::Mismatch { path: path.to_owned(), found: found(value), expected }
}

fn check_named(schema: Schema, value: &Value, path: &mut String, depth: usize) -> Result<(), TypeError> {
    if depth > MAX_DEPTH {
        return Err(TypeError::TooDeep { path: path.clone() });
    }
    match (&schema.definition().body, value) {
        (_, Value::Null) => Ok(()),
        (Body::Scalar(scalar), value) => check_scalar(*scalar, value, path),
        (Body::Object(_), Value::Object(map)) => {
            for (name, value) in map {
                if let Some(field) = schema.field(name) {
                    with_field(path, name, |path| check_type(&field.kind, value, path, depth + 1))?;
                }
            }
            Ok(())
        }
        (Body::Object(_), other) => Err(mismatch(path, other, "object")),
    }
}

fn check_type(kind: &'static Type, value: &Value, path: &mut String, depth: usize) -> Result<(), TypeError> {
    match (kind, value) {
        (_, Value::Null) => Ok(()),
        (Type::Scalar(scalar), value) => check_scalar(*scalar, value, path),
        (Type::List(inner), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                with_index(path, &i.to_string(), |path| check_type(inner, item, path, depth + 1))?;
            }
            Ok(())
        }
        (Type::Map(inner), Value::Object(map)) => {
            for (key, item) in map {
                with_index(path, key, |path| check_type(inner, item, path, depth + 1))?;
            }
            Ok(())
        }
        (Type::List(_), other) => Err(mismatch(path, other, "list")),
        (Type::Map(_), other) => Err(mismatch(path, other, "map")),
        (Type::Named(_), value) => match kind.schema() {
            Some(schema) => check_named(schema, value, path, depth),
            None => Ok(()),
        },
    }
}

fn check_scalar(scalar: Scalar, value: &Value, path: &str) -> Result<(), TypeError> {
    let expected = match scalar {
        Scalar::String => "string",
        Scalar::Bytes => "base64 string",
        Scalar::Int32 => "int32",
        Scalar::Int64 => "int64",
        Scalar::Double => "float64",
        Scalar::Boolean => "bool",
        Scalar::Any => return Ok(()),
        Scalar::Quantity => "quantity",
        Scalar::IntOrString => "int or string",
        Scalar::Time | Scalar::MicroTime => "time",
    };
    match (scalar, value) {
        (Scalar::Boolean, Value::Bool(_))
        | (Scalar::Double, Value::Number(_))
        | (Scalar::String | Scalar::IntOrString, Value::String(_)) => Ok(()),
        (Scalar::Int32 | Scalar::IntOrString, Value::Number(n)) => match n.as_i64().map(i32::try_from) {
            Some(Ok(_)) => Ok(()),
            _ => Err(TypeError::Range { path: path.to_owned(), number: n.to_string(), expected }),
        },
        (Scalar::Int64, Value::Number(n)) if n.as_i64().is_some() => Ok(()),
        (Scalar::Int64, Value::Number(n)) => {
            Err(TypeError::Range { path: path.to_owned(), number: n.to_string(), expected })
        }
        (Scalar::Quantity, Value::String(text)) => check_quantity(text.trim(), path),
        (Scalar::Quantity, Value::Number(n)) => check_quantity(&n.to_string(), path),
        (Scalar::Time | Scalar::MicroTime, Value::String(text)) if time::parse(text).is_none() => {
            Err(TypeError::Time { path: path.to_owned(), text: text.clone() })
        }
        (Scalar::Time | Scalar::MicroTime, Value::String(_)) => Ok(()),
        (Scalar::Bytes, Value::String(text)) => match crate::base64::decode(text) {
            Some(_) => Ok(()),
            None => Err(TypeError::Base64 { path: path.to_owned() }),
        },
        (_, other) => Err(mismatch(path, other, expected)),
    }
}

fn check_quantity(text: &str, path: &str) -> Result<(), TypeError> {
    match Quantity::parse(text) {
        Ok(_) => Ok(()),
        Err(source) => Err(TypeError::Quantity { path: path.to_owned(), source }),
    }
}
