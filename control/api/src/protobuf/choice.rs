//! Three types of apiextensions are one of several things in JSON, and messages with a field for each in protobuf.

use serde_json::Value;

use super::encode::{message_into, nested, put_bytes, put_varint};
use super::wire::{Content, Reader};
use super::{DecodeError, message, utf8};
use crate::schema::{Definition, Schema};

/// What a type may be besides a schema (field 1, or 2 of [`Choice::Allowed`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// A boolean in field 1.
    Allowed,
    /// Schemas in field 2.
    Schemas,
    /// Texts in field 2.
    Texts,
}

const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

impl Choice {
    pub(super) fn of(definition: &Definition) -> Option<Self> {
        match definition.name.strip_prefix(SCHEMA)? {
            "OrBool" => Some(Self::Allowed),
            "OrArray" => Some(Self::Schemas),
            "OrStringArray" => Some(Self::Texts),
            _ => None,
        }
    }
}

fn schema() -> &'static Definition {
    Schema::named(SCHEMA).expect("the table has the schema of CRDs").definition()
}

pub(super) fn decode(definition: &'static Definition, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    let choice = Choice::of(definition);
    let mut list = Vec::new();
    let mut allowed = false;
    for entry in Reader::new(bytes) {
        match (choice, entry?) {
            (Some(Choice::Allowed), (1, Content::Varint(flag))) => allowed = flag != 0,
            (Some(Choice::Allowed), (2, Content::Bytes(bytes)))
            | (Some(Choice::Schemas | Choice::Texts), (1, Content::Bytes(bytes))) => {
                return message(schema(), bytes, depth + 1);
            }
            (Some(Choice::Schemas), (2, Content::Bytes(bytes))) => list.push(message(schema(), bytes, depth + 1)?),
            (Some(Choice::Texts), (2, Content::Bytes(bytes))) => list.push(utf8(bytes)?.into()),
            _ => {}
        }
    }
    Ok(if choice == Some(Choice::Allowed) { allowed.into() } else { Value::Array(list) })
}

pub(super) fn encode(out: &mut Vec<u8>, choice: Choice, value: &Value) {
    match (choice, value) {
        (Choice::Allowed, Value::Bool(allowed)) => put_varint(out, 1, u64::from(*allowed)),
        (Choice::Allowed, schema_value) => {
            put_varint(out, 1, 1);
            nested(out, 2, |out| message_into(out, schema(), schema_value));
        }
        (Choice::Schemas, Value::Array(items)) => {
            for item in items {
                nested(out, 2, |out| message_into(out, schema(), item));
            }
        }
        (Choice::Texts, Value::Array(items)) => {
            for item in items.iter().filter_map(Value::as_str) {
                put_bytes(out, 2, item.as_bytes());
            }
        }
        (Choice::Schemas | Choice::Texts, other) => nested(out, 1, |out| message_into(out, schema(), other)),
    }
}
