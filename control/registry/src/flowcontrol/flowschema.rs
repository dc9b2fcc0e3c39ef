//! FlowSchemas.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, text as column};
use crate::validate::forms::{invalid, path_segment};
use crate::validate::names;
use crate::value::{flag, has, items, number as int, set_default, text};

/// Strategy of FlowSchemas.
pub struct FlowSchema;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("PriorityLevel", "Where the requests go"),
    count("MatchingPrecedence", "Lower ones are asked first"),
    column("DistinguisherMethod", "What tells flows apart"),
    AGE,
    column("MissingPL", "Whether the priority level is missing"),
];

const MAX_PRECEDENCE: i64 = 10_000;
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

impl Strategy for FlowSchema {
    fn default(&self, schema: &mut Value) {
        if let Some(spec) = schema.get_mut("spec").filter(|s| s.is_object()) {
            set_default(spec, "matchingPrecedence", 1000);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, schema: &Value) -> Vec<FieldError> {
        let spec = &schema["spec"];
        let mut errors = Vec::new();
        let precedence = int(spec, "matchingPrecedence").unwrap_or(0);
        if precedence <= 0 {
            let what = "must be a positive value";
            errors.push(FieldError::invalid("spec.matchingPrecedence", precedence, what));
        }
        if precedence > MAX_PRECEDENCE {
            let what = format!("must not be greater than {MAX_PRECEDENCE}");
            errors.push(FieldError::invalid("spec.matchingPrecedence", precedence, what));
        }
        if precedence == 1 && meta::name(schema) != "exempt" {
            let what = "only the schema named 'exempt' may have matchingPrecedence 1";
            errors.push(FieldError::invalid("spec.matchingPrecedence", precedence, what));
        }
        if has(spec, "distinguisherMethod") {
            let kind = text(&spec["distinguisherMethod"], "type");
            if !matches!(kind, "ByUser" | "ByNamespace") {
                let kinds = ["ByNamespace", "ByUser"];
                errors.push(FieldError::not_supported("spec.distinguisherMethod.type", kind, &kinds));
            }
        }
        let level = "spec.priorityLevelConfiguration.name";
        match text(&spec["priorityLevelConfiguration"], "name") {
            "" => errors.push(FieldError::required(level, "must reference a priority level")),
            name => errors.extend(invalid(level, name, path_segment(name))),
        }
        for (i, rule) in items(&spec["rules"]).iter().enumerate() {
            errors.extend(rules(rule, &format!("spec.rules[{i}]")));
        }
        errors
    }

    fn row(&self, schema: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &schema["spec"];
        let method = match text(&spec["distinguisherMethod"], "type") {
            "" => "<none>",
            method => method,
        };
        let dangling = items(&schema["status"]["conditions"]).iter().find(|c| text(c, "type") == "Dangling");
        vec![
            meta::name(schema).into(),
            text(&spec["priorityLevelConfiguration"], "name").into(),
            int(spec, "matchingPrecedence").unwrap_or(0).into(),
            method.into(),
            age(schema, now),
            dangling.map_or("?", |c| text(c, "status")).into(),
        ]
    }
}

fn rules(rule: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if items(&rule["subjects"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.subjects"), "subjects must contain at least one value"));
    }
    for (i, one) in items(&rule["subjects"]).iter().enumerate() {
        errors.extend(subject(one, &format!("{path}.subjects[{i}]")));
    }
    if items(&rule["resourceRules"]).is_empty() && items(&rule["nonResourceRules"]).is_empty() {
        let what = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, what));
    }
    for (i, one) in items(&rule["resourceRules"]).iter().enumerate() {
        let path = format!("{path}.resourceRules[{i}]");
        errors.extend(verbs(one, &path));
        for (field, what) in [
            ("apiGroups", "resource rules must supply at least one api group"),
            ("resources", "resource rules must supply at least one resource"),
        ] {
            errors.extend(wildcard_list(one, field, &path, what));
        }
        if items(&one["namespaces"]).is_empty() && !flag(one, "clusterScope") {
            let what = "resource rules that are not cluster scoped must supply at least one namespace";
            errors.push(FieldError::required(format!("{path}.namespaces"), what));
        }
    }
    for (i, one) in items(&rule["nonResourceRules"]).iter().enumerate() {
        let path = format!("{path}.nonResourceRules[{i}]");
        errors.extend(verbs(one, &path));
        let what = "nonResourceURLs must contain at least one value";
        errors.extend(wildcard_list(one, "nonResourceURLs", &path, what));
    }
    errors
}

fn wildcard_list(owner: &Value, field: &str, path: &str, missing: &str) -> Vec<FieldError> {
    let (list, at) = (items(&owner[field]), format!("{path}.{field}"));
    if list.is_empty() {
        return vec![FieldError::required(at, missing)];
    }
    if list.len() > 1 && list.iter().any(|v| v == "*") {
        return vec![FieldError::invalid(at, owner[field].clone(), "if '*' is present, must not specify others")];
    }
    Vec::new()
}

fn verbs(owner: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = wildcard_list(owner, "verbs", path, "verbs must contain at least one value");
    let unknown: Vec<&str> =
        items(&owner["verbs"]).iter().filter_map(Value::as_str).filter(|v| *v != "*" && !VERBS.contains(v)).collect();
    if has(owner, "resources") && !unknown.is_empty() {
        errors.push(FieldError::not_supported(format!("{path}.verbs"), owner["verbs"].clone(), &VERBS));
    }
    errors
}

fn subject(subject: &Value, path: &str) -> Vec<FieldError> {
    let kind = text(subject, "kind");
    let (field, name) = match kind {
        "User" => ("user", "name"),
        "Group" => ("group", "name"),
        "ServiceAccount" => ("serviceAccount", "name"),
        other => {
            let kinds = ["Group", "ServiceAccount", "User"];
            return vec![FieldError::not_supported(format!("{path}.kind"), other, &kinds)];
        }
    };
    let mut errors = Vec::new();
    for other in ["user", "group", "serviceAccount"].into_iter().filter(|o| *o != field) {
        if has(subject, other) {
            let what = format!("{other} is forbidden when subject kind is not {kind:?}");
            errors.push(FieldError::forbidden(format!("{path}.{other}"), what));
        }
    }
    if !has(subject, field) {
        let what = format!("{field} is required when subject kind is {kind:?}");
        errors.push(FieldError::required(format!("{path}.{field}"), what));
        return errors;
    }
    let named = text(&subject[field], name);
    if named.is_empty() {
        errors.push(FieldError::required(format!("{path}.{field}.name"), ""));
    }
    if field == "serviceAccount" {
        if !named.is_empty() && named != "*" {
            errors.extend(invalid(&format!("{path}.{field}.name"), named, names::dns_subdomain(named)));
        }
        let namespace = text(&subject[field], "namespace");
        if namespace.is_empty() {
            let what = "must specify namespace for service account";
            errors.push(FieldError::required(format!("{path}.{field}.namespace"), what));
        } else {
            errors.extend(invalid(&format!("{path}.{field}.namespace"), namespace, names::dns_label(namespace)));
        }
    }
    errors
}
