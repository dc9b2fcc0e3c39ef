//! Request bodies: JSON or YAML into a value, with every field that was given twice.

use api::Status;
use bytes::Bytes;
use http::HeaderValue;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A decoded body.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// Paths of the fields that appear twice; the last one counts.
    pub(crate) duplicates: Vec<String>,
    /// What it was decoded from, if that is a whole object as text.
    pub(crate) document: Option<Document>,
}

impl Decoded {
    /// A value that was no document.
    pub(crate) fn of(value: Value) -> Self {
        Self { value, duplicates: Vec::new(), document: None }
    }
}

/// A text to find fields in once more.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    Json(Bytes),
    Yaml(Bytes),
}

/// [`decode`], for a whole object.
pub(crate) fn decode_object(bytes: &Bytes, content_type: Option<&HeaderValue>) -> Result<Decoded, Status> {
    let document = match media_type(content_type) {
        "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Document::Yaml(bytes.clone())),
        "application/vnd.kubernetes.protobuf" => None,
        _ => Some(Document::Json(bytes.clone())),
    };
    Ok(Decoded { document, ..decode(bytes, content_type)? })
}

const SUPPORTED: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
/// Duplicates told; more are of no use to anybody.
const DUPLICATE_LIMIT: usize = 100;

/// The media type without its parameters.
pub(crate) fn media_type(content_type: Option<&HeaderValue>) -> &str {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    text.split(';').next().unwrap_or_default().trim()
}

/// Decodes by content type; 415 for one that is not known, 400 for a body that is none.
pub(crate) fn decode(bytes: &[u8], content_type: Option<&HeaderValue>) -> Result<Decoded, Status> {
    match media_type(content_type) {
        "application/json" | "" | "text/plain" | "application/x-www-form-urlencoded" => json(bytes),
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(bytes),
        "application/vnd.kubernetes.protobuf" => protobuf(bytes),
        _ => Err(Status::unsupported_media_type(&SUPPORTED)),
    }
}

/// Decodes the protobuf form of a built-in kind.
fn protobuf(bytes: &[u8]) -> Result<Decoded, Status> {
    let value = api::protobuf::decode(bytes).map_err(|error| Status::bad_request(error.to_string()))?;
    Ok(Decoded::of(value))
}

/// Decodes JSON. Depth is bounded by serde_json (128).
pub(crate) fn json(bytes: &[u8]) -> Result<Decoded, Status> {
    if bytes.is_empty() {
        return Err(Status::bad_request("the request has no body"));
    }
    let parsed: Node = serde_json::from_slice(bytes)
        .map_err(|error| Status::bad_request(format!("couldn't get version/kind; json parse error: {error}")))?;
    Ok(parsed.into())
}

/// Decodes YAML. Depth, aliases and size are bounded by the reader's budget.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Decoded, Status> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
    };
    let parsed: Node = serde_saphyr::from_slice_with_options(bytes, options)
        .map_err(|error| Status::bad_request(format!("error converting YAML to JSON: {error}")))?;
    Ok(parsed.into())
}

impl From<Node> for Decoded {
    fn from(node: Node) -> Self {
        Decoded { value: node.value, duplicates: node.duplicates, document: None }
    }
}

/// A value that remembers the duplicates below it.
pub(crate) struct Node {
    pub(crate) value: Value,
    duplicates: Vec<String>,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

fn leaf(value: impl Into<Value>) -> Node {
    Node { value: value.into(), duplicates: Vec::new() }
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(leaf(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(leaf(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(leaf(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(leaf).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(leaf(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(leaf(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let (mut items, mut duplicates) = (Vec::new(), Vec::new());
        while let Some(node) = seq.next_element::<Node>()? {
            let index = items.len();
            collect(&mut duplicates, node.duplicates, &format!("[{index}]"));
            items.push(node.value);
        }
        Ok(Node { value: Value::Array(items), duplicates })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let (mut map, mut duplicates) = (Map::new(), Vec::new());
        while let Some(key) = entries.next_key::<Node>()? {
            let key = match key.value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Null => "null".to_owned(),
                Value::Array(_) | Value::Object(_) => return Err(A::Error::custom("a key is no scalar")),
            };
            let node: Node = entries.next_value()?;
            collect(&mut duplicates, node.duplicates, &key);
            if map.contains_key(&key) && duplicates.len() < DUPLICATE_LIMIT {
                duplicates.push(key.clone());
            }
            map.insert(key, node.value);
        }
        Ok(Node { value: Value::Object(map), duplicates })
    }
}

fn collect(all: &mut Vec<String>, below: Vec<String>, step: &str) {
    for path in below {
        if all.len() < DUPLICATE_LIMIT {
            let dot = if path.starts_with('[') { "" } else { "." };
            all.push(format!("{step}{dot}{path}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_found_where_they_are() {
        let decoded = json(br#"{"a": {"b": 1, "b": 2}, "c": [{"d": 1, "d": 2}], "a": 3}"#).unwrap();
        assert_eq!(decoded.duplicates, ["a.b", "c[0].d", "a"]);
        assert_eq!(decoded.value["a"], 3);
        let decoded = yaml(b"a: {b: 1, b: 2}\nc: [{d: x, d: z}]\n").unwrap();
        assert_eq!(decoded.duplicates, ["a.b", "c[0].d"]);
        assert_eq!(decoded.value["c"][0]["d"], "z");
    }

    #[test]
    fn bombs_are_refused() {
        let deep = "[".repeat(100_000);
        assert_eq!(json(deep.as_bytes()).unwrap_err().code, 400);
        assert_eq!(yaml(deep.as_bytes()).unwrap_err().code, 400);
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
        }
        assert_eq!(yaml(bomb.as_bytes()).unwrap_err().code, 400);
    }
}
