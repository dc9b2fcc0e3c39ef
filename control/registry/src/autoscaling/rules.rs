//! What an autoscaler's spec must obey.

use api::FieldError;
use serde_json::Value;

use crate::validate::{labels, number, resources};
use crate::value::{has, items, number as int, text};

const MAX_WINDOW_S: i64 = 3600;
const MAX_PERIOD_S: i64 = 1800;
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

pub(super) fn spec(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let least = int(spec, "minReplicas");
    let most = int(spec, "maxReplicas").unwrap_or(0);
    if let Some(least) = least.filter(|n| *n < 1) {
        errors.push(FieldError::invalid("spec.minReplicas", least, "must be greater than or equal to 1"));
    }
    if most < 1 {
        errors.push(FieldError::invalid("spec.maxReplicas", most, "must be greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        let what = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", most, what));
    }
    errors.extend(reference(&spec["scaleTargetRef"], "spec.scaleTargetRef"));
    for (i, metric) in items(&spec["metrics"]).iter().enumerate() {
        errors.extend(metric_spec(metric, &format!("spec.metrics[{i}]")));
    }
    for direction in ["scaleUp", "scaleDown"] {
        if has(&spec["behavior"], direction) {
            errors.extend(scaling(&spec["behavior"][direction], &format!("spec.behavior.{direction}")));
        }
    }
    errors
}

fn reference(reference: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["kind", "name"] {
        let value = text(reference, field);
        let path = format!("{path}.{field}");
        if value.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if value == "." || value == ".." {
            errors.push(FieldError::invalid(path, value, format!("may not be '{value}'")));
        } else if let Some(c) = value.chars().find(|c| matches!(c, '/' | '%')) {
            errors.push(FieldError::invalid(path, value, format!("may not contain '{c}'")));
        }
    }
    let version = text(reference, "apiVersion");
    if version.matches('/').count() > 1 {
        let what = format!("unexpected GroupVersion string: {version}");
        errors.push(FieldError::invalid(format!("{path}.apiVersion"), version, what));
    }
    errors
}

fn metric_spec(metric: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{path}.type"), "must specify a metric source type"));
        return errors;
    }
    let Some((_, expected)) = SOURCES.iter().find(|(known, _)| *known == kind) else {
        let kinds = SOURCES.map(|(known, _)| known);
        errors.push(FieldError::not_supported(format!("{path}.type"), kind, &kinds));
        return errors;
    };
    let present: Vec<&str> = SOURCES.into_iter().map(|(_, f)| f).filter(|f| has(metric, f)).collect();
    if let [only] = present[..] {
        errors.extend(source(only, &metric[only], &format!("{path}.{only}")));
    }
    if !has(metric, expected) {
        let what = "must populate information for the given metric source";
        errors.push(FieldError::required(format!("{path}.{expected}"), what));
    }
    for extra in present.iter().filter(|f| *f != expected) {
        let what = "must populate the given metric source only";
        errors.push(FieldError::forbidden(format!("{path}.{extra}"), what));
    }
    errors
}

