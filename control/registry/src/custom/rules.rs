//! `x-kubernetes-validations`.

use api::FieldError;
use serde_json::Value;

use super::schema::Props;

/// The steps of `.a.b['c']`; `None` if it is no such path.
#[must_use]
pub fn field_steps(path: &str) -> Option<Vec<String>> {
    let mut steps = Vec::new();
    let mut rest = path.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if end == 0 {
                return None;
            }
            steps.push(after[..end].to_owned());
            rest = &after[end..];
        } else {
            let inner = rest.strip_prefix("['")?;
            let end = inner.find("']")?;
            steps.push(inner[..end].to_owned());
            rest = &inner[end + 2..];
        }
    }
    Some(steps)
}

#[derive(Debug)]
pub struct Compiled {}

impl Compiled {
    pub fn new(_schema: &Props) -> Self {
        Self {}
    }
    pub fn check(&self, _s: &Props, _o: &Value, _old: Option<&Value>, _errors: &mut Vec<FieldError>) {}
}
pub fn check_definition(_schema: &Props, _path: &str) -> Vec<FieldError> {
    Vec::new()
}
