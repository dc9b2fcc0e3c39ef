//! `x-kubernetes-validations`: rules compiled with the schema, checked where their node has a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{FieldError, FieldErrorKind};
use serde_json::Value;

use super::schema::{Additional, Props, Rule};
use super::validate::correlated;
use crate::cel::{self, Budget, EvalError, OBJECT_BUDGET, Program, Type, Val, Variables};

/// Static limits of Kubernetes: of one rule, and of all rules of a schema.
const RULE_COST: u64 = 10_000_000;
const SCHEMA_COST: u64 = 100_000_000;
const TRY: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";

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

/// The rules of a schema, by their texts and the node they stand at: a tree as the schema is one.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    own: Vec<Arc<Ready>>,
    properties: BTreeMap<String, Compiled>,
    additional: Option<Box<Compiled>>,
    items: Option<Box<Compiled>>,
}

#[derive(Debug)]
struct Ready {
    rule: Rule,
    program: Program,
    message: Option<Program>,
    /// Compares with what was: checked on updates only, and even where nothing changed.
    is_transition: bool,
}

fn variables(schema: &Props, rule: &Rule) -> Vec<(&'static str, Type)> {
    let kind = Type::of(schema);
    let old = if rule.optional_old_self { Type::Optional(kind.clone().into()) } else { kind.clone() };
    vec![("self", kind), ("oldSelf", old)]
}

impl Compiled {
    /// Compiles what compiles: a definition with other rules was refused.
    #[must_use]
    pub fn new(schema: &Props) -> Self {
        if !schema.has_rules() {
            return Self::default();
        }
        let own = schema.rules.iter().filter_map(|rule| {
            let names = variables(schema, rule);
            let program = cel::compile(&rule.rule, &names).ok()?;
            let message = Some(&rule.message_expression).filter(|m| !m.is_empty());
            Some(Arc::new(Ready {
                is_transition: program.uses("oldSelf"),
                message: message.and_then(|text| cel::compile(text, &names).ok()),
                program,
                rule: rule.clone(),
            }))
        });
        Self {
            own: own.collect(),
            properties: schema
                .properties
                .iter()
                .filter(|(_, schema)| schema.has_rules())
                .map(|(name, schema)| (name.clone(), Self::new(schema)))
                .collect(),
            additional: match &schema.additional {
                Additional::Schema(inner) if inner.has_rules() => Some(Box::new(Self::new(inner))),
                _ => None,
            },
            items: schema.items.as_deref().filter(|s| s.has_rules()).map(|s| Box::new(Self::new(s))),
        }
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.properties.is_empty() && self.additional.is_none() && self.items.is_none()
    }

