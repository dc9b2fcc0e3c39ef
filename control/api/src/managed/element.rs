//! Steps of a field path as FieldsV1 writes them: `f:` a field, `k:` a list element by its keys, `v:` one by its
//! value, `i:` one by its place.

use serde_json::Value;
use std::fmt::Write;

use crate::shape::{Form, ListKey, Shape};

pub(super) fn field(name: &str) -> String {
    let mut step = String::with_capacity(name.len() + 2);
    step.push_str("f:");
    step.push_str(name);
    step
}

/// The step to an element of a set or of a list with keys; `None` for one without any of the keys.
pub(super) fn item(shape: &dyn Shape, item: &Value) -> Option<String> {
    match shape.form() {
        Form::Set => Some(format!("v:{item}")),
        Form::Keyed => keyed(shape.keys(), item),
        Form::Scalar | Form::Atomic | Form::Struct | Form::Map | Form::Deduced => None,
    }
}

fn keyed(keys: &[ListKey], item: &Value) -> Option<String> {
    let mut sorted: Vec<&ListKey>;
    let keys: &mut dyn Iterator<Item = &ListKey> = if keys.is_sorted_by(|a, b| a.name <= b.name) {
        &mut keys.iter()
    } else {
        sorted = keys.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        &mut sorted.into_iter()
    };
    let mut step = String::with_capacity(32);
    step.push_str("k:{");
    for key in keys {
        let given = item.get(&*key.name).filter(|value| !value.is_null());
        let Some(value) = given.or(key.default.as_ref()) else { continue };
        let comma = if step.ends_with('{') { "" } else { "," };
        let _ = write!(step, "{comma}{}:{value}", Value::String(key.name.to_string()));
    }
    step.push('}');
    (step.len() > "k:{}".len()).then_some(step)
}

/// One form for steps that mean the same; `None` for what is no step.
pub(super) fn canonical(step: &str) -> Option<String> {
    match step.get(..2)? {
        "f:" => Some(step.to_owned()),
        "i:" => step[2..].parse::<i64>().ok().map(|index| format!("i:{index}")),
        prefix @ ("k:" | "v:") => {
            let value: Value = serde_json::from_str(&step[2..]).ok()?;
            (prefix == "v:" || value.is_object()).then(|| format!("{prefix}{value}"))
        }
        _ => None,
    }
}

/// Whether a step is in that form already.
pub(super) fn is_canonical(step: &str) -> bool {
    step.starts_with("f:") || canonical(step).is_some_and(|form| form == step)
}

/// Appends the step as messages write it: `.name`, `[name="c"]`, `[="x"]`, `[0]`.
pub(super) fn display(step: &str, out: &mut String) {
    let (kind, rest) = step.split_at_checked(2).unwrap_or(("", step));
    let _ = match kind {
        "k:" => {
            let keys: Value = serde_json::from_str(rest).unwrap_or_default();
            let pairs = keys.as_object().into_iter().flatten();
            let texts: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
            write!(out, "[{}]", texts.join(","))
        }
        "v:" => write!(out, "[={rest}]"),
        "i:" => write!(out, "[{rest}]"),
        _ => write!(out, ".{rest}"),
    };
}
