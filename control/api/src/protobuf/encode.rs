//! JSON values into protobuf messages.

use serde_json::Value;

use super::{MAGIC, choice};
use crate::schema::{Body, Definition, Field, Part, Scalar, Schema, Slot, Type};
use crate::{Gvk, base64, time};

/// An object that has no protobuf form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("no kind \"{0}\" is registered for protobuf")]
    UnknownKind(Gvk),
}

const META: &str = "meta.k8s.io";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// An object with its envelope, as a body.
///
/// # Errors
/// [`EncodeError::UnknownKind`] for custom resources and the few kinds that are JSON only.
pub fn encode(object: &Value) -> Result<Vec<u8>, EncodeError> {
    let gvk = crate::meta::gvk(object);
    let mut message = Vec::new();
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        (META, "PartialObjectMetadata") => partial_into(&mut message, object),
        (META, "PartialObjectMetadataList") => {
            let beta = gvk.version == "v1beta1";
            message = list_head(&object["metadata"], beta);
            for item in object["items"].as_array().into_iter().flatten() {
                partial_list_item(&mut message, item, beta);
            }
        }
        _ => {
            let schema = Schema::for_kind(&gvk).filter(has_message);
            let Some(schema) = schema else { return Err(EncodeError::UnknownKind(gvk)) };
            message_into(&mut message, schema.definition(), object);
        }
    }
    Ok(envelope(&gvk, &message))
}

/// Whether a kind has a protobuf form.
pub(super) fn has_message(schema: &Schema) -> bool {
    !schema.definition().message.is_empty()
}

/// `k8s\0` and the envelope around a message.
#[must_use]
pub fn envelope(gvk: &Gvk, message: &[u8]) -> Vec<u8> {
    let mut out = envelope_head(gvk, message.len());
    out.extend_from_slice(message);
    out.extend_from_slice(ENVELOPE_TAIL);
    out
}

/// `contentEncoding` and `contentType`, both empty: what follows a message in its envelope.
pub const ENVELOPE_TAIL: &[u8] = &[0x1a, 0, 0x22, 0];

/// The envelope up to a message of this length; after it comes [`ENVELOPE_TAIL`].
#[must_use]
pub fn envelope_head(gvk: &Gvk, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(MAGIC);
    nested(&mut out, 1, |out| {
        put_bytes(out, 1, gvk.api_version().as_bytes());
        put_bytes(out, 2, gvk.kind.as_bytes());
    });
    tag(&mut out, 2, 2);
    varint(&mut out, length as u64);
    out
}

/// Where the `metadata` and the `items` of a list are. One list has them the other way round.
fn list_numbers(beta_metadata: bool) -> (u32, u32) {
    if beta_metadata { (2, 1) } else { (1, 2) }
}

/// The start of a list's message, before its items. `beta_metadata`: a PartialObjectMetadataList of v1beta1.
#[must_use]
pub fn list_head(metadata: &Value, beta_metadata: bool) -> Vec<u8> {
    let mut out = Vec::new();
    nested(&mut out, list_numbers(beta_metadata).0, |out| message_into(out, named(LIST_META), metadata));
    out
}

/// Appends one item to a list's message.
pub fn list_item(out: &mut Vec<u8>, schema: Schema, item: &Value) {
    nested(out, 2, |out| message_into(out, schema.definition(), item));
}

/// Appends the metadata of one item to the message of a PartialObjectMetadataList.
pub fn partial_list_item(out: &mut Vec<u8>, item: &Value, beta_metadata: bool) {
    nested(out, list_numbers(beta_metadata).1, |out| partial_into(out, item));
}

/// A frame of a watch: four bytes of length, then a WatchEvent around an object's body.
#[must_use]
pub fn watch_frame(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    put_bytes(&mut out, 1, kind.as_bytes());
    nested(&mut out, 2, |out| put_bytes(out, 1, body));
    let length = u32::try_from(out.len() - 4).expect("an object is far below 4 GiB");
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

fn named(name: &str) -> &'static Definition {
    Schema::named(name).expect("the table has the metadata of all kinds").definition()
}

fn partial_into(out: &mut Vec<u8>, object: &Value) {
    nested(out, 1, |out| message_into(out, named(OBJECT_META), &object["metadata"]));
}

/// The fields of a message, in the order of their numbers.
pub(super) fn message_into(out: &mut Vec<u8>, definition: &'static Definition, value: &Value) {
    match &definition.body {
        Body::Object(fields) => slots_into(out, fields, &definition.message, value),
        Body::Scalar(Scalar::Any) => match choice::Choice::of(definition) {
            Some(choice) => choice::encode(out, choice, value),
            None => special_into(out, Scalar::Any, value),
        },
        Body::Scalar(scalar) => special_into(out, *scalar, value),
    }
}

fn slots_into(out: &mut Vec<u8>, fields: &'static [Field], slots: &'static [Slot], value: &Value) {
    for slot in slots {
        match &slot.part {
            Part::Inlined(inner) => nested(out, slot.number, |out| slots_into(out, fields, inner, value)),
            Part::Field(index) => {
                let field = &fields[*index];
                match value.get(field.name) {
                    Some(Value::Null) | None if field.required => zero_into(out, slot.number, &field.kind),
                    Some(Value::Null) | None => {}
                    Some(value) => field_into(out, slot.number, field, value),
                }
            }
        }
    }
}

