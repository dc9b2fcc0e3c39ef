//! MutatingWebhookConfigurations and ValidatingWebhookConfigurations.

use std::collections::BTreeSet;

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::rules;
use crate::Strategy;
use crate::cel;
use crate::columns::{AGE, Column, NAME, age, number as column};
use crate::validate::forms::{fully_qualified, invalid};
use crate::validate::{labels, names};
use crate::value::{has, items, items_mut, number as int, set_default, text};

/// Strategy of MutatingWebhookConfigurations.
pub struct Mutating;
/// Strategy of ValidatingWebhookConfigurations.
pub struct Validating;

pub const COLUMNS: &[Column] = &[NAME, column("Webhooks", "Number of webhooks"), AGE];

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const MAX_SECONDS: i64 = 30;
const URL_FORM: &str = "desired format: https://host[/path]";

impl Strategy for Mutating {
    fn default(&self, configuration: &mut Value) {
        for webhook in items_mut(configuration, "webhooks") {
            default(webhook);
            set_default(webhook, "reinvocationPolicy", "Never");
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn spec_changed(&self, new: &Value, old: &Value) -> bool {
        new["webhooks"] != old["webhooks"]
    }

    fn validate(&self, configuration: &Value) -> Vec<FieldError> {
        let mut errors = validate(configuration);
        for (i, webhook) in items(&configuration["webhooks"]).iter().enumerate() {
            let path = format!("webhooks[{i}]");
            errors.extend(rules::choice(webhook, "reinvocationPolicy", &path, &["IfNeeded", "Never"]));
        }
        errors
    }

    fn row(&self, configuration: &Value, now: Timestamp) -> Vec<Value> {
        row(configuration, now)
    }
}

impl Strategy for Validating {
    fn default(&self, configuration: &mut Value) {
        items_mut(configuration, "webhooks").for_each(default);
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn spec_changed(&self, new: &Value, old: &Value) -> bool {
        new["webhooks"] != old["webhooks"]
    }

    fn validate(&self, configuration: &Value) -> Vec<FieldError> {
        validate(configuration)
    }

    fn row(&self, configuration: &Value, now: Timestamp) -> Vec<Value> {
        row(configuration, now)
    }
}

fn row(configuration: &Value, now: Timestamp) -> Vec<Value> {
    let count = items(&configuration["webhooks"]).len();
    vec![meta::name(configuration).into(), count.into(), age(configuration, now)]
}

fn default(webhook: &mut Value) {
    set_default(webhook, "failurePolicy", "Fail");
    set_default(webhook, "matchPolicy", "Equivalent");
    set_default(webhook, "namespaceSelector", json!({}));
    set_default(webhook, "objectSelector", json!({}));
    set_default(webhook, "timeoutSeconds", 10);
    if let Some(service) = webhook.get_mut("clientConfig").and_then(|c| c.get_mut("service")) {
        set_default(service, "port", 443);
    }
    rules::default_rules(webhook, "rules");
}

fn validate(configuration: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, webhook) in items(&configuration["webhooks"]).iter().enumerate() {
        let path = format!("webhooks[{i}]");
        errors.extend(check(webhook, &path));
        let name = text(webhook, "name");
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
    }
    errors
}

fn check(webhook: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = review_versions(webhook, &format!("{path}.admissionReviewVersions"));
    errors.extend(fully_qualified(text(webhook, "name"), &format!("{path}.name")));
    for (i, rule) in items(&webhook["rules"]).iter().enumerate() {
        errors.extend(rules::rule(rule, &format!("{path}.rules[{i}]")));
    }
    errors.extend(rules::choice(webhook, "failurePolicy", path, &["Fail", "Ignore"]));
    errors.extend(rules::choice(webhook, "matchPolicy", path, &["Equivalent", "Exact"]));
    let effects = ["None", "NoneOnDryRun"];
    if has(webhook, "sideEffects") {
        errors.extend(rules::choice(webhook, "sideEffects", path, &effects));
    } else {
        let what = format!("must specify one of {}", effects.join(", "));
        errors.push(FieldError::required(format!("{path}.sideEffects"), what));
    }
    if let Some(seconds) = int(webhook, "timeoutSeconds").filter(|s| !(1..=MAX_SECONDS).contains(s)) {
        let what = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(format!("{path}.timeoutSeconds"), seconds, what));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        errors.extend(labels::selector(&webhook[field], &format!("{path}.{field}")));
    }
    errors.extend(client_config(&webhook["clientConfig"], &format!("{path}.clientConfig")));
    errors.extend(rules::match_conditions(webhook, path));
    for (i, condition) in items(&webhook["matchConditions"]).iter().enumerate() {
        let expression = text(condition, "expression");
        if let Err(wrong) = compiles(expression)
            && !expression.trim().is_empty()
        {
            errors.push(FieldError::invalid(format!("{path}.matchConditions[{i}].expression"), expression, wrong));
        }
    }
    errors
}

fn review_versions(webhook: &Value, path: &str) -> Vec<FieldError> {
    let versions: Vec<&str> = items(&webhook["admissionReviewVersions"]).iter().filter_map(Value::as_str).collect();
    let known = REVIEW_VERSIONS.join(", ");
    if versions.is_empty() {
        return vec![FieldError::required(path, format!("must specify one of {known}"))];
    }
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, version) in versions.iter().enumerate() {
        let path = format!("{path}[{i}]");
        if !seen.insert(version) {
            errors.push(FieldError::invalid(path.as_str(), *version, "duplicate version"));
        }
        errors.extend(invalid(&path, version, names::dns_1035_label(version)));
    }
    if !versions.iter().any(|v| REVIEW_VERSIONS.contains(v)) {
        let what = format!("must include at least one of {known}");
        errors.push(FieldError::invalid(path, webhook["admissionReviewVersions"].clone(), what));
    }
    errors
}

