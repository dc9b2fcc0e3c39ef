//! Objects as protobuf: `k8s\0`, then a `runtime.Unknown` message that names the kind and holds the object's own
//! message. One table-driven transcoder from and to JSON values; field numbers come from the schema table, so there is
//! no code a kind. What Go's generated code does counts: unknown numbers are skipped, plain fields may be written as zero.

use serde_json::{Map, Value};

use crate::schema::{Body, Definition, Field, Part, Scalar, Schema, Slot, Type};
use crate::{Gvk, base64, time};

mod choice;
mod encode;
#[cfg(test)]
mod tests;
mod wire;

pub use encode::{
    ENVELOPE_TAIL, EncodeError, encode, envelope, envelope_head, list_head, list_item, partial_list_item, watch_frame,
};
pub use wire::WireError;
use wire::{Content, Reader};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// First bytes of every such body.
pub const MAGIC: &[u8] = b"k8s\0";
/// Messages nested deeper than this are refused.
const MAX_DEPTH: usize = 64;

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("no kind \"{0}\" is registered for protobuf")]
    UnknownKind(Gvk),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("a text is not valid UTF-8")]
    Utf8,
    #[error("embedded JSON: {0}")]
    Json(String),
    #[error("messages are nested too deeply")]
    TooDeep,
}

/// The object in a body, with its `apiVersion` and `kind`.
pub fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    enveloped(body, 0)
}

