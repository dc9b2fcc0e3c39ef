//! A certificate signing request says who made it: the server knows, the body may not tell.

use crate::generic::write::Write;
use registry::certificates::csr::REQUESTER_FIELDS;
use serde_json::{Value, json};

pub(super) fn stamp(write: &Write<'_>, object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in REQUESTER_FIELDS {
        spec.remove(field);
    }
    let user = write.user;
    spec.insert("username".to_owned(), json!(user.name));
    spec.insert("groups".to_owned(), json!(user.groups));
    if !user.uid.is_empty() {
        spec.insert("uid".to_owned(), json!(user.uid));
    }
    if !user.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(user.extra));
    }
}
