//! Validation of values by a schema, with the wording of Kubernetes.

use api::FieldError;
use serde_json::Value;

use super::schema::{Additional, Bounds, Props};

mod format;
mod lists;
mod number;
#[cfg(test)]
mod tests;

pub use lists::{correlated, embedded, list_types};

/// Errors told; more say nothing new.
const MAX_ERRORS: usize = 256;

/// Checks a value, and on updates (`old` is what it was) only what changed: values that were invalid before and did
/// not change stay allowed.
#[must_use]
pub fn validate(schema: &Props, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut walk = Walk { errors: Vec::new() };
    walk.node(schema, value, old, &mut String::new());
    walk.errors.truncate(MAX_ERRORS);
    walk.errors
}

/// Checks a value at a path, as a default is checked.
#[must_use]
pub fn validate_at(schema: &Props, value: &Value, path: &str) -> Vec<FieldError> {
    let mut walk = Walk { errors: Vec::new() };
    walk.node(schema, value, None, &mut path.to_owned());
    walk.errors
}

struct Walk {
    errors: Vec<FieldError>,
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "\"\"" } else { path }
}

/// The path a field error carries; the root has none.
fn located(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}

impl Walk {
    fn invalid(&mut self, path: &str, value: impl Into<Value>, what: impl std::fmt::Display) {
        self.errors.push(FieldError::invalid(located(path), value, format!("{} in body {what}", shown(path))));
    }

    fn wrong_type(&mut self, path: &str, expected: &str, found: &str) {
        self.errors.push(FieldError::type_invalid(
            located(path),
            found,
            format!("{} in body must be of type {expected}: {found:?}", shown(path)),
        ));
    }

    fn composite(&mut self, path: &str, what: impl std::fmt::Display) {
        self.errors.push(FieldError::invalid("<nil>", "", format!("{path:?} must {what}")));
    }

    fn node(&mut self, schema: &Props, value: &Value, old: Option<&Value>, path: &mut String) {
        if self.errors.len() >= MAX_ERRORS || old == Some(value) {
            return;
        }
        self.kind(schema, value, path);
        if value.is_null() {
            if !schema.nullable {
                self.choice(&schema.bounds, value, path);
            }
            return;
        }
        self.junctors(&schema.bounds, value, old, path);
        match value {
            Value::String(text) => self.text(schema, text, path),
            Value::Number(number) => self.number(schema, number, path),
            Value::Array(items) => self.list(schema, items, old, path),
            Value::Object(_) | Value::Bool(_) | Value::Null => {}
        }
        self.choice(&schema.bounds, value, path);
        if let Value::Object(map) = value {
            self.object(schema, map, old, path);
        }
    }

    fn kind(&mut self, schema: &Props, value: &Value, path: &str) {
        let expected = if schema.int_or_string { "integer,string" } else { schema.kind.as_str() };
        if expected.is_empty() || (value.is_null() && schema.nullable) {
            return;
        }
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number::is_integer(number) => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let fits = expected == found
            || (expected == "number" && found == "integer")
            || (schema.int_or_string && matches!(found, "integer" | "string"));
        if !fits {
            self.wrong_type(path, expected, found);
        }
    }

