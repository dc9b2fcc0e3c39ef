//! What an applied object must be: fields the type has, elements with keys, each element once.

use serde_json::Value;
use std::collections::BTreeSet;

use super::element;
use crate::shape::{Form, Shape, child};

/// Complaints told; more are of no use to anybody.
const MAX_COMPLAINTS: usize = 64;

/// All that is wrong with an object that is to be applied; empty if nothing is.
#[must_use]
pub fn check(object: &Value, shape: &dyn Shape) -> Vec<String> {
    let mut found = Vec::new();
    walk(object, shape, &mut String::new(), &mut found);
    found
}

fn walk(value: &Value, shape: &dyn Shape, path: &mut String, found: &mut Vec<String>) {
    if found.len() >= MAX_COMPLAINTS {
        return;
    }
    let length = path.len();
    match (shape.form(), value) {
        (_, Value::Null) | (Form::Scalar | Form::Atomic | Form::Deduced, _) => {}
        (Form::Struct | Form::Map, Value::Object(fields)) => {
            for (name, value) in fields {
                path.push('.');
                path.push_str(name);
                match child(shape, name) {
                    Some(shape) => walk(value, shape, path, found),
                    None => found.push(format!("{path}: field not declared in schema")),
                }
                path.truncate(length);
            }
        }
        (Form::Set | Form::Keyed, Value::Array(items)) => walk_items(items, shape, path, found),
        (Form::Struct | Form::Map, other) => found.push(format!("{path}: expected map, got {other}")),
        (Form::Set | Form::Keyed, other) => found.push(format!("{path}: expected list, got {other}")),
    }
}

fn walk_items(items: &[Value], shape: &dyn Shape, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    let mut seen = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        let Some(step) = element::item(shape, item) else {
            let keys: Vec<&str> = shape.keys().iter().map(|key| &*key.name).collect();
            found.push(format!(
                "{path}: element {i}: associative list with keys has an element that omits all keys [{}] (and doesn't have default values for any keys)",
                keys.join(" ")
            ));
            continue;
        };
        element::display(&step, path);
        if let Some(element) = shape.element() {
            walk(item, element, path, found);
        }
        let step_text = path.split_off(length);
        if !seen.insert(step) {
            found.push(format!("{path}: duplicate entries for key {step_text}"));
        }
    }
}
