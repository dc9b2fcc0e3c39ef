//! Values of expressions, and how JSON becomes them.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;

use api::quantity::Quantity;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;

use super::{EvalError, Text};
use crate::custom::schema::{Additional, Props};

/// A value. Cheap to copy.
#[derive(Debug, Clone)]
pub enum Val {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(Text),
    Bytes(Rc<[u8]>),
    List(Rc<Vec<Val>>, ListKind),
    /// In the order of insertion.
    Map(Rc<Vec<(Val, Val)>>),
    /// Nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    Quantity(Quantity),
    Ip(IpAddr),
    Cidr(IpNet),
    /// An absolute URL, as given.
    Url(Text),
    /// Major, minor, patch, and what follows.
    Semver(Rc<(u64, u64, u64, String)>),
    Format(&'static str),
    Type(&'static str),
    Optional(Option<Rc<Val>>),
}

/// How lists compare and add: `x-kubernetes-list-type`.
#[derive(Debug, Clone)]
pub enum ListKind {
    Atomic,
    Set,
    Map(Rc<Vec<String>>),
}

impl Val {
    #[must_use]
    pub fn list(items: Vec<Val>) -> Self {
        Val::List(Rc::new(items), ListKind::Atomic)
    }

    #[must_use]
    pub fn text(text: &str) -> Self {
        Val::Str(text.into())
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Val::Null => "null_type",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Uint(_) => "uint",
            Val::Double(_) => "double",
            Val::Str(_) => "string",
            Val::Bytes(_) => "bytes",
            Val::List(..) => "list",
            Val::Map(_) => "map",
            Val::Duration(_) => "google.protobuf.Duration",
            Val::Timestamp(_) => "google.protobuf.Timestamp",
            Val::Quantity(_) => "kubernetes.Quantity",
            Val::Ip(_) => "net.IP",
            Val::Cidr(_) => "net.CIDR",
            Val::Url(_) => "kubernetes.URL",
            Val::Semver(_) => "kubernetes.Semver",
            Val::Format(_) => "kubernetes.NamedFormat",
            Val::Type(_) => "type",
            Val::Optional(_) => "optional_type",
        }
    }

    /// What walking over the value costs.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Val::Str(text) | Val::Url(text) => text.len() as u64 / 10 + 1,
            Val::Bytes(bytes) => bytes.len() as u64 / 10 + 1,
            Val::List(items, _) => items.iter().map(Val::weight).sum::<u64>() + 1,
            Val::Map(entries) => entries.iter().map(|(k, v)| k.weight() + v.weight()).sum::<u64>() + 1,
            _ => 1,
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &Val) -> Option<&Val> {
        match self {
            Val::Map(entries) => entries.iter().find(|(known, _)| known.same(key)).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Equality; values of different types differ, numbers of different types do not by that alone.
    pub(super) fn same(&self, other: &Val) -> bool {
        match (self, other) {
            (Val::Null, Val::Null) => true,
            (Val::Bool(a), Val::Bool(b)) => a == b,
            (Val::Str(a), Val::Str(b)) | (Val::Url(a), Val::Url(b)) => a == b,
            (Val::Bytes(a), Val::Bytes(b)) => a == b,
            (Val::List(a, kind), Val::List(b, _)) => same_lists(a, b, kind),
            (Val::Map(a), Val::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| other.get(key).is_some_and(|found| found.same(value)))
            }
            (Val::Duration(a), Val::Duration(b)) => a == b,
            (Val::Timestamp(a), Val::Timestamp(b)) => a == b,
            (Val::Quantity(a), Val::Quantity(b)) => a == b,
            (Val::Ip(a), Val::Ip(b)) => a == b,
            (Val::Cidr(a), Val::Cidr(b)) => a == b,
            (Val::Semver(a), Val::Semver(b)) => a == b,
            (Val::Format(a), Val::Format(b)) | (Val::Type(a), Val::Type(b)) => a == b,
            (Val::Optional(a), Val::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.same(b),
                _ => false,
            },
            _ => self.number_order(other) == Some(Ordering::Equal),
        }
    }

    /// Order of what has one.
    pub(super) fn order(&self, other: &Val) -> Option<Ordering> {
        match (self, other) {
            (Val::Bool(a), Val::Bool(b)) => Some(a.cmp(b)),
            (Val::Str(a), Val::Str(b)) => Some(a.cmp(b)),
            (Val::Bytes(a), Val::Bytes(b)) => Some(a.cmp(b)),
            (Val::Duration(a), Val::Duration(b)) => Some(a.cmp(b)),
            (Val::Timestamp(a), Val::Timestamp(b)) => Some(a.cmp(b)),
            (Val::Quantity(a), Val::Quantity(b)) => Some(a.cmp(b)),
            _ => self.number_order(other),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of different types compare as doubles, as in cel-go")]
    fn number_order(&self, other: &Val) -> Option<Ordering> {
        match (self, other) {
            (Val::Int(a), Val::Int(b)) => Some(a.cmp(b)),
            (Val::Uint(a), Val::Uint(b)) => Some(a.cmp(b)),
            (Val::Int(a), Val::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Val::Uint(a), Val::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Val::Double(a), Val::Double(b)) => a.partial_cmp(b),
            (Val::Int(a), Val::Double(b)) => (*a as f64).partial_cmp(b),
            (Val::Double(a), Val::Int(b)) => a.partial_cmp(&(*b as f64)),
            (Val::Uint(a), Val::Double(b)) => (*a as f64).partial_cmp(b),
            (Val::Double(a), Val::Uint(b)) => a.partial_cmp(&(*b as f64)),
            _ => None,
        }
    }

    /// Back to JSON, where it has a form there.
    #[must_use]
    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Val::Null => Value::Null,
            Val::Bool(flag) => (*flag).into(),
            Val::Int(number) => (*number).into(),
            Val::Uint(number) => (*number).into(),
            Val::Double(number) => (*number).into(),
            Val::Str(text) => Value::String(text.to_string()),
            Val::List(items, _) => Value::Array(items.iter().map(Val::to_json).collect::<Option<_>>()?),
            Val::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| match key {
                        Val::Str(key) => Some((key.to_string(), value.to_json()?)),
                        _ => None,
                    })
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        })
    }

    /// The field of an object.
    pub(super) fn field(&self, name: &str) -> Result<Val, EvalError> {
        match self {
            Val::Map(entries) => entries
                .iter()
                .find(|(key, _)| matches!(key, Val::Str(key) if **key == *name))
                .map(|(_, value)| value.clone())
                .ok_or_else(|| EvalError::Key(name.to_owned())),
            Val::Optional(None) => Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => Ok(Val::Optional(inner.field(name).ok().map(Rc::new))),
            _ => Err(EvalError::Overload),
        }
    }
}

