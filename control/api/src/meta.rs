//! Reading and writing `metadata` on objects held as JSON values, and on their bytes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{Gvk, Key, Revision, time};

#[cfg(test)]
mod tests;

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerReference {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub controller: bool,
    pub block_owner_deletion: bool,
}

/// Text at `metadata.<field>`, empty if there is none.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

#[must_use]
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

#[must_use]
pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

/// Empty for cluster-scoped objects.
#[must_use]
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

#[must_use]
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// Empty if the object carries none.
#[must_use]
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// Zero if the object carries none.
#[must_use]
pub fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(0)
}

#[must_use]
pub fn key(object: &Value) -> Key {
    Key::new(namespace(object), name(object))
}

/// From `apiVersion` and `kind`; parts that are missing are empty.
#[must_use]
pub fn gvk(object: &Value) -> Gvk {
    Gvk::from_api_version(object["apiVersion"].as_str().unwrap_or(""), object["kind"].as_str().unwrap_or(""))
}

/// Any map of texts, at any place of an object; entries that are no text are left out.
#[must_use]
pub fn string_map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

#[must_use]
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    string_map(&object["metadata"]["labels"])
}

#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"][key].as_str()
}

#[must_use]
pub fn annotations(object: &Value) -> BTreeMap<String, String> {
    string_map(&object["metadata"]["annotations"])
}

#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

#[must_use]
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = object["metadata"]["finalizers"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[must_use]
pub fn owner_references(object: &Value) -> Vec<OwnerReference> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let list = object["metadata"]["ownerReferences"].as_array();
    list.into_iter()
        .flatten()
        .map(|r| OwnerReference {
            api_version: text(&r["apiVersion"]),
            kind: text(&r["kind"]),
            name: text(&r["name"]),
            uid: text(&r["uid"]),
            controller: r["controller"].as_bool().unwrap_or(false),
            block_owner_deletion: r["blockOwnerDeletion"].as_bool().unwrap_or(false),
        })
        .collect()
}

/// The owner that controls the object.
#[must_use]
pub fn controller(object: &Value) -> Option<OwnerReference> {
    owner_references(object).into_iter().find(|r| r.controller)
}

#[must_use]
pub fn creation_timestamp(object: &Value) -> Option<&str> {
    object["metadata"]["creationTimestamp"].as_str()
}

#[must_use]
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    object["metadata"]["deletionTimestamp"].as_str()
}

#[must_use]
pub fn deletion_grace_period_seconds(object: &Value) -> Option<i64> {
    object["metadata"]["deletionGracePeriodSeconds"].as_i64()
}

#[must_use]
pub fn is_deleting(object: &Value) -> bool {
    deletion_timestamp(object).is_some()
}

/// The object's fields; a value that is no object becomes an empty one.
pub fn object_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

/// The object at `field`, made if it is missing or no object.
pub fn child_mut<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    object_mut(object_mut(value).entry(field).or_insert(Value::Null))
}

/// The object's `metadata`, made if it is missing.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(object, "metadata")
}

fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(field.to_owned(), value.into());
}

/// Removes `metadata.<field>` and returns what was there.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    metadata_mut(object).remove(field)
}

pub fn set_name(object: &mut Value, name: &str) {
    set(object, "name", name);
}

/// An empty namespace removes the field.
pub fn set_namespace(object: &mut Value, namespace: &str) {
    if namespace.is_empty() {
        remove(object, "namespace");
    } else {
        set(object, "namespace", namespace);
    }
}

pub fn set_uid(object: &mut Value, uid: &str) {
    set(object, "uid", uid);
}

pub fn set_resource_version(object: &mut Value, revision: Revision) {
    set(object, "resourceVersion", revision.to_string());
}

/// Stored bytes never contain the resourceVersion: call this before storing.
pub fn remove_resource_version(object: &mut Value) {
    remove(object, "resourceVersion");
}

pub fn set_generation(object: &mut Value, generation: i64) {
    set(object, "generation", generation);
}

