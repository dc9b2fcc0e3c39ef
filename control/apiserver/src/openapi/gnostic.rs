//! The v2 document as protobuf: gnostic's `openapi.v2.Document`, of whose messages this knows what our documents use. A
//! table says which JSON field becomes which number, how.

use serde_json::Value;

/// How a JSON value is written.
#[derive(Clone, Copy)]
enum As {
    Text,
    Texts,
    Flag,
    Int,
    Double,
    /// `Any`: the value as YAML.
    Any,
    Anys,
    Message(&'static [Part]),
    Schemas,
    /// A map of schemas, as messages of name and value.
    NamedSchemas,
    /// A schema or a flag.
    Additional,
    /// `type`: a text or several.
    Type,
    Items,
    Parameters,
    Responses,
    ResponseSchema,
}

/// A field: JSON name, number, form.
type Part = (&'static str, u32, As);

/// Where a message's `x-` fields go is its last part's number, under this name.
const EXTENSIONS: &str = "x-";

static SCHEMA: &[Part] = &[
    ("$ref", 1, As::Text),
    ("format", 2, As::Text),
    ("title", 3, As::Text),
    ("description", 4, As::Text),
    ("default", 5, As::Any),
    ("multipleOf", 6, As::Double),
    ("maximum", 7, As::Double),
    ("exclusiveMaximum", 8, As::Flag),
    ("minimum", 9, As::Double),
    ("exclusiveMinimum", 10, As::Flag),
    ("maxLength", 11, As::Int),
    ("minLength", 12, As::Int),
    ("pattern", 13, As::Text),
    ("maxItems", 14, As::Int),
    ("minItems", 15, As::Int),
    ("uniqueItems", 16, As::Flag),
    ("maxProperties", 17, As::Int),
    ("minProperties", 18, As::Int),
    ("required", 19, As::Texts),
    ("enum", 20, As::Anys),
    ("additionalProperties", 21, As::Additional),
    ("type", 22, As::Type),
    ("items", 23, As::Items),
    ("allOf", 24, As::Schemas),
    ("properties", 25, As::NamedSchemas),
    (EXTENSIONS, 31, As::Any),
];
static OPERATION: &[Part] = &[
    ("tags", 1, As::Texts),
    ("description", 3, As::Text),
    ("operationId", 5, As::Text),
    ("produces", 6, As::Texts),
    ("consumes", 7, As::Texts),
    ("parameters", 8, As::Parameters),
    ("responses", 9, As::Responses),
    ("schemes", 10, As::Texts),
    (EXTENSIONS, 13, As::Any),
];
static PATH_ITEM: &[Part] = &[
    ("get", 2, As::Message(OPERATION)),
    ("put", 3, As::Message(OPERATION)),
    ("post", 4, As::Message(OPERATION)),
    ("delete", 5, As::Message(OPERATION)),
    ("options", 6, As::Message(OPERATION)),
    ("head", 7, As::Message(OPERATION)),
    ("patch", 8, As::Message(OPERATION)),
    ("parameters", 9, As::Parameters),
];
static BODY: &[Part] =
    &[("name", 2, As::Text), ("in", 3, As::Text), ("required", 4, As::Flag), ("schema", 5, As::Message(SCHEMA))];
static QUERY: &[Part] = &[
    ("required", 1, As::Flag),
    ("in", 2, As::Text),
    ("description", 3, As::Text),
    ("name", 4, As::Text),
    ("type", 6, As::Text),
    ("format", 7, As::Text),
    ("uniqueItems", 20, As::Flag),
];
static PATH: &[Part] = &[
    ("required", 1, As::Flag),
    ("in", 2, As::Text),
    ("description", 3, As::Text),
    ("name", 4, As::Text),
    ("type", 5, As::Text),
    ("format", 6, As::Text),
    ("uniqueItems", 19, As::Flag),
];
static RESPONSE: &[Part] = &[("description", 1, As::Text), ("schema", 2, As::ResponseSchema)];
static INFO: &[Part] = &[("title", 1, As::Text), ("version", 2, As::Text)];

/// `swagger`, `info`, and the numbers of the two maps.
pub(super) fn start(info: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(1, b"2.0", &mut out);
    bytes(2, &message(info, INFO), &mut out);
    out
}

/// One entry of `paths`, to be collected and given to [`paths`].
pub(super) fn path(name: &str, item: &Value, out: &mut Vec<u8>) {
    bytes(2, &named(name, &message(item, PATH_ITEM)), out);
}

/// One entry of `definitions`.
pub(super) fn definition(name: &str, schema: &Value, out: &mut Vec<u8>) {
    bytes(1, &named(name, &message(schema, SCHEMA)), out);
}

/// The document's end: its paths and definitions, collected.
pub(super) fn finish(paths: &[u8], definitions: &[u8], out: &mut Vec<u8>) {
    bytes(8, paths, out);
    bytes(9, definitions, out);
}

fn message(value: &Value, parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    for (field, number, form) in parts {
        if *field == EXTENSIONS {
            for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
                bytes(*number, &named(name, &any(value)), &mut out);
            }
        } else if let Some(value) = value.get(field) {
            write(value, *number, *form, &mut out);
        }
    }
    out
}

fn write(value: &Value, number: u32, form: As, out: &mut Vec<u8>) {
    let items = || value.as_array().into_iter().flatten();
    match form {
        As::Text => bytes(number, value.as_str().unwrap_or_default().as_bytes(), out),
        As::Texts => items().filter_map(Value::as_str).for_each(|text| bytes(number, text.as_bytes(), out)),
        As::Flag => {
            if value == true {
                key(number, 0, out);
                out.push(1);
            }
        }
        As::Int => {
            key(number, 0, out);
            // Negative numbers are no lengths; they would be ten bytes of two's complement.
            varint(value.as_i64().unwrap_or_default().cast_unsigned(), out);
        }
        As::Double => {
            key(number, 1, out);
            out.extend(value.as_f64().unwrap_or_default().to_le_bytes());
        }
        As::Any => bytes(number, &any(value), out),
        As::Anys => items().for_each(|value| bytes(number, &any(value), out)),
        As::Message(parts) => bytes(number, &message(value, parts), out),
        As::Schemas => items().for_each(|value| bytes(number, &message(value, SCHEMA), out)),
        As::NamedSchemas => {
            let mut entries = Vec::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                bytes(1, &named(name, &message(value, SCHEMA)), &mut entries);
            }
            bytes(number, &entries, out);
        }
        As::Additional => bytes(number, &additional(value), out),
        As::Type => {
            let mut kinds = Vec::new();
            value.as_str().into_iter().for_each(|text| bytes(1, text.as_bytes(), &mut kinds));
            items().filter_map(Value::as_str).for_each(|text| bytes(1, text.as_bytes(), &mut kinds));
            bytes(number, &kinds, out);
        }
        As::Items => bytes(number, &wrap(1, &message(value, SCHEMA)), out),
        As::Parameters => items().for_each(|value| bytes(number, &wrap(1, &parameter(value)), out)),
        As::Responses => {
            let mut codes = Vec::new();
            for (code, value) in value.as_object().into_iter().flatten() {
                bytes(1, &named(code, &wrap(1, &message(value, RESPONSE))), &mut codes);
            }
            bytes(number, &codes, out);
        }
        As::ResponseSchema => bytes(number, &wrap(1, &message(value, SCHEMA)), out),
    }
}

fn additional(value: &Value) -> Vec<u8> {
    if value.is_object() {
        return wrap(1, &message(value, SCHEMA));
    }
    let mut out = Vec::new();
    key(2, 0, &mut out);
    out.push(u8::from(value == true));
    out
}

/// `Parameter`: of the body, or not.
fn parameter(value: &Value) -> Vec<u8> {
    match value["in"].as_str() {
        Some("body") => wrap(1, &message(value, BODY)),
        Some("path") => wrap(2, &wrap(4, &message(value, PATH))),
        _ => wrap(2, &wrap(3, &message(value, QUERY))),
    }
}

/// `Any` with its YAML; JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    wrap(2, format!("{value}\n").as_bytes())
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = wrap(1, name.as_bytes());
    bytes(2, value, &mut out);
    out
}

fn wrap(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    bytes(number, content, &mut out);
    out
}

fn bytes(number: u32, content: &[u8], out: &mut Vec<u8>) {
    key(number, 2, out);
    varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn key(number: u32, wire_type: u32, out: &mut Vec<u8>) {
    varint(u64::from(number << 3 | wire_type), out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