fn same_lists(a: &[Val], b: &[Val], kind: &ListKind) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match kind {
        ListKind::Atomic => a.iter().zip(b).all(|(a, b)| a.same(b)),
        ListKind::Set | ListKind::Map(_) => a.iter().all(|a| b.iter().any(|b| a.same(b))),
    }
}

/// A JSON value without a schema.
#[must_use]
pub fn from_json(value: &Value) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(flag) => Val::Bool(*flag),
        Value::Number(number) => number
            .as_i64()
            .map(Val::Int)
            .or_else(|| number.as_u64().map(Val::Uint))
            .unwrap_or_else(|| Val::Double(number.as_f64().unwrap_or(f64::NAN))),
        Value::String(text) => Val::text(text),
        Value::Array(items) => Val::list(items.iter().map(from_json).collect()),
        Value::Object(map) => {
            Val::Map(Rc::new(map.iter().map(|(key, value)| (Val::text(key), from_json(value))).collect()))
        }
    }
}

/// A JSON value as its schema types it: named fields only, by their escaped names.
#[must_use]
pub fn typed(schema: &Props, value: &Value) -> Val {
    if schema.int_or_string {
        return from_json(value);
    }
    match (schema.kind.as_str(), value) {
        ("number", Value::Number(number)) => Val::Double(number.as_f64().unwrap_or(f64::NAN)),
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(number) => Val::Int(number),
            #[expect(clippy::cast_possible_truncation, reason = "a schema's integer may be written 1.0")]
            None => Val::Int(number.as_f64().unwrap_or(0.0) as i64),
        },
        ("string", Value::String(text)) => match schema.format.as_str() {
            "byte" => api::base64::decode(text).map_or_else(|| Val::text(text), |bytes| Val::Bytes(bytes.into())),
            "duration" => crate::custom::duration::parse(text).map_or_else(|| Val::text(text), Val::Duration),
            "date-time" => api::time::parse(text).map_or_else(|| Val::text(text), Val::Timestamp),
            "date" => api::time::parse(&format!("{text}T00:00:00Z")).map_or_else(|| Val::text(text), Val::Timestamp),
            _ => Val::text(text),
        },
        ("array", Value::Array(items)) => {
            let items = match schema.items.as_deref() {
                Some(schema) => items.iter().map(|item| typed(schema, item)).collect(),
                None => items.iter().map(from_json).collect(),
            };
            let kind = match schema.list_type.as_str() {
                "set" => ListKind::Set,
                "map" => ListKind::Map(Rc::new(schema.map_keys.iter().map(|key| escape(key)).collect())),
                _ => ListKind::Atomic,
            };
            Val::List(Rc::new(items), kind)
        }
        ("object", Value::Object(map)) => {
            let mut entries = Vec::with_capacity(map.len());
            for (name, value) in map {
                if schema.is_root || schema.embedded {
                    match name.as_str() {
                        "apiVersion" | "kind" => {
                            entries.push((Val::text(name), from_json(value)));
                            continue;
                        }
                        "metadata" => {
                            let names = ["name", "generateName"]
                                .into_iter()
                                .filter_map(|field| value.get(field).map(|value| (Val::text(field), from_json(value))));
                            entries.push((Val::text(name), Val::Map(Rc::new(names.collect()))));
                            continue;
                        }
                        _ => {}
                    }
                }
                if let Some(schema) = schema.properties.get(name) {
                    entries.push((Val::text(&escape(name)), typed(schema, value)));
                } else if let Additional::Schema(schema) = &schema.additional {
                    entries.push((Val::text(name), typed(schema, value)));
                } else if matches!(schema.additional, Additional::Any) {
                    entries.push((Val::text(name), from_json(value)));
                }
            }
            Val::Map(Rc::new(entries))
        }
        ("" | "string" | "boolean", _) | (_, _) => from_json(value),
    }
}

const KEYWORDS: [&str; 19] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
];

/// A property's name as expressions write it.
pub(crate) fn escape(name: &str) -> String {
    if KEYWORDS.contains(&name) || matches!(name, "void" | "while") {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}