/// What Go writes of a plain field that is not set.
fn zero_into(out: &mut Vec<u8>, number: u32, kind: &Type) {
    match kind {
        Type::Scalar(Scalar::String) => put_bytes(out, number, b""),
        Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Boolean) => put_varint(out, number, 0),
        Type::Scalar(Scalar::Double) => put_fixed64(out, number, 0),
        Type::Scalar(_) | Type::Named(_) | Type::List(_) | Type::Map(_) => {}
    }
}

fn field_into(out: &mut Vec<u8>, number: u32, field: &'static Field, value: &Value) {
    match (&field.kind, value) {
        (Type::List(inner), value) if field.wrapped => nested(out, number, |out| list_into(out, 1, inner, value)),
        (Type::List(inner), value) => list_into(out, number, inner, value),
        (Type::Map(inner), Value::Object(entries)) => {
            for (key, value) in entries {
                nested(out, number, |out| {
                    put_bytes(out, 1, key.as_bytes());
                    match &**inner {
                        // A list as the value of a map is a message with the list in field 1.
                        Type::List(element) => nested(out, 2, |out| list_into(out, 1, element, value)),
                        inner => value_into(out, 2, inner, value),
                    }
                });
            }
        }
        (Type::Map(_), _) => {}
        (kind @ (Type::Scalar(_) | Type::Named(_)), value) => value_into(out, number, kind, value),
    }
}

fn list_into(out: &mut Vec<u8>, number: u32, element: &'static Type, value: &Value) {
    for item in value.as_array().into_iter().flatten() {
        value_into(out, number, element, item);
    }
}

fn value_into(out: &mut Vec<u8>, number: u32, kind: &'static Type, value: &Value) {
    let scalar = match kind {
        Type::Scalar(scalar) => *scalar,
        Type::Named(_) => {
            return nested(out, number, |out| {
                if let Some(schema) = kind.schema() {
                    message_into(out, schema.definition(), value);
                }
            });
        }
        // Lists of lists and maps of maps are in no kind.
        Type::List(_) | Type::Map(_) => return,
    };
    match scalar {
        Scalar::String => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Scalar::Bytes => {
            let bytes = value.as_str().and_then(base64::decode).unwrap_or_default();
            put_bytes(out, number, &bytes);
        }
        Scalar::Int32 | Scalar::Int64 => put_varint(out, number, whole(value).cast_unsigned()),
        Scalar::Boolean => put_varint(out, number, u64::from(value == &Value::Bool(true))),
        Scalar::Double => put_fixed64(out, number, value.as_f64().unwrap_or_default().to_bits()),
        special @ (Scalar::Any | Scalar::Quantity | Scalar::IntOrString | Scalar::Time | Scalar::MicroTime) => {
            nested(out, number, |out| special_into(out, special, value));
        }
    }
}

/// Types that are messages in protobuf and something simpler in JSON.
fn special_into(out: &mut Vec<u8>, scalar: Scalar, value: &Value) {
    match scalar {
        Scalar::Any if value.is_null() => {}
        Scalar::Any => put_bytes(out, 1, value.to_string().as_bytes()),
        Scalar::Quantity => match value {
            Value::String(text) => put_bytes(out, 1, text.as_bytes()),
            other => put_bytes(out, 1, other.to_string().as_bytes()),
        },
        Scalar::IntOrString => {
            put_varint(out, 1, u64::from(value.is_string()));
            put_varint(out, 2, whole(value).cast_unsigned());
            put_bytes(out, 3, value.as_str().unwrap_or_default().as_bytes());
        }
        Scalar::Time | Scalar::MicroTime => {
            if let Some(at) = value.as_str().and_then(time::parse) {
                put_varint(out, 1, at.as_second().cast_unsigned());
                let nanos = if scalar == Scalar::Time { 0 } else { at.subsec_nanosecond() };
                put_varint(out, 2, i64::from(nanos).cast_unsigned());
            }
        }
        Scalar::String | Scalar::Bytes | Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::Boolean => {}
    }
}

/// A whole number; JSON may write one as `1.0`.
fn whole(value: &Value) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers written as floats are small")]
    value.as_i64().or_else(|| value.as_f64().map(|float| float as i64)).unwrap_or_default()
}

/// A field whose content has a length that is known once it is written.
pub(super) fn nested(out: &mut Vec<u8>, number: u32, content: impl FnOnce(&mut Vec<u8>)) {
    tag(out, number, 2);
    let at = out.len();
    out.push(0);
    content(out);
    let length = out.len() - at - 1;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out[at] = short;
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    varint(&mut prefix, length as u64);
    let more = prefix.len() - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(at + 1..at + 1 + length, at + prefix.len());
    out[at..at + prefix.len()].copy_from_slice(&prefix);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    tag(out, number, 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

pub(super) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    tag(out, number, 0);
    varint(out, value);
}

fn put_fixed64(out: &mut Vec<u8>, number: u32, bits: u64) {
    tag(out, number, 1);
    out.extend_from_slice(&bits.to_le_bytes());
}

fn tag(out: &mut Vec<u8>, number: u32, wire_type: u64) {
    varint(out, u64::from(number) << 3 | wire_type);
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n > 0x7f {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
