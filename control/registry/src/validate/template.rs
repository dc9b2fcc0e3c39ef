//! Pod templates in workloads, and the selector that must match them.

use api::{FieldError, LabelSelector, meta};
use serde_json::Value;

use super::{labels, pod};
use crate::value::{has, text};

/// Checks a workload's selector and its template. `kind` is the workload's, as messages name it.
#[must_use]
pub fn workload(spec: &Value, kind: &str) -> Vec<FieldError> {
    let selector = &spec["selector"];
    let mut errors = Vec::new();
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else {
        errors.extend(labels::selector(selector, "spec.selector"));
        if labels::selector_is_empty(selector) {
            let what = format!("empty selector is invalid for {}", kind.to_lowercase());
            errors.push(FieldError::invalid("spec.selector", selector.clone(), what));
        }
    }
    errors.extend(template(&spec["template"], selector, kind));
    errors
}

fn template(template: &Value, selector: &Value, kind: &str) -> Vec<FieldError> {
    const PATH: &str = "spec.template";
    if template.is_null() {
        return vec![FieldError::required(PATH, "")];
    }
    let mut errors = Vec::new();
    let own = &template["metadata"]["labels"];
    // No selector selects nothing; an empty one everything.
    let matches =
        !selector.is_null() && LabelSelector::from_json(selector).is_ok_and(|s| s.matches(&meta::string_map(own)));
    if !matches {
        let shown = if own.is_null() { Value::Null } else { own.clone() };
        errors.push(FieldError::invalid(
            format!("{PATH}.metadata.labels"),
            shown,
            "`selector` does not match template `labels`",
        ));
    }
    errors.extend(labels::labels(own, &format!("{PATH}.labels")));
    errors.extend(labels::annotations(&template["metadata"]["annotations"], &format!("{PATH}.annotations")));
    errors.extend(pod::spec(&template["spec"], &format!("{PATH}.spec")));
    let policy = text(&template["spec"], "restartPolicy");
    if matches!(policy, "OnFailure" | "Never") {
        errors.push(FieldError::not_supported(format!("{PATH}.spec.restartPolicy"), policy, &["Always"]));
    }
    if has(&template["spec"], "activeDeadlineSeconds") {
        let what = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(format!("{PATH}.spec.activeDeadlineSeconds"), what));
    }
    errors
}

/// A selector never changes.
#[must_use]
pub fn selector_kept(new: &Value, old: &Value) -> Vec<FieldError> {
    immutable(&new["spec"]["selector"], &old["spec"]["selector"], "spec.selector")
}

/// A field that never changes.
#[must_use]
pub fn immutable(new: &Value, old: &Value, path: &str) -> Vec<FieldError> {
    if new == old { Vec::new() } else { vec![FieldError::invalid(path, new.clone(), "field is immutable")] }
}
