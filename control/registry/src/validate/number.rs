//! Numbers, counts and choices.

use api::{FieldError, IntOrString};
use serde_json::Value;

use super::names;
use crate::value::text;

/// The wording for a number below zero.
pub const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// A number that may not be negative, if it is there.
#[must_use]
pub fn not_negative(owner: &Value, field: &str, path: &str) -> Vec<FieldError> {
    match owner[field].as_i64() {
        Some(n) if n < 0 => vec![FieldError::invalid(format!("{path}.{field}"), n, NOT_NEGATIVE)],
        _ => Vec::new(),
    }
}

/// A text that must be one of several; `required` if an empty one is no answer.
#[must_use]
pub fn one_of(owner: &Value, field: &str, path: &str, choices: &[&str], required: bool) -> Vec<FieldError> {
    let path = format!("{path}.{field}");
    match text(owner, field) {
        "" if required => vec![FieldError::required(path, "")],
        "" => Vec::new(),
        value if choices.contains(&value) => Vec::new(),
        value => vec![FieldError::not_supported(path, value, choices)],
    }
}

/// A port by number or name.
#[must_use]
pub fn port(value: &Value, path: &str) -> Vec<FieldError> {
    let wrong = match IntOrString::from_value(value) {
        Some(IntOrString::Int(n)) => names::port_number(n),
        Some(IntOrString::Str(s)) => names::port_name(&s),
        None => names::port_number(0),
    };
    let shown = if value.is_null() { Value::from(0) } else { value.clone() };
    wrong.into_iter().map(|w| FieldError::invalid(path, shown.clone(), w)).collect()
}

/// A count or a percentage.
#[must_use]
pub fn count_or_percent(value: &Value, path: &str) -> Vec<FieldError> {
    match IntOrString::from_value(value) {
        Some(IntOrString::Int(n)) if n < 0 => vec![FieldError::invalid(path, n, NOT_NEGATIVE)],
        Some(IntOrString::Str(s)) if IntOrString::Str(s.clone()).percent().is_none() => {
            let form = "a valid percent string must be a numeric string followed by an ending '%'";
            vec![FieldError::invalid(path, s, names::regex_text(form, "[0-9]+%", &["1%", "93%"]))]
        }
        _ => Vec::new(),
    }
}

/// A percentage may not exceed everything.
#[must_use]
pub fn at_most_all(value: &Value, path: &str) -> Option<FieldError> {
    let percent = IntOrString::from_value(value)?.percent()?;
    (percent > 100).then(|| FieldError::invalid(path, value.clone(), "must not be greater than 100%"))
}