    fn choice(&mut self, bounds: &Bounds, value: &Value, path: &str) {
        let choices = &bounds.one_of_values;
        if choices.is_empty() || choices.iter().any(|choice| number::equal(choice, value)) {
            return;
        }
        let texts: Vec<String> =
            choices.iter().map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned)).collect();
        let refs: Vec<String> = texts.iter().map(|t| format!("{t:?}")).collect();
        let mut error = FieldError::not_supported(located(path), value.clone(), &[]);
        error.detail = format!("supported values: {}", refs.join(", "));
        self.errors.push(error);
    }

    fn junctors(&mut self, bounds: &Bounds, value: &Value, old: Option<&Value>, path: &mut String) {
        if bounds.all_of.is_empty() && bounds.any_of.is_empty() && bounds.one_of.is_empty() && bounds.not.is_none() {
            return;
        }
        let attempt = |schema: &Props, path: &mut String| {
            let mut walk = Walk { errors: Vec::new() };
            walk.node(schema, value, None, path);
            walk.errors
        };
        let _ = old;
        if !bounds.any_of.is_empty() {
            let failures: Vec<_> = bounds.any_of.iter().map(|s| attempt(s, path)).collect();
            if failures.iter().all(|f| !f.is_empty()) {
                self.composite(path, "validate at least one schema (anyOf)");
                self.errors.extend(best(failures));
            }
        }
        if !bounds.one_of.is_empty() {
            let failures: Vec<_> = bounds.one_of.iter().map(|s| attempt(s, path)).collect();
            match failures.iter().filter(|f| f.is_empty()).count() {
                1 => {}
                0 => {
                    self.composite(path, "validate one and only one schema (oneOf). Found none valid");
                    self.errors.extend(best(failures));
                }
                n => self.composite(
                    path,
                    format_args!("validate one and only one schema (oneOf). Found {n} valid alternatives"),
                ),
            }
        }
        if !bounds.all_of.is_empty() {
            let failures: Vec<_> = bounds.all_of.iter().map(|s| attempt(s, path)).collect();
            let valid = failures.iter().filter(|f| f.is_empty()).count();
            if valid < failures.len() {
                let more = if valid == 0 { ". None validated" } else { "" };
                self.composite(path, format_args!("validate all the schemas (allOf){more}"));
                self.errors.extend(failures.into_iter().flatten());
            }
        }
        if let Some(not) = &bounds.not
            && attempt(not, path).is_empty()
        {
            self.composite(path, "not validate the schema (not)");
        }
    }

    fn text(&mut self, schema: &Props, text: &str, path: &str) {
        let bounds = &schema.bounds;
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if let Some(max) = bounds.max_length
            && length > max
        {
            let mut error = FieldError::too_long(located(path), 0);
            error.detail = format!("may not be more than {max} bytes");
            self.errors.push(error);
        }
        if let Some(min) = bounds.min_length
            && length < min
        {
            self.invalid(path, text, format_args!("should be at least {min} chars long"));
        }
        if let Some(pattern) = &bounds.pattern
            && !pattern.matches(text)
        {
            self.invalid(path, text, format_args!("should match '{}'", pattern.text));
        }
        if !schema.format.is_empty() && !format::matches(&schema.format, text) {
            self.errors.push(FieldError::type_invalid(
                located(path),
                text,
                format!("{} in body must be of type {}: {text:?}", shown(path), schema.format),
            ));
        }
    }

    fn number(&mut self, schema: &Props, value: &serde_json::Number, path: &str) {
        let bounds = &schema.bounds;
        let shown_value = Value::Number(value.clone());
        if let Some(kind) = number::out_of_format(&schema.kind, &schema.format, value) {
            self.invalid(path, shown_value.clone(), format_args!("must be of type {kind}"));
        }
        let Some(number) = value.as_f64() else { return };
        let print = number::print;
        if let Some(multiple) = bounds.multiple_of
            && !number::is_multiple(number, multiple)
        {
            self.invalid(path, shown_value.clone(), format_args!("should be a multiple of {}", print(multiple)));
        }
        if let Some(max) = bounds.maximum {
            if bounds.exclusive_maximum && number >= max {
                self.invalid(path, shown_value.clone(), format_args!("should be less than {}", print(max)));
            } else if number > max {
                self.invalid(path, shown_value.clone(), format_args!("should be less than or equal to {}", print(max)));
            }
        }
        if let Some(min) = bounds.minimum {
            if bounds.exclusive_minimum && number <= min {
                self.invalid(path, shown_value, format_args!("should be greater than {}", print(min)));
            } else if number < min {
                self.invalid(path, shown_value, format_args!("should be greater than or equal to {}", print(min)));
            }
        }
    }

    fn list(&mut self, schema: &Props, items: &[Value], old: Option<&Value>, path: &mut String) {
        let bounds = &schema.bounds;
        if let Some(item_schema) = schema.items.as_deref() {
            let before = correlated(schema, items, old);
            for (i, item) in items.iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{i}]"));
                self.node(item_schema, item, before.get(i).copied().flatten(), path);
                path.truncate(length);
            }
        }
        let count = items.len();
        if let Some(min) = bounds.min_items
            && i64::try_from(count).unwrap_or(i64::MAX) < min
        {
            self.invalid(path, count, format_args!("should have at least {min} items"));
        }
        if let Some(max) = bounds.max_items
            && i64::try_from(count).unwrap_or(i64::MAX) > max
        {
            self.errors.push(FieldError::too_many(located(path), count, usize::try_from(max).unwrap_or(0)));
        }
        if bounds.unique_items && lists::first_duplicate(items).is_some() {
            self.invalid(path, "", "shouldn't contain duplicates");
        }
    }

    fn object(&mut self, schema: &Props, map: &serde_json::Map<String, Value>, old: Option<&Value>, path: &mut String) {
        let bounds = &schema.bounds;
        let count = i64::try_from(map.len()).unwrap_or(i64::MAX);
        if let Some(min) = bounds.min_properties
            && count < min
        {
            self.invalid(path, map.len(), format_args!("should have at least {min} properties"));
        }
        if let Some(max) = bounds.max_properties
            && count > max
        {
            self.errors.push(FieldError::too_many(located(path), map.len(), usize::try_from(max).unwrap_or(0)));
        }
        for name in bounds.required.iter().filter(|name| !map.contains_key(*name)) {
            let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.errors.push(FieldError::required(at, ""));
        }
        for (name, value) in map {
            let length = path.len();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            if let Some(schema) = schema.field(name) {
                self.node(schema, value, old.and_then(|old| old.get(name)), path);
            } else if matches!(schema.additional, Additional::Forbidden) {
                self.invalid(path, "", "is a forbidden property");
            }
            path.truncate(length);
        }
    }
}

/// The failures that say most: the fewest, from the first of those.
fn best(failures: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    failures.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

/// Whether a text has a string format.
#[must_use]
pub fn has_format(format: &str, text: &str) -> bool {
    format::matches(format, text)
}