fn source(kind: &str, source: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let aim = &source["target"];
    let at = |field: &str| format!("{path}.target.{field}");
    let (value, average, percent) = (has(aim, "value"), has(aim, "averageValue"), has(aim, "averageUtilization"));
    match kind {
        "resource" | "containerResource" => {
            if kind == "containerResource" && text(source, "container").is_empty() {
                errors.push(FieldError::required(format!("{path}.container"), "must specify a container"));
            }
            if text(source, "name").is_empty() {
                errors.push(FieldError::required(format!("{path}.name"), "must specify a resource name"));
            }
            errors.extend(target(aim, path));
            if !percent && !average {
                let what = "must set either a target raw value or a target utilization";
                errors.push(FieldError::required(at("averageUtilization"), what));
            } else if percent && average {
                let what = "may not set both a target raw value and a target utilization";
                errors.push(FieldError::forbidden(at("averageValue"), what));
            }
        }
        "object" => {
            errors.extend(reference(&source["describedObject"], &format!("{path}.describedObject")));
            errors.extend(metric(&source["metric"], path));
            errors.extend(target(aim, path));
            if !value && !average {
                errors.push(FieldError::required(at("averageValue"), "must set either a target value or averageValue"));
            } else if value && average {
                let what = "may not set both a target value for metric and a per-pod target";
                errors.push(FieldError::forbidden(at("averageValue"), what));
            }
        }
        "external" => {
            errors.extend(metric(&source["metric"], path));
            errors.extend(target(aim, path));
            if !value && !average {
                let what = "must set either a target value for metric or a per-pod target";
                errors.push(FieldError::required(at("averageValue"), what));
            } else if value && average {
                let what = "may not set both a target value for metric and a per-pod target";
                errors.push(FieldError::forbidden(at("value"), what));
            }
        }
        _ => {
            errors.extend(metric(&source["metric"], path));
            errors.extend(target(aim, path));
            let positive = resources::quantity(&aim["averageValue"]).is_some_and(|q| !q.is_negative() && !q.is_zero());
            if !positive {
                errors.push(FieldError::required(at("averageValue"), "must specify a positive target averageValue"));
            }
        }
    }
    errors
}

fn metric(metric: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(metric, "name").is_empty() {
        errors.push(FieldError::required(format!("{path}.metric.name"), "must specify a metric name"));
    }
    if has(metric, "selector") {
        errors.extend(labels::selector(&metric["selector"], &format!("{path}.metric.selector")));
    }
    errors
}

fn target(target: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = format!("{path}.target");
    match text(target, "type") {
        "" => errors.push(FieldError::required(format!("{path}.type"), "must specify a metric target type")),
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            let what = "must be either Utilization, Value, or AverageValue";
            errors.push(FieldError::invalid(format!("{path}.type"), other, what));
        }
    }
    for field in ["value", "averageValue"] {
        if let Some(amount) = resources::quantity(&target[field]).filter(|q| q.is_negative() || q.is_zero()) {
            errors.push(FieldError::invalid(format!("{path}.{field}"), amount.to_string(), "must be positive"));
        }
    }
    if let Some(percent) = int(target, "averageUtilization").filter(|n| *n < 1) {
        errors.push(FieldError::invalid(format!("{path}.averageUtilization"), percent, "must be greater than 0"));
    }
    errors
}

fn scaling(rules: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(window) = int(rules, "stabilizationWindowSeconds") {
        let path = format!("{path}.stabilizationWindowSeconds");
        if window < 0 {
            errors.push(FieldError::invalid(path, window, "must be greater than or equal to zero"));
        } else if window > MAX_WINDOW_S {
            errors.push(FieldError::invalid(path, window, format!("must be less than or equal to {MAX_WINDOW_S}")));
        }
    }
    errors.extend(number::one_of(rules, "selectPolicy", path, &["Disabled", "Max", "Min"], false));
    if let Some(tolerance) = resources::quantity(&rules["tolerance"]).filter(api::Quantity::is_negative) {
        let path = format!("{path}.tolerance");
        errors.push(FieldError::invalid(path, tolerance.to_string(), "must be greater or equal to zero"));
    }
    let policies = items(&rules["policies"]);
    let path = format!("{path}.policies");
    if policies.is_empty() {
        errors.push(FieldError::required(path.as_str(), "must specify at least one Policy"));
    }
    for (i, policy) in policies.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let kind = text(policy, "type");
        if !matches!(kind, "Pods" | "Percent") {
            errors.push(FieldError::not_supported(format!("{path}.type"), kind, &["Percent", "Pods"]));
        }
        for field in ["value", "periodSeconds"] {
            let n = int(policy, field).unwrap_or(0);
            if n <= 0 {
                errors.push(FieldError::invalid(format!("{path}.{field}"), n, "must be greater than zero"));
            }
        }
        if let Some(n) = int(policy, "periodSeconds").filter(|n| *n > MAX_PERIOD_S) {
            let what = format!("must be less than or equal to {MAX_PERIOD_S}");
            errors.push(FieldError::invalid(format!("{path}.periodSeconds"), n, what));
        }
    }
    errors
}
