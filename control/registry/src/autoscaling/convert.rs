//! Between the two views of a HorizontalPodAutoscaler. The first version knows only a target of CPU use; what else
//! there is travels in annotations, as JSON.

use api::meta;
use serde_json::{Map, Value, json};

use crate::Conversion;
use crate::value::{has, items, remove, set, text};

/// The first version is a view of the second, which is stored.
pub static CONVERSION: Conversion = Conversion { to_storage, from_storage };

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// The second version's form of an object of the first.
pub(super) fn to_storage(scaler: &mut Value) {
    set(scaler, "apiVersion", "autoscaling/v2");
    let take = |scaler: &mut Value, key: &str| -> Option<Value> {
        let annotations = scaler.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
        let parsed: Value = serde_json::from_str(annotations.get(key)?.as_str()?).ok()?;
        annotations.remove(key);
        let empty = annotations.is_empty();
        if empty {
            meta::remove(scaler, "annotations");
        }
        Some(parsed)
    };
    let (metrics, current) = (take(scaler, METRICS), take(scaler, CURRENT));
    let (conditions, behavior) = (take(scaler, CONDITIONS), take(scaler, BEHAVIOR));
    if let Some(spec) = scaler.get_mut("spec").filter(|s| s.is_object()) {
        let mut all: Vec<Value> = metrics.iter().flat_map(items).map(modern_metric).collect();
        if let Some(percent) = remove(spec, "targetCPUUtilizationPercentage").filter(|p| !p.is_null()) {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            all.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        if !all.is_empty() {
            set(spec, "metrics", all);
        }
        if let Some(behavior) = behavior.filter(Value::is_object) {
            set(spec, "behavior", behavior);
        }
    }
    if let Some(status) = scaler.get_mut("status").filter(|s| s.is_object()) {
        let mut all: Vec<Value> = current.iter().flat_map(items).map(modern_status).collect();
        if let Some(percent) = remove(status, "currentCPUUtilizationPercentage").filter(|p| !p.is_null()) {
            let cpu =
                json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}});
            all.insert(0, cpu);
        }
        if !all.is_empty() {
            set(status, "currentMetrics", all);
        }
        if let Some(conditions) = conditions.filter(|c| !items(c).is_empty()) {
            set(status, "conditions", conditions);
        }
    }
}

/// The first version's form of a stored object.
pub(super) fn from_storage(scaler: &mut Value) {
    set(scaler, "apiVersion", "autoscaling/v1");
    let mut notes: Vec<(&str, Value)> = Vec::new();
    if let Some(spec) = scaler.get_mut("spec").filter(|s| s.is_object()) {
        let metrics = remove(spec, "metrics").unwrap_or_default();
        let (mut percent, mut rest) = (None, Vec::new());
        for metric in items(&metrics) {
            match cpu_percent(metric) {
                Some(value) if percent.is_none() => percent = Some(value),
                _ => rest.push(old_metric(metric)),
            }
        }
        if let Some(percent) = percent {
            set(spec, "targetCPUUtilizationPercentage", percent);
        }
        if !rest.is_empty() {
            notes.push((METRICS, rest.into()));
        }
        if let Some(behavior) = remove(spec, "behavior").filter(|b| !b.is_null()) {
            notes.push((BEHAVIOR, behavior));
        }
    }
    if let Some(status) = scaler.get_mut("status").filter(|s| s.is_object()) {
        let current = remove(status, "currentMetrics").unwrap_or_default();
        for metric in items(&current) {
            let percent = &metric["resource"]["current"]["averageUtilization"];
            if text(&metric["resource"], "name") == "cpu" && !percent.is_null() {
                let percent = percent.clone();
                set(status, "currentCPUUtilizationPercentage", percent);
            }
        }
        if !items(&current).is_empty() {
            notes.push((CURRENT, items(&current).iter().map(old_status).collect()));
        }
        if let Some(conditions) = remove(status, "conditions").filter(|c| !items(c).is_empty()) {
            notes.push((CONDITIONS, conditions));
        }
    }
    for (key, value) in notes {
        meta::set_annotation(scaler, key, &value.to_string());
    }
}

/// The percentage of a metric that is a target of CPU use and nothing else.
fn cpu_percent(metric: &Value) -> Option<Value> {
    let resource = &metric["resource"];
    let percent = &resource["target"]["averageUtilization"];
    let plain = text(metric, "type") == "Resource" && text(resource, "name") == "cpu" && !percent.is_null();
    plain.then(|| percent.clone())
}

