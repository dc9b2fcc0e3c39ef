//! Label and field selectors: the query texts of list and watch, and the JSON form in specs.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

mod fields;
mod labels;
#[cfg(test)]
mod tests;

pub use fields::{FieldSelector, FieldTerm};
pub use labels::{LabelSelector, Operator, Requirement};

/// A selector that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("unable to parse requirement: {0}")]
    Requirement(Unparsable),
    #[error("invalid selector: {text:?}; can't understand {part:?}")]
    FieldTerm { text: String, part: String },
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    #[error("for 'in', 'notin' operators, values set can't be empty")]
    NoValues,
    #[error("values set must be empty for exists and does not exist")]
    NeedlessValues,
    #[error("for 'Gt', 'Lt' operators, exactly one integer value is required")]
    NotAnInteger,
    #[error("{0}")]
    Label(String),
}

/// Where the text of a label selector stops making sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found '{found}', expected: {expected}")]
pub struct Unparsable {
    pub found: String,
    pub expected: &'static str,
}

fn join<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(",")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// `true` if every pair of `wanted` is in `labels` (the selector of a Service).
#[must_use]
pub fn is_subset(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// Texts of a JSON list; anything else is left out.
fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}
