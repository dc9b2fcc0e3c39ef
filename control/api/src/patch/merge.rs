//! JSON merge patch, RFC 7386.

use serde_json::{Map, Value};

/// The object with the patch merged in: objects merge, null deletes, everything else replaces.
#[must_use]
pub fn apply(object: &Value, patch: &Value) -> Value {
    let mut result = object.clone();
    merge(&mut result, patch);
    result
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().expect("made an object above");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
