//! The patch languages: JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch.

pub mod json;
pub mod merge;
pub mod strategic;

use serde_json::Value;

#[cfg(test)]
mod tests;

/// A value as Go prints a map.
#[must_use]
pub fn go_text(value: &Value) -> String {
    let spaced = |parts: Vec<String>| parts.join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", spaced(items.iter().map(go_text).collect())),
        Value::Object(fields) => {
            format!(
                "map[{}]",
                spaced(fields.iter().map(|(name, value)| format!("{name}:{}", go_text(value))).collect())
            )
        }
    }
}
