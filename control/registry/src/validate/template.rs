//! Pod templates in workloads, and the selector that must match them.

use api::{FieldError, LabelSelector, meta};
use serde_json::Value;

use super::{labels, pod};
use crate::value::{has, text};

/// A workload's kind, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
}

impl Workload {
    fn empty_selector(self) -> &'static str {
        match self {
            // Kubernetes says so of both.
            Self::Deployment | Self::ReplicaSet => "empty selector is invalid for deployment",
            Self::StatefulSet => "empty selector is invalid for statefulset",
            Self::DaemonSet => "empty selector is invalid for daemonset",
        }
    }

    /// The kind that messages about deadlines name.
    fn name(self) -> &'static str {
        match self {
            Self::Deployment | Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// Checks a workload's selector and its template.
#[must_use]
pub fn workload(spec: &Value, kind: Workload) -> Vec<FieldError> {
    let selector = &spec["selector"];
    let mut errors = Vec::new();
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else {
        errors.extend(labels::selector(selector, "spec.selector"));
        if labels::selector_is_empty(selector) {
            errors.push(FieldError::invalid("spec.selector", selector.clone(), kind.empty_selector()));
        }
    }
    const PATH: &str = "spec.template";
    let template = &spec["template"];
    if template.is_null() {
        errors.push(FieldError::required(PATH, ""));
        return errors;
    }
    errors.extend(selected(selector, template, &format!("{PATH}.metadata.labels")));
    errors.extend(pod_template(template, PATH));
    errors.extend(always_restarts(template, PATH, kind.name()));
    errors
}

/// The selector must select the template's pods. No selector selects nothing; an empty one everything.
#[must_use]
pub fn selected(selector: &Value, template: &Value, path: &str) -> Option<FieldError> {
    let own = &template["metadata"]["labels"];
    let matches =
        !selector.is_null() && LabelSelector::from_json(selector).is_ok_and(|s| s.matches(&meta::string_map(own)));
    let what = "`selector` does not match template `labels`";
    (!matches).then(|| FieldError::invalid(path, own.clone(), what))
}

/// Checks a template's labels, annotations and spec at a path.
#[must_use]
pub fn pod_template(template: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = labels::labels(&template["metadata"]["labels"], &format!("{path}.labels"));
    errors.extend(labels::annotations(&template["metadata"]["annotations"], &format!("{path}.annotations")));
    errors.extend(pod::spec(&template["spec"], &format!("{path}.spec")));
    if !crate::value::items(&template["spec"]["ephemeralContainers"]).is_empty() {
        let what = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(format!("{path}.spec.ephemeralContainers"), what));
    }
    errors
}

/// Pods that a controller keeps running always restart, and have no deadline.
#[must_use]
pub fn always_restarts(template: &Value, path: &str, kind: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let policy = text(&template["spec"], "restartPolicy");
    if matches!(policy, "OnFailure" | "Never") {
        errors.push(FieldError::not_supported(format!("{path}.spec.restartPolicy"), policy, &["Always"]));
    }
    if has(&template["spec"], "activeDeadlineSeconds") {
        let what = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(format!("{path}.spec.activeDeadlineSeconds"), what));
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
