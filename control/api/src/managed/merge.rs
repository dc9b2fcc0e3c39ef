//! Merging an applied object into the live one, and taking fields out of an object.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

use super::{
    diff::{Parts, by_step, child_of, element_of, parts},
    element,
    set::{FieldSet, Node, Tree, below, children, is_member},
};
use crate::shape::{Form, Shape};

/// The live value with the applied one over it.
pub(super) fn merge(live: Option<&Value>, applied: &Value, shape: &dyn Shape) -> Value {
    match (parts(live, shape), parts(Some(applied), shape)) {
        (Parts::Fields(live), Parts::Fields(applied)) => Value::Object(merge_fields(live, applied, shape)),
        (Parts::Nothing | Parts::Leaf, Parts::Fields(applied)) => {
            Value::Object(merge_fields(&Map::new(), applied, shape))
        }
        (Parts::Items(live), Parts::Items(applied)) => Value::Array(merge_items(live, applied, shape)),
        _ => applied.clone(),
    }
}

fn merge_fields(live: &Map<String, Value>, applied: &Map<String, Value>, shape: &dyn Shape) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, value) in applied {
        merged.insert(name.clone(), merge(live.get(name), value, child_of(shape, name)));
    }
    merged
}

/// Elements in the order of the applied list; those only in the live one stay between their neighbours.
fn merge_items(live: &[Value], applied: &[Value], shape: &dyn Shape) -> Vec<Value> {
    let (live_by_step, applied_by_step) = (by_step(live, shape), by_step(applied, shape));
    let mut merged = Vec::with_capacity(live.len().max(applied.len()));
    let mut done = BTreeSet::new();
    let mut left = live.iter().map(|item| (element::item(shape, item), item)).peekable();
    let mut right = applied.iter().filter_map(|item| Some((element::item(shape, item)?, item)));
    loop {
        while let Some((step, item)) = left.peek() {
            match step {
                Some(step) if applied_by_step.contains_key(step) => {
                    if !done.contains(step) {
                        break;
                    }
                }
                _ => merged.push((*item).clone()),
            }
            left.next();
        }
        let Some((step, item)) = right.next() else { break };
        if done.insert(step.clone()) {
            merged.push(merge(live_by_step.get(&step).copied(), item, element_of(shape)));
        }
    }
    merged
}

/// Takes out the paths of the set, each with all below it. Maps and lists that lose their last part go too.
pub(super) fn remove(value: &mut Value, set: &FieldSet, shape: &dyn Shape) {
    remove_below(value, &set.0, shape);
}

fn remove_below(value: &mut Value, set: &Tree, shape: &dyn Shape) {
    match (shape.form(), value) {
        (Form::Struct | Form::Map | Form::Deduced, Value::Object(fields)) => {
            fields.retain(|name, value| keep(value, below(set, &element::field(name)), child_of(shape, name)));
        }
        (Form::Set | Form::Keyed, Value::Array(items)) => items.retain_mut(|item| {
            let step = element::item(shape, item);
            keep(item, step.and_then(|step| below(set, &step)), element_of(shape))
        }),
        _ => {}
    }
}

fn keep(value: &mut Value, gone: Option<&Tree>, shape: &dyn Shape) -> bool {
    let Some(gone) = gone else { return true };
    if is_member(gone) {
        return false;
    }
    let was_empty = is_empty(value);
    remove_below(value, gone, shape);
    was_empty || !is_empty(value)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The set with the named fields on the way to its paths: a struct's field has no meaning apart from what is in it.
pub(super) fn with_named(set: &FieldSet, shape: &dyn Shape) -> FieldSet {
    FieldSet(named_below(&set.0, shape).below)
}

fn named_below(set: &Tree, shape: &dyn Shape) -> Node {
    let mut out = Node::default();
    for (step, node) in children(set) {
        let (shape, named) = match step.strip_prefix("f:") {
            Some(name) => (child_of(shape, name), shape.field(name).is_some()),
            None => (element_of(shape), false),
        };
        let below = named_below(node, shape);
        out.put(step, Node { member: named || is_member(node), ..below });
    }
    out
}