/// Checks how a webhook is reached: by URL or by Service, one of both.
#[must_use]
pub fn client_config(config: &Value, path: &str) -> Vec<FieldError> {
    match (has(config, "url"), has(config, "service")) {
        (true, true) | (false, false) => vec![FieldError::required(path, "exactly one of url or service is required")],
        (true, false) => url(text(config, "url"), &format!("{path}.url")),
        (false, true) => service(&config["service"], &format!("{path}.service")),
    }
}

fn url(text: &str, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut push = |value: &str, what: String| errors.push(FieldError::invalid(path, value, what));
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if scheme != "https" {
        push(scheme, format!("'https' is the only allowed URL scheme; {URL_FORM}"));
    }
    if host.is_empty() {
        push(host, format!("host must be specified; {URL_FORM}"));
    }
    for (part, what) in
        [(user, "user information is not"), (fragment, "fragments are not"), (query, "query parameters are not")]
    {
        if !part.is_empty() {
            push(part, format!("{what} permitted in the URL"));
        }
    }
    errors
}

fn service(service: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (field, what) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if text(service, field).is_empty() {
            errors.push(FieldError::required(format!("{path}.{field}"), what));
        }
    }
    if let Some(port) = int(service, "port") {
        let wrong = names::port_number(port).into_iter();
        errors.extend(
            wrong.map(|w| FieldError::invalid(format!("{path}.port"), port, format!("port is not valid: {w}"))),
        );
    }
    if has(service, "path") {
        errors.extend(url_path(text(service, "path"), &format!("{path}.path")));
    }
    errors
}

fn url_path(route: &str, path: &str) -> Vec<FieldError> {
    if route == "/" || route.is_empty() {
        return Vec::new();
    }
    if route == "//" {
        return vec![FieldError::invalid(path, route, "segment[0] may not be empty")];
    }
    let Some(rest) = route.strip_prefix('/') else {
        return vec![FieldError::invalid(path, route, "must start with a '/'")];
    };
    let mut errors = Vec::new();
    for (i, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            errors.push(FieldError::invalid(path, route, format!("segment[{i}] may not be empty")));
            continue;
        }
        let wrong = names::dns_subdomain(step);
        errors.extend(wrong.into_iter().map(|w| FieldError::invalid(path, route, format!("segment[{i}]: {w}"))));
    }
    errors
}

/// Whether a condition of a webhook compiles to a boolean.
fn compiles(expression: &str) -> Result<(), String> {
    let variables = ["object", "oldObject", "request"].map(|name| (name, cel::Type::Dyn));
    let program = cel::compile(expression, &variables).map_err(|error| format!("compilation failed: {error}"))?;
    match program.kind {
        cel::Type::Bool | cel::Type::Dyn => Ok(()),
        _ => Err("must evaluate to bool".to_owned()),
    }
}