/// Where a metric says what it measures.
const SOURCES: [&str; 5] = ["object", "pods", "resource", "containerResource", "external"];

fn rename(from: &mut Value, to: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (old, new) in names {
        if let Some(value) = remove(from, old).filter(|v| !v.is_null()) {
            to.insert((*new).to_owned(), value);
        }
    }
}

fn modern_metric(metric: &Value) -> Value {
    let mut metric = metric.clone();
    for field in SOURCES {
        let Some(source) = metric.get_mut(field).filter(|s| s.is_object()) else { continue };
        if field == "object"
            && let Some(described) = remove(source, "target")
        {
            set(source, "describedObject", described);
        }
        let mut target = Map::new();
        let average = if field == "object" { "averageValue" } else { "targetAverageValue" };
        let names =
            [("targetValue", "value"), (average, "averageValue"), ("targetAverageUtilization", "averageUtilization")];
        rename(source, &mut target, &names);
        let kind = match (target.contains_key("averageUtilization"), target.contains_key("averageValue")) {
            (true, _) => "Utilization",
            (false, true) => "AverageValue",
            (false, false) => "Value",
        };
        target.insert("type".to_owned(), kind.into());
        set(source, "target", target);
        identify(source, field);
    }
    metric
}

fn old_metric(metric: &Value) -> Value {
    let mut metric = metric.clone();
    for field in SOURCES {
        let Some(source) = metric.get_mut(field).filter(|s| s.is_object()) else { continue };
        let target = remove(source, "target").unwrap_or_default();
        let average = if field == "object" { "averageValue" } else { "targetAverageValue" };
        for (new, old) in
            [("value", "targetValue"), ("averageValue", average), ("averageUtilization", "targetAverageUtilization")]
        {
            if has(&target, new) {
                set(source, old, target[new].clone());
            }
        }
        unidentify(source, field);
    }
    metric
}

fn modern_status(metric: &Value) -> Value {
    let mut metric = metric.clone();
    for field in SOURCES {
        let Some(source) = metric.get_mut(field).filter(|s| s.is_object()) else { continue };
        if field == "object"
            && let Some(described) = remove(source, "target")
        {
            set(source, "describedObject", described);
        }
        let mut current = Map::new();
        let average = if field == "object" { "averageValue" } else { "currentAverageValue" };
        let names =
            [("currentValue", "value"), (average, "averageValue"), ("currentAverageUtilization", "averageUtilization")];
        rename(source, &mut current, &names);
        set(source, "current", current);
        identify(source, field);
    }
    metric
}

fn old_status(metric: &Value) -> Value {
    let mut metric = metric.clone();
    for field in SOURCES {
        let Some(source) = metric.get_mut(field).filter(|s| s.is_object()) else { continue };
        let current = remove(source, "current").unwrap_or_default();
        let average = if field == "object" { "averageValue" } else { "currentAverageValue" };
        for (new, old) in
            [("value", "currentValue"), ("averageValue", average), ("averageUtilization", "currentAverageUtilization")]
        {
            if has(&current, new) {
                set(source, old, current[new].clone());
            }
        }
        unidentify(source, field);
    }
    metric
}

/// `metricName` and a selector become `metric`.
fn identify(source: &mut Value, field: &str) {
    let mut metric = Map::new();
    let selector = if field == "external" { "metricSelector" } else { "selector" };
    if matches!(field, "object" | "pods" | "external") {
        rename(source, &mut metric, &[("metricName", "name"), (selector, "selector")]);
        metric.entry("name").or_insert_with(|| "".into());
        set(source, "metric", metric);
    }
}

fn unidentify(source: &mut Value, field: &str) {
    if !matches!(field, "object" | "pods" | "external") {
        return;
    }
    let metric = remove(source, "metric").unwrap_or_default();
    let selector = if field == "external" { "metricSelector" } else { "selector" };
    if field == "object"
        && let Some(described) = remove(source, "describedObject")
    {
        set(source, "target", described);
    }
    for (new, old) in [("name", "metricName"), ("selector", selector)] {
        if has(&metric, new) {
            set(source, old, metric[new].clone());
        }
    }
}
