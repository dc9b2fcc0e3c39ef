//! Short ways to read and default fields of JSON values.

use serde_json::{Map, Value};

/// The text at a field, empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The number at a field, if there is one.
pub(crate) fn number(value: &Value, field: &str) -> Option<i64> {
    value[field].as_i64()
}

/// The flag at a field, false if there is none.
pub(crate) fn flag(value: &Value, field: &str) -> bool {
    value[field].as_bool().unwrap_or(false)
}

/// The items of a list, none if there is no list.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The items of a list to change.
pub(crate) fn items_mut<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Sets a field that is absent, null or an empty text.
pub(crate) fn set_default(value: &mut Value, field: &str, default: impl Into<Value>) {
    if let Some(map) = value.as_object_mut()
        && is_unset(map.get(field))
    {
        map.insert(field.to_owned(), default.into());
    }
}

/// Sets a field.
pub(crate) fn set(value: &mut Value, field: &str, to: impl Into<Value>) {
    api::meta::object_mut(value).insert(field.to_owned(), to.into());
}

/// Removes a field.
pub(crate) fn remove(value: &mut Value, field: &str) -> Option<Value> {
    value.as_object_mut()?.remove(field)
}

fn is_unset(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(_) => false,
    }
}

/// Whether a field is there (null counts as absent).
pub(crate) fn has(value: &Value, field: &str) -> bool {
    !value[field].is_null()
}

/// The entries of an object, none if it is no object.
pub(crate) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&EMPTY).iter()
}
