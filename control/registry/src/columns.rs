//! Columns and cells of server-side tables.

use api::{meta, time};
use jiff::Timestamp;
use serde_json::Value;

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, ...; `type` on the wire.
    pub kind: &'static str,
    /// `name` marks the column that names the object; else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// Columns above 0 show with `-o wide` only.
    pub priority: i32,
}

/// The object's name.
pub const NAME: Column =
    Column { name: "Name", kind: "string", format: "name", description: "Name of the object", priority: 0 };
/// Time since the object was created.
pub const AGE: Column =
    Column { name: "Age", kind: "string", format: "", description: "Time since creation", priority: 0 };

/// A column of texts that always shows.
#[must_use]
pub const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", description, priority: 0 }
}

/// A column of numbers that always shows.
#[must_use]
pub const fn number(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "integer", format: "", description, priority: 0 }
}

/// A column of texts that shows with `-o wide`.
#[must_use]
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", description, priority: 1 }
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