    /// Checks an object and appends to the errors found before, some of which keep rules from being checked.
    pub fn check(&self, schema: &Props, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
        if self.is_empty() {
            return;
        }
        let blocks = |error: &FieldError| {
            matches!(
                error.kind,
                FieldErrorKind::NotSupported
                    | FieldErrorKind::Required
                    | FieldErrorKind::TooLong
                    | FieldErrorKind::TooMany
                    | FieldErrorKind::TypeInvalid
            )
        };
        if errors.iter().any(blocks) {
            let what = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError {
                kind: FieldErrorKind::Invalid,
                field: "<nil>".to_owned(),
                value: None,
                detail: format!("null: {what}"),
            });
            return;
        }
        let mut budget = Budget::new(OBJECT_BUDGET);
        self.node(schema, object, old, &mut String::new(), &mut budget, errors);
    }

    /// False once the budget is spent.
    fn node(
        &self,
        schema: &Props,
        value: &Value,
        old: Option<&Value>,
        path: &mut String,
        budget: &mut Budget,
        errors: &mut Vec<FieldError>,
    ) -> bool {
        if !self.own.is_empty() && !value.is_null() {
            let this = cel::typed(schema, value);
            let before = old.map(|old| cel::typed(schema, old));
            for ready in &self.own {
                if !ready.is_transition && old == Some(value) {
                    continue;
                }
                if !ready.check(schema, &this, before.as_ref(), path, budget, errors) {
                    return false;
                }
            }
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let (Some(schema), Some(rules)) = (
                        schema.field(name),
                        self.properties.get(name).or(if schema.properties.contains_key(name) {
                            None
                        } else {
                            self.additional.as_deref()
                        }),
                    ) else {
                        continue;
                    };
                    let length = path.len();
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(name);
                    let goes_on = rules.node(schema, value, old.and_then(|old| old.get(name)), path, budget, errors);
                    path.truncate(length);
                    if !goes_on {
                        return false;
                    }
                }
            }
            Value::Array(list) => {
                let (Some(item_schema), Some(rules)) = (schema.items.as_deref(), self.items.as_deref()) else {
                    return true;
                };
                let before = correlated(schema, list, old);
                for (i, item) in list.iter().enumerate() {
                    let length = path.len();
                    path.push_str(&format!("[{i}]"));
                    let goes_on = rules.node(item_schema, item, before.get(i).copied().flatten(), path, budget, errors);
                    path.truncate(length);
                    if !goes_on {
                        return false;
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        true
    }
}

impl Ready {
    fn check(
        &self,
        schema: &Props,
        this: &Val,
        before: Option<&Val>,
        path: &str,
        budget: &mut Budget,
        errors: &mut Vec<FieldError>,
    ) -> bool {
        let mut names = Variables::from([("self", this.clone())]);
        match (self.is_transition, self.rule.optional_old_self, before) {
            (false, _, _) => {}
            (true, true, before) => {
                names.insert("oldSelf", Val::Optional(before.map(|old| old.clone().into())));
            }
            (true, false, Some(old)) => {
                names.insert("oldSelf", old.clone());
            }
            (true, false, None) => return true,
        }
        let field = if path.is_empty() { "<nil>" } else { path };
        let kind = if schema.int_or_string { "" } else { schema.kind.as_str() };
        let shown = || if self.rule.message.is_empty() { self.rule.rule.trim() } else { self.rule.message.trim() };
        match self.program.evaluate(&names, budget) {
            Ok(Val::Bool(true)) => true,
            Ok(Val::Bool(false)) => {
                errors.push(self.error(field, kind, &names, budget));
                true
            }
            Ok(_) => true,
            Err(EvalError::Cost) if budget.is_spent() => {
                let what =
                    "validation failed due to running out of cost budget, no further validation rules will be run";
                errors.push(FieldError::invalid(field, kind, what));
                false
            }
            Err(error @ EvalError::Cost) => {
                let what = format!(
                    "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                    shown()
                );
                errors.push(FieldError::invalid(field, kind, what));
                false
            }
            Err(error @ EvalError::Overload) => {
                let what = format!(
                    "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                    shown()
                );
                errors.push(FieldError::invalid(field, kind, what));
                true
            }
            Err(error) => {
                errors.push(FieldError::invalid(field, kind, format!("{error} evaluating rule: {}", shown())));
                true
            }
        }
    }

    fn error(&self, field: &str, kind: &str, names: &Variables<'_>, budget: &mut Budget) -> FieldError {
        let made = self.message.as_ref().and_then(|program| program.evaluate(names, budget).ok());
        let made = match made {
            Some(Val::Str(text)) if !text.trim().is_empty() && !text.trim().contains('\n') => {
                Some(text.trim().to_owned())
            }
            _ => None,
        };
        let message = made.unwrap_or_else(|| match self.rule.message.trim() {
            "" => format!("failed rule: {}", self.rule.rule.trim()),
            own => own.to_owned(),
        });
        let mut field = field.to_owned();
        for step in field_steps(&self.rule.field_path).unwrap_or_default() {
            field = if field == "<nil>" { step } else { format!("{field}.{step}") };
        }
        match self.rule.reason.as_str() {
            "FieldValueForbidden" => FieldError::forbidden(field, message),
            "FieldValueRequired" => FieldError::required(field, message),
            "FieldValueDuplicate" => FieldError { detail: message, ..FieldError::duplicate(field, kind) },
            _ => FieldError::invalid(field, kind, message),
        }
    }
}

/// Checks the rules of a definition: that they compile, and that they cannot cost too much.
#[must_use]
pub fn check_definition(schema: &Props, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut total = 0;
    definition_node(schema, path, 1, &mut total, &mut errors);
    if total > SCHEMA_COST {
        let what = format!(
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of {} {TRY}",
            factor(total, SCHEMA_COST)
        );
        errors.push(FieldError::forbidden(path, what));
    }
    errors
}

fn factor(cost: u64, limit: u64) -> String {
    let tenths = cost.saturating_mul(10) / limit;
    if tenths > 1_000 { "more than 100x".to_owned() } else { format!("{}.{}x", tenths / 10, tenths % 10) }
}

fn definition_node(schema: &Props, path: &str, times: u64, total: &mut u64, errors: &mut Vec<FieldError>) {
    for (i, rule) in schema.rules.iter().enumerate() {
        let path = format!("{path}.x-kubernetes-validations[{i}]");
        let names = variables(schema, rule);
        match cel::compile(&rule.rule, &names) {
            Err(error) => {
                errors.push(FieldError::invalid(
                    format!("{path}.rule"),
                    rule.rule.as_str(),
                    format!("compilation failed: {error}"),
                ));
            }
            Ok(program) if !program.kind.is_bool() => {
                errors.push(FieldError::invalid(
                    format!("{path}.rule"),
                    rule.rule.as_str(),
                    "cel expression must evaluate to a bool",
                ));
            }
            Ok(program) => {
                if rule.optional_old_self && !program.uses("oldSelf") {
                    errors.push(FieldError::invalid(
                        format!("{path}.optionalOldSelf"),
                        true,
                        "may not be set if oldSelf is not used in rule",
                    ));
                }
                let cost = program.cost.saturating_mul(times);
                *total = total.saturating_add(cost);
                if cost > RULE_COST {
                    let what =
                        format!("estimated rule cost exceeds budget by factor of {} {TRY}", factor(cost, RULE_COST));
                    errors.push(FieldError::forbidden(format!("{path}.rule"), what));
                }
            }
        }
        if !rule.message_expression.trim().is_empty() {
            let what = match cel::compile(&rule.message_expression, &names) {
                Err(error) => Some(format!("messageExpression compilation failed: {error}")),
                Ok(program) if !program.kind.is_text() => {
                    Some("messageExpression must evaluate to a string".to_owned())
                }
                Ok(_) => None,
            };
            errors.extend(what.map(|what| {
                FieldError::invalid(format!("{path}.messageExpression"), rule.message_expression.as_str(), what)
            }));
        }
    }
    let below = match Type::of(schema) {
        Type::List(_, size) | Type::Map(_, size) => times.saturating_mul(size.max(1)),
        _ => times,
    };
    for (name, property) in &schema.properties {
        definition_node(property, &format!("{path}.properties[{name}]"), below, total, errors);
    }
    if let Some(items) = &schema.items {
        definition_node(items, &format!("{path}.items"), below, total, errors);
    }
    if let Additional::Schema(additional) = &schema.additional {
        definition_node(additional, &format!("{path}.additionalProperties"), below, total, errors);
    }
}
