//! Probes and lifecycle hooks.

use api::FieldError;
use serde_json::Value;

use super::number;
use crate::value::{has, items, text};

/// Checks a probe; liveness and startup probes succeed at the first success.
#[must_use]
pub fn probe(probe: &Value, path: &str, succeeds_once: bool) -> Vec<FieldError> {
    let mut errors = handler(probe, path, false);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        errors.extend(number::not_negative(probe, field, path));
    }
    if let Some(seconds) = probe["terminationGracePeriodSeconds"].as_i64() {
        let path = format!("{path}.terminationGracePeriodSeconds");
        if seconds <= 0 {
            errors.push(FieldError::invalid(path, seconds, "must be greater than 0"));
        } else if !succeeds_once {
            errors.push(FieldError::invalid(path, seconds, "must not be set for readinessProbes"));
        }
    }
    if succeeds_once && let Some(n) = probe["successThreshold"].as_i64().filter(|n| *n != 1 && *n >= 0) {
        errors.push(FieldError::invalid(format!("{path}.successThreshold"), n, "must be 1"));
    }
    errors
}

/// Checks that there is one action, and the action.
#[must_use]
pub fn handler(owner: &Value, path: &str, is_hook: bool) -> Vec<FieldError> {
    let actions = ["exec", "httpGet", "tcpSocket", if is_hook { "sleep" } else { "grpc" }];
    let named: Vec<&str> = actions.into_iter().filter(|a| has(owner, a)).collect();
    let mut errors = Vec::new();
    if named.is_empty() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for extra in named.iter().skip(1) {
        errors.push(FieldError::forbidden(format!("{path}.{extra}"), "may not specify more than 1 handler type"));
    }
    if let Some(first) = named.first() {
        errors.extend(action(first, &owner[*first], &format!("{path}.{first}")));
    }
    errors
}

fn action(kind: &str, action: &Value, path: &str) -> Vec<FieldError> {
    match kind {
        "exec" if items(&action["command"]).is_empty() => vec![FieldError::required(format!("{path}.command"), "")],
        "httpGet" => {
            let mut errors = Vec::new();
            if text(action, "path").is_empty() {
                errors.push(FieldError::required(format!("{path}.path"), ""));
            }
            errors.extend(number::port(&action["port"], &format!("{path}.port")));
            errors.extend(number::one_of(action, "scheme", path, &["HTTP", "HTTPS"], true));
            errors
        }
        "tcpSocket" | "grpc" => number::port(&action["port"], &format!("{path}.port")),
        "sleep" => number::not_negative(action, "seconds", path),
        _ => Vec::new(),
    }
}
