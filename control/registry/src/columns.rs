//! Columns and cells of server-side tables.

use std::borrow::Cow;

use api::{meta, time};
use jiff::Timestamp;
use serde_json::Value;

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, ...; `type` on the wire.
    pub kind: Cow<'static, str>,
    /// `name` marks the column that names the object; else empty.
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    /// Columns above 0 show with `-o wide` only.
    pub priority: i32,
}

/// The object's name.
pub const NAME: Column = column("Name", "string", "name", "Name of the object", 0);
/// Time since the object was created.
pub const AGE: Column = column("Age", "string", "", "Time since creation", 0);

/// A column in full: see the fields of [`Column`].
#[must_use]
pub const fn column(
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
) -> Column {
    Column {
        name: Cow::Borrowed(name),
        kind: Cow::Borrowed(kind),
        format: Cow::Borrowed(format),
        description: Cow::Borrowed(description),
        priority,
    }
}

/// A column of texts that always shows.
#[must_use]
pub const fn text(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 0)
}

/// A column of numbers that always shows.
#[must_use]
pub const fn number(name: &'static str, description: &'static str) -> Column {
    column(name, "integer", "", description, 0)
}

/// A column of texts that shows with `-o wide`.
#[must_use]
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 1)
}

/// Age cell.
#[must_use]
pub fn age(object: &Value, now: Timestamp) -> Value {
    time::age(meta::creation_timestamp(object), now).into()
}

/// Labels as `a=b,c=d`, or `<none>`.
#[must_use]
pub fn labels(map: &Value) -> String {
    let pairs: Vec<String> = meta::string_map(map).into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    or_none(pairs.join(","))
}

/// A label selector as text, or `<none>`.
#[must_use]
pub fn selector(selector: &Value) -> String {
    or_none(api::LabelSelector::from_json(selector).map(|s| s.to_string()).unwrap_or_default())
}

/// The text, or `<none>` if it is empty.
#[must_use]
pub fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// When the object was created; kinds without columns of their own show this.
pub const CREATED: Column = column("Created At", "date", "", "When it was created", 0);

/// The row of kinds without columns of their own.
#[must_use]
pub fn created_row(object: &Value) -> Vec<Value> {
    vec![meta::name(object).into(), meta::creation_timestamp(object).map_or(Value::Null, Value::from)]
}
