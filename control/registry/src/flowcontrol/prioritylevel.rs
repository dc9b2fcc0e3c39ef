//! PriorityLevelConfigurations.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, text as column};
use crate::value::{has, number as int, set_default, text};

/// Strategy of PriorityLevelConfigurations.
pub struct PriorityLevelConfiguration;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Type", "Whether requests are limited"),
    count("NominalConcurrencyShares", "Its part of the server's seats"),
    count("Queues", "Number of queues"),
    count("HandSize", "Queues that a flow may use"),
    count("QueueLengthLimit", "Requests that may wait in a queue"),
    AGE,
];

impl Strategy for PriorityLevelConfiguration {
    fn default(&self, level: &mut Value) {
        let Some(spec) = level.get_mut("spec").filter(|s| s.is_object()) else { return };
        if let Some(exempt) = spec.get_mut("exempt").filter(|s| s.is_object()) {
            set_default(exempt, "nominalConcurrencyShares", 0);
            set_default(exempt, "lendablePercent", 0);
        } else if text(spec, "type") == "Exempt" {
            spec["exempt"] = json!({"nominalConcurrencyShares": 0, "lendablePercent": 0});
        }
        let Some(limited) = spec.get_mut("limited").filter(|s| s.is_object()) else { return };
        set_default(limited, "nominalConcurrencyShares", 30);
        set_default(limited, "lendablePercent", 0);
        if let Some(queuing) = limited.get_mut("limitResponse").and_then(|r| r.get_mut("queuing")) {
            set_default(queuing, "queues", 64);
            set_default(queuing, "handSize", 8);
            set_default(queuing, "queueLengthLimit", 50);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, level: &Value) -> Vec<FieldError> {
        let (spec, name) = (&level["spec"], meta::name(level));
        let kind = text(spec, "type");
        let mut errors = Vec::new();
        match kind {
            "Exempt" => {
                if has(spec, "limited") {
                    let what = "must be nil if the type is not Limited";
                    errors.push(FieldError::forbidden("spec.limited", what));
                }
                if name != "exempt" {
                    let what = "must be 'Limited'";
                    errors.push(FieldError::invalid("spec.type", kind, what));
                }
            }
            "Limited" => {
                if has(spec, "exempt") {
                    let what = "must be nil if the type is Limited";
                    errors.push(FieldError::forbidden("spec.exempt", what));
                }
                if has(spec, "limited") {
                    errors.extend(limited(&spec["limited"]));
                } else {
                    errors.push(FieldError::required("spec.limited", "must not be empty when type is Limited"));
                }
                if name == "exempt" {
                    errors.push(FieldError::invalid("spec.type", kind, "must be 'Exempt'"));
                }
            }
            other => errors.push(FieldError::not_supported("spec.type", other, &["Exempt", "Limited"])),
        }
        errors
    }

    fn row(&self, level: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &level["spec"];
        let limited = &spec["limited"];
        let queuing = &limited["limitResponse"]["queuing"];
        let part = if has(spec, "limited") { limited } else { &spec["exempt"] };
        let shown = |value: &Value| if value.is_null() { "<none>".into() } else { value.clone() };
        vec![
            meta::name(level).into(),
            text(spec, "type").into(),
            shown(&part["nominalConcurrencyShares"]),
            shown(&queuing["queues"]),
            shown(&queuing["handSize"]),
            shown(&queuing["queueLengthLimit"]),
            age(level, now),
        ]
    }
}

fn limited(limited: &Value) -> Vec<FieldError> {
    const PATH: &str = "spec.limited";
    let mut errors = Vec::new();
    if let Some(shares) = int(limited, "nominalConcurrencyShares").filter(|s| *s < 0) {
        let what = "must be a non-negative integer";
        errors.push(FieldError::invalid(format!("{PATH}.nominalConcurrencyShares"), shares, what));
    }
    if let Some(percent) = int(limited, "lendablePercent").filter(|p| !(0..=100).contains(p)) {
        let what = "must be between 0 and 100, inclusive";
        errors.push(FieldError::invalid(format!("{PATH}.lendablePercent"), percent, what));
    }
    let response = &limited["limitResponse"];
    let path = format!("{PATH}.limitResponse");
    match text(response, "type") {
        "Reject" if has(response, "queuing") => {
            let what = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(FieldError::forbidden(format!("{path}.queuing"), what));
        }
        "Reject" => {}
        "Queue" if !has(response, "queuing") => {
            let what = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(FieldError::required(format!("{path}.queuing"), what));
        }
        "Queue" => {
            let queuing = &response["queuing"];
            for field in ["queueLengthLimit", "queues", "handSize"] {
                if let Some(n) = int(queuing, field).filter(|n| *n <= 0) {
                    errors.push(FieldError::invalid(format!("{path}.queuing.{field}"), n, "must be positive"));
                }
            }
            let (hand, queues) = (int(queuing, "handSize").unwrap_or(0), int(queuing, "queues").unwrap_or(0));
            if hand > queues {
                let what = format!("should not be greater than queues ({queues})");
                errors.push(FieldError::invalid(format!("{path}.queuing.handSize"), hand, what));
            }
        }
        other => errors.push(FieldError::not_supported(format!("{path}.type"), other, &["Queue", "Reject"])),
    }
    errors
}
