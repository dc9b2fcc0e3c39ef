//! Roles and ClusterRoles.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{Column, NAME, column};
use crate::validate::{forms, labels};
use crate::value::{has, items, text};

/// Strategy of Roles.
pub struct Role;
/// Strategy of ClusterRoles.
pub struct ClusterRole;

pub const COLUMNS: &[Column] = &[NAME, column("Created At", "date", "", "When the role was made", 0)];

impl Strategy for Role {
    fn validate_name(&self, name: &str) -> Vec<String> {
        forms::path_segment(name)
    }

    fn validate(&self, role: &Value) -> Vec<FieldError> {
        rules(role, true)
    }

    fn row(&self, role: &Value, _now: Timestamp) -> Vec<Value> {
        created(role)
    }
}

impl Strategy for ClusterRole {
    fn validate_name(&self, name: &str) -> Vec<String> {
        forms::path_segment(name)
    }

    fn validate(&self, role: &Value) -> Vec<FieldError> {
        const PATH: &str = "aggregationRule.clusterRoleSelectors";
        let mut errors = rules(role, false);
        if has(role, "aggregationRule") {
            let selectors = items(&role["aggregationRule"]["clusterRoleSelectors"]);
            if selectors.is_empty() {
                let what = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.push(FieldError::required(PATH, what));
            }
            for (i, selector) in selectors.iter().enumerate() {
                errors.extend(labels::selector(selector, &format!("{PATH}[{i}]")));
            }
        }
        errors
    }

    fn row(&self, role: &Value, _now: Timestamp) -> Vec<Value> {
        created(role)
    }
}

fn created(role: &Value) -> Vec<Value> {
    vec![meta::name(role).into(), text(&role["metadata"], "creationTimestamp").into()]
}

fn rules(role: &Value, namespaced: bool) -> Vec<FieldError> {
    let list = items(&role["rules"]).iter().enumerate();
    list.flat_map(|(i, one)| rule(one, &format!("rules[{i}]"), namespaced)).collect()
}

fn rule(rule: &Value, path: &str, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let is_empty = |field: &str| items(&rule[field]).is_empty();
    if is_empty("verbs") {
        errors.push(FieldError::required(format!("{path}.verbs"), "verbs must contain at least one value"));
    }
    if !is_empty("nonResourceURLs") {
        let (at, urls) = (format!("{path}.nonResourceURLs"), &rule["nonResourceURLs"]);
        if namespaced {
            let what = "namespaced rules cannot apply to non-resource URLs";
            errors.push(FieldError::invalid(at.as_str(), urls.clone(), what));
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|f| !is_empty(f)) {
            let what = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(at, urls.clone(), what));
        }
        return errors;
    }
    if is_empty("apiGroups") {
        let what = "resource rules must supply at least one api group";
        errors.push(FieldError::required(format!("{path}.apiGroups"), what));
    }
    if is_empty("resources") {
        let what = "resource rules must supply at least one resource";
        errors.push(FieldError::required(format!("{path}.resources"), what));
    }
    errors
}
