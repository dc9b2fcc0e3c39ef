//! The schema of a custom resource: `JSONSchemaProps` as a tree that pruning, defaulting, validation, rules and
//! patches walk.

use std::borrow::Cow;
use std::collections::BTreeMap;

use api::shape::ListKey;
use regex::Regex;
use serde_json::Value;

mod structural;
#[cfg(test)]
mod tests;

pub use structural::check;

/// One node of a schema. Made by [`Props::parse`], which never fails: what is malformed in a definition is told by
/// [`check`] and has no meaning here.
#[derive(Debug, Clone, Default)]
pub struct Props {
    /// `object`, `array`, `string`, `integer`, `number`, `boolean`, or empty.
    pub kind: String,
    pub format: String,
    pub nullable: bool,
    pub default: Option<Value>,
    pub properties: BTreeMap<String, Props>,
    pub additional: Additional,
    pub items: Option<Box<Props>>,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-list-type`: `atomic`, `set`, `map`, or empty.
    pub list_type: String,
    /// `x-kubernetes-list-map-keys`.
    pub map_keys: Vec<String>,
    /// The same keys with the defaults that elements take.
    pub keys: Vec<ListKey>,
    /// The schema of a whole object.
    pub is_root: bool,
    /// `x-kubernetes-map-type`: `granular`, `atomic`, or empty.
    pub map_type: String,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    pub bounds: Bounds,
}

/// `additionalProperties`.
#[derive(Debug, Clone, Default)]
pub enum Additional {
    #[default]
    Absent,
    Any,
    Forbidden,
    Schema(Box<Props>),
}

/// What a value may be, beyond its type.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Vec<String>,
    pub one_of_values: Vec<Value>,
    pub all_of: Vec<Props>,
    pub any_of: Vec<Props>,
    pub one_of: Vec<Props>,
    pub not: Option<Box<Props>>,
}

/// A regular expression; one that does not compile matches everything (its definition was refused).
#[derive(Debug, Clone)]
pub struct Pattern {
    pub text: String,
    regex: Option<Regex>,
}

/// One of `x-kubernetes-validations`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: String,
    pub field_path: String,
    pub optional_old_self: bool,
}

/// Memory a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// Compiles a regular expression within bounds.
pub fn regex(text: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build()
}

impl Pattern {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), regex: regex(text).ok() }
    }

    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.regex.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

impl Props {
    /// Reads the `JSONSchemaProps` of a whole object.
    #[must_use]
    pub fn root(value: &Value) -> Self {
        Self { is_root: true, ..Self::parse(value) }
    }

    /// Reads `JSONSchemaProps`.
    #[must_use]
    pub fn parse(value: &Value) -> Self {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let flag = |field: &str| value[field].as_bool().unwrap_or(false);
        Self {
            kind: text("type"),
            format: text("format"),
            nullable: flag("nullable"),
            default: value.get("default").filter(|v| !v.is_null()).cloned(),
            properties: object(&value["properties"]),
            additional: match &value["additionalProperties"] {
                Value::Bool(true) => Additional::Any,
                Value::Bool(false) => Additional::Forbidden,
                schema @ Value::Object(_) => Additional::Schema(Box::new(Self::parse(schema))),
                _ => Additional::Absent,
            },
            items: one(&value["items"]),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list_type: text("x-kubernetes-list-type"),
            map_keys: texts(&value["x-kubernetes-list-map-keys"]),
            keys: texts(&value["x-kubernetes-list-map-keys"])
                .into_iter()
                .map(|key| ListKey {
                    default: value["items"]["properties"][&key].get("default").cloned(),
                    name: Cow::Owned(key),
                })
                .collect(),
            is_root: false,
            map_type: text("x-kubernetes-map-type"),
            rules: value["x-kubernetes-validations"].as_array().into_iter().flatten().map(Rule::parse).collect(),
            bounds: Bounds::parse(value),
        }
    }

    /// The schema of a field, named or additional.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Props> {
        self.properties.get(name).or(match &self.additional {
            Additional::Schema(schema) => Some(schema),
            Additional::Absent | Additional::Any | Additional::Forbidden => None,
        })
    }

    /// Whether a list's elements are told apart by keys.
    #[must_use]
    pub fn is_map_list(&self) -> bool {
        self.list_type == "map"
    }

    /// Whether any node has rules.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty() || self.children().any(Props::has_rules)
    }

    /// Whether any node has a default.
    #[must_use]
    pub fn has_defaults(&self) -> bool {
        self.default.is_some() || self.children().any(Props::has_defaults)
    }

    fn children(&self) -> impl Iterator<Item = &Props> {
        let additional = match &self.additional {
            Additional::Schema(schema) => Some(&**schema),
            Additional::Absent | Additional::Any | Additional::Forbidden => None,
        };
        self.properties.values().chain(additional).chain(self.items.as_deref())
    }
}

impl Bounds {
    fn parse(value: &Value) -> Self {
        let flag = |field: &str| value[field].as_bool().unwrap_or(false);
        let many = |field: &str| value[field].as_array().into_iter().flatten().map(Props::parse).collect();
        Self {
            maximum: value["maximum"].as_f64(),
            exclusive_maximum: flag("exclusiveMaximum"),
            minimum: value["minimum"].as_f64(),
            exclusive_minimum: flag("exclusiveMinimum"),
            multiple_of: value["multipleOf"].as_f64().filter(|m| *m != 0.0),
            max_length: value["maxLength"].as_i64(),
            min_length: value["minLength"].as_i64(),
            pattern: value["pattern"].as_str().filter(|p| !p.is_empty()).map(Pattern::new),
            max_items: value["maxItems"].as_i64(),
            min_items: value["minItems"].as_i64(),
            unique_items: flag("uniqueItems"),
            max_properties: value["maxProperties"].as_i64(),
            min_properties: value["minProperties"].as_i64(),
            required: texts(&value["required"]),
            one_of_values: value["enum"].as_array().cloned().unwrap_or_default(),
            all_of: many("allOf"),
            any_of: many("anyOf"),
            one_of: many("oneOf"),
            not: one(&value["not"]),
        }
    }
}

impl Rule {
    fn parse(value: &Value) -> Self {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        Self {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old_self: value["optionalOldSelf"].as_bool().unwrap_or(false),
        }
    }
}

fn object(value: &Value) -> BTreeMap<String, Props> {
    value.as_object().into_iter().flatten().map(|(name, schema)| (name.clone(), Props::parse(schema))).collect()
}

fn one(value: &Value) -> Option<Box<Props>> {
    value.is_object().then(|| Box::new(Props::parse(value)))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