pub fn set_creation_timestamp(object: &mut Value, at: Timestamp) {
    set(object, "creationTimestamp", time::format(at));
}

/// Marks the object as being deleted, with the moment its grace ends.
pub fn set_deletion(object: &mut Value, ends: Timestamp, grace_seconds: i64) {
    set(object, "deletionTimestamp", time::format(ends));
    set(object, "deletionGracePeriodSeconds", grace_seconds);
}

/// An empty list removes the field.
pub fn set_finalizers(object: &mut Value, finalizers: &[&str]) {
    if finalizers.is_empty() {
        remove(object, "finalizers");
    } else {
        set(object, "finalizers", finalizers.to_vec());
    }
}

pub fn set_label(object: &mut Value, key: &str, value: &str) {
    object_mut(metadata_mut(object).entry("labels").or_insert(Value::Null)).insert(key.to_owned(), value.into());
}

pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    object_mut(metadata_mut(object).entry("annotations").or_insert(Value::Null)).insert(key.to_owned(), value.into());
}

/// Inserts `metadata.resourceVersion` into the bytes of an object that has none, without parsing it.
///
/// Bytes that are no JSON object come back unchanged.
#[must_use]
pub fn splice_revision(json: &[u8], revision: Revision) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + 64);
    splice_revision_into(&mut out, json, revision);
    out
}

/// Like [`splice_revision`], appending to `out`.
pub fn splice_revision_into(out: &mut Vec<u8>, json: &[u8], revision: Revision) {
    let (at, wrap) = match find_metadata(json) {
        Some(Place::Inside(at)) => (at, false),
        Some(Place::Absent(at)) => (at, true),
        None => return out.extend_from_slice(json),
    };
    let empty = json[at..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'}');
    out.extend_from_slice(&json[..at]);
    if wrap {
        out.extend_from_slice(b"\"metadata\":{");
    }
    out.extend_from_slice(b"\"resourceVersion\":\"");
    out.extend_from_slice(revision.to_string().as_bytes());
    out.push(b'"');
    if wrap {
        out.push(b'}');
    }
    if !empty {
        out.push(b',');
    }
    out.extend_from_slice(&json[at..]);
}

/// Where a field of `metadata` can be inserted: just after an opening brace.
enum Place {
    Inside(usize),
    Absent(usize),
}

fn find_metadata(json: &[u8]) -> Option<Place> {
    let mut at = skip_space(json, 0);
    if json.get(at) != Some(&b'{') {
        return None;
    }
    let start = at + 1;
    at = start;
    loop {
        at = skip_space(json, at);
        if json.get(at) != Some(&b'"') {
            return Some(Place::Absent(start));
        }
        let key_end = skip_string(json, at)?;
        let is_metadata = &json[at..key_end] == b"\"metadata\"";
        at = skip_space(json, key_end);
        if json.get(at) != Some(&b':') {
            return None;
        }
        at = skip_space(json, at + 1);
        if is_metadata {
            return (json.get(at) == Some(&b'{')).then_some(Place::Inside(at + 1));
        }
        at = skip_space(json, skip_value(json, at)?);
        match json.get(at) {
            Some(b',') => at += 1,
            Some(b'}') => return Some(Place::Absent(start)),
            _ => return None,
        }
    }
}

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// `at` is the opening quote; the result is just after the closing one.
fn skip_string(json: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        match *json.get(i)? {
            b'"' => return Some(i + 1),
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
}

fn skip_value(json: &[u8], at: usize) -> Option<usize> {
    let (mut i, mut depth) = (at, 0_usize);
    loop {
        match *json.get(i)? {
            b'"' => i = skip_string(json, i)?,
            b'{' | b'[' => {
                depth += 1;
                i += 1;
            }
            b'}' | b']' if depth == 0 => return Some(i),
            b'}' | b']' => {
                depth -= 1;
                i += 1;
            }
            b',' if depth == 0 => return Some(i),
            _ => i += 1,
        }
        if depth == 0 && matches!(json.get(i), Some(b',' | b'}' | b']') | None) {
            return Some(i);
        }
    }
}
