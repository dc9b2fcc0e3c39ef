//! HorizontalPodAutoscalers, in both versions. Everything is decided on the second version's form.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{convert, rules};
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, text as column};
use crate::value::{has, items, number as int, set, set_default, text};

/// Strategy of the second version, which is how they are stored.
pub struct V2;

/// Strategy of the first version.
pub struct V1;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Reference", "What it scales"),
    column("Targets", "Present and wanted values of its metrics"),
    column("MinPods", "Least pods"),
    count("MaxPods", "Most pods"),
    count("Replicas", "Pods there are"),
    AGE,
];

/// Metrics shown in a cell.
const SHOWN: usize = 2;

/// Percent of the requested CPU that is the target, if nothing is.
const CPU_PERCENT: i64 = 80;

impl Strategy for V2 {
    fn default(&self, scaler: &mut Value) {
        let Some(spec) = scaler.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "minReplicas", 1);
        if items(&spec["metrics"]).is_empty() {
            let target = json!({"type": "Utilization", "averageUtilization": CPU_PERCENT});
            set(spec, "metrics", json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
        }
        if let Some(behavior) = spec.get_mut("behavior").filter(|b| b.is_object()) {
            default_behavior(behavior);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn prepare_create(&self, scaler: &mut Value) {
        set(scaler, "status", json!({"currentReplicas": 0, "desiredReplicas": 0}));
        meta::remove(scaler, "generation");
    }

    fn validate(&self, scaler: &Value) -> Vec<FieldError> {
        rules::spec(&scaler["spec"])
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for field in ["currentReplicas", "desiredReplicas"] {
            errors.extend(crate::validate::number::not_negative(&new["status"], field, "status"));
        }
        errors
    }

    fn row(&self, scaler: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&scaler["spec"], &scaler["status"]);
        let target = &spec["scaleTargetRef"];
        let least = int(spec, "minReplicas").map_or_else(|| "<unset>".to_owned(), |n| n.to_string());
        vec![
            meta::name(scaler).into(),
            format!("{}/{}", text(target, "kind"), text(target, "name")).into(),
            targets(items(&spec["metrics"]), items(&status["currentMetrics"])).into(),
            least.into(),
            int(spec, "maxReplicas").unwrap_or(0).into(),
            int(status, "currentReplicas").unwrap_or(0).into(),
            age(scaler, now),
        ]
    }
}

/// The stored form of an object shown by the first version.
fn stored(scaler: &Value) -> Value {
    let mut scaler = scaler.clone();
    convert::to_storage(&mut scaler);
    scaler
}

impl Strategy for V1 {
    /// What the second version defaults, as far as it shows here.
    fn default(&self, scaler: &mut Value) {
        let metrics = !items(&stored(scaler)["spec"]["metrics"]).is_empty();
        let Some(spec) = scaler.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "minReplicas", 1);
        if !metrics {
            set(spec, "targetCPUUtilizationPercentage", CPU_PERCENT);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn prepare_create(&self, scaler: &mut Value) {
        V2.prepare_create(scaler);
    }

    fn validate(&self, scaler: &Value) -> Vec<FieldError> {
        V2.validate(&stored(scaler))
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        V2.validate_status_update(new, old)
    }

    fn row(&self, scaler: &Value, now: Timestamp) -> Vec<Value> {
        V2.row(&stored(scaler), now)
    }
}

fn default_behavior(behavior: &mut Value) {
    let policy = |kind: &str, value: i64| json!({"type": kind, "value": value, "periodSeconds": 15});
    for (direction, policies) in
        [("scaleUp", vec![policy("Pods", 4), policy("Percent", 100)]), ("scaleDown", vec![policy("Percent", 100)])]
    {
        set_default(behavior, direction, json!({}));
        let rules = &mut behavior[direction];
        set_default(rules, "selectPolicy", "Max");
        if direction == "scaleUp" {
            set_default(rules, "stabilizationWindowSeconds", 0);
        }
        if !has(rules, "policies") {
            set(rules, "policies", policies);
        }
    }
}

fn targets(specs: &[Value], statuses: &[Value]) -> String {
    if specs.is_empty() {
        return "<none>".to_owned();
    }
    let all: Vec<String> = specs.iter().enumerate().map(|(i, metric)| one_target(metric, statuses.get(i))).collect();
    let shown = all[..all.len().min(SHOWN)].join(", ");
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} + {more} more..."),
        _ => shown,
    }
}

fn one_target(metric: &Value, status: Option<&Value>) -> String {
    let kind = text(metric, "type");
    let (field, label) = match kind {
        "Resource" => ("resource", text(&metric["resource"], "name")),
        "ContainerResource" => ("containerResource", text(&metric["containerResource"], "name")),
        "Pods" => ("pods", ""),
        "Object" => ("object", ""),
        "External" => ("external", ""),
        _ => return "<unknown type>".to_owned(),
    };
    let target = &metric[field]["target"];
    let current = status.map(|s| &s[field]["current"]);
    let amount = |name: &str| current.and_then(|c| c[name].as_str()).unwrap_or("<unknown>").to_owned();
    let wanted = |name: &str| text(target, name).to_owned();
    let cell = if has(target, "averageUtilization") {
        let now = current.and_then(|c| int(c, "averageUtilization"));
        let now = now.map_or_else(|| "<unknown>".to_owned(), |n| format!("{n}%"));
        format!("{now}/{}%", int(target, "averageUtilization").unwrap_or(0))
    } else if has(target, "averageValue") {
        let suffix = if matches!(kind, "Object" | "External") { " (avg)" } else { "" };
        format!("{}/{}{suffix}", amount("averageValue"), wanted("averageValue"))
    } else if has(target, "value") {
        format!("{}/{}", amount("value"), wanted("value"))
    } else {
        "<unknown>/<auto>".to_owned()
    };
    if label.is_empty() { cell } else { format!("{label}: {cell}") }
}