fn enveloped(body: &[u8], depth: usize) -> Result<Value, DecodeError> {
    let rest = body.strip_prefix(MAGIC).ok_or(DecodeError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(rest) {
        match field? {
            (1, Content::Bytes(type_meta)) => {
                for field in Reader::new(type_meta) {
                    match field? {
                        (1, Content::Bytes(text)) => api_version = utf8(text)?,
                        (2, Content::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Content::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let gvk = Gvk::from_api_version(&api_version, &kind);
    let Some(schema) = Schema::for_kind(&gvk).filter(encode::has_message) else {
        return Err(DecodeError::UnknownKind(gvk));
    };
    let mut object = message(schema.definition(), raw, depth)?;
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), api_version.into());
        map.insert("kind".to_owned(), kind.into());
    }
    Ok(object)
}

fn utf8(bytes: &[u8]) -> Result<String, DecodeError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::Utf8)
}

fn message(definition: &'static Definition, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::TooDeep);
    }
    let fields = match &definition.body {
        Body::Scalar(Scalar::Any) if choice::Choice::of(definition).is_some() => {
            return choice::decode(definition, bytes, depth);
        }
        Body::Scalar(scalar) => return special(*scalar, bytes, depth),
        Body::Object(fields) => fields,
    };
    let mut object = Map::new();
    fill(&mut object, fields, &definition.message, bytes, depth)?;
    Ok(Value::Object(object))
}

/// Adds the fields of a message to the object. Inlined messages are no deeper than the table says.
fn fill(
    object: &mut Map<String, Value>,
    fields: &'static [Field],
    slots: &'static [Slot],
    bytes: &[u8],
    depth: usize,
) -> Result<(), DecodeError> {
    for entry in Reader::new(bytes) {
        let (number, content) = entry?;
        let Ok(at) = slots.binary_search_by_key(&number, |slot| slot.number) else { continue };
        match (&slots[at].part, content) {
            (Part::Field(index), content) => put(object, &fields[*index], content, depth)?,
            (Part::Inlined(inner), Content::Bytes(bytes)) => fill(object, fields, inner, bytes, depth)?,
            (Part::Inlined(_), _) => {}
        }
    }
    Ok(())
}

/// Adds what one wire field says of a field of the object.
fn put(
    object: &mut Map<String, Value>,
    field: &'static Field,
    content: Content<'_>,
    depth: usize,
) -> Result<(), DecodeError> {
    let name = field.name.to_owned();
    match &field.kind {
        kind @ Type::List(_) if field.wrapped => {
            object.insert(name, map_value(kind, content, depth)?);
        }
        Type::List(inner) => {
            let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            let list = list.as_array_mut().expect("a list field holds a list");
            match (inner.scalar(), content) {
                (Some(Scalar::Int32 | Scalar::Int64 | Scalar::Boolean), Content::Bytes(packed)) => {
                    for number in wire::varints(packed) {
                        list.push(value(inner, Content::Varint(number?), depth)?);
                    }
                }
                (_, content) => list.push(value(inner, content, depth)?),
            }
        }
        Type::Map(inner) => {
            let (key, item) = map_entry(inner, content, depth)?;
            let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            map.as_object_mut().expect("a map field holds a map").insert(key, item);
        }
        kind @ Type::Named(_) => {
            let value = value(kind, content, depth)?;
            if !value.is_null() {
                object.insert(name, value);
            }
        }
        kind @ Type::Scalar(_) => {
            let value = value(kind, content, depth)?;
            if !value.is_null() && (!is_zero(&value) || field.required || field.zero_counts) {
                object.insert(name, value);
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn map_entry(inner: &'static Type, content: Content<'_>, depth: usize) -> Result<(String, Value), DecodeError> {
    let (mut key, mut item) = (String::new(), None);
    if let Content::Bytes(entry) = content {
        for field in Reader::new(entry) {
            match field? {
                (1, Content::Bytes(text)) => key = utf8(text)?,
                (2, content) => item = Some(map_value(inner, content, depth)?),
                _ => {}
            }
        }
    }
    let item = match item {
        Some(item) => item,
        None => map_value(inner, Content::Bytes(&[]), depth)?,
    };
    Ok((key, item))
}

/// A list as the value of a map is a message with the list in field 1.
fn map_value(inner: &'static Type, content: Content<'_>, depth: usize) -> Result<Value, DecodeError> {
    let (Type::List(element), Content::Bytes(bytes)) = (inner, content) else { return value(inner, content, depth) };
    let mut list = Vec::new();
    for field in Reader::new(bytes) {
        if let (1, content) = field? {
            list.push(value(element, content, depth + 1)?);
        }
    }
    Ok(Value::Array(list))
}

fn value(kind: &'static Type, content: Content<'_>, depth: usize) -> Result<Value, DecodeError> {
    match (kind, content) {
        (Type::Named(_), Content::Bytes(bytes)) => match kind.schema() {
            Some(schema) => message(schema.definition(), bytes, depth + 1),
            None => Ok(Value::Null),
        },
        (Type::Scalar(scalar), Content::Bytes(bytes)) => match scalar {
            Scalar::String => Ok(utf8(bytes)?.into()),
            Scalar::Bytes => Ok(base64::encode(bytes).into()),
            other => special(*other, bytes, depth),
        },
        (_, Content::Varint(n)) => Ok(match kind.scalar() {
            Some(Scalar::Boolean) => (n != 0).into(),
            // Negative numbers are written as 64-bit two's complement.
            _ => n.cast_signed().into(),
        }),
        (_, Content::Fixed64(bits)) => Ok(f64::from_bits(bits).into()),
        (_, Content::Fixed32(bits)) => Ok(f64::from(f32::from_bits(bits)).into()),
        (Type::List(_) | Type::Map(_), Content::Bytes(_)) => Ok(Value::Null),
    }
}

/// Types that are messages in protobuf and something simpler in JSON.
fn special(scalar: Scalar, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    let (mut numbers, mut texts) = ([0_i64; 4], [&[][..]; 4]);
    for field in Reader::new(bytes) {
        match field? {
            (n @ 1..=3, Content::Varint(v)) => numbers[n as usize] = v.cast_signed(),
            (n @ 1..=3, Content::Bytes(v)) => texts[n as usize] = v,
            _ => {}
        }
    }
    match scalar {
        Scalar::Quantity => Ok(utf8(texts[1])?.into()),
        Scalar::IntOrString if numbers[1] == 0 => Ok(numbers[2].into()),
        Scalar::IntOrString => Ok(utf8(texts[3])?.into()),
        // The zero time is the empty message.
        Scalar::Time | Scalar::MicroTime if bytes.is_empty() => Ok(Value::Null),
        Scalar::Time | Scalar::MicroTime => {
            let nanos = i32::try_from(numbers[2]).unwrap_or(0);
            let at = jiff::Timestamp::new(numbers[1], nanos).ok();
            let write = if scalar == Scalar::MicroTime { time::format_micro } else { time::format };
            Ok(at.map(write).into())
        }
        Scalar::Any if texts[1].is_empty() => Ok(Value::Null),
        // A RawExtension may hold an object that was encoded by itself.
        Scalar::Any if texts[1].starts_with(MAGIC) => enveloped(texts[1], depth + 1),
        Scalar::Any => serde_json::from_slice(texts[1]).map_err(|e| DecodeError::Json(e.to_string())),
        Scalar::String | Scalar::Bytes | Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::Boolean => {
            Ok(Value::Null)
        }
    }
}
