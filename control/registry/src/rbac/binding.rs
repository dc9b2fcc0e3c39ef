//! RoleBindings and ClusterRoleBindings.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::GROUP;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column, wide};
use crate::validate::{forms, names};
use crate::value::{has, items, items_mut, set_default, text};

/// Strategy of RoleBindings.
pub struct RoleBinding;
/// Strategy of ClusterRoleBindings.
pub struct ClusterRoleBinding;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Role", "The role that is granted"),
    AGE,
    wide("Users", "Users it is granted to"),
    wide("Groups", "Groups it is granted to"),
    wide("ServiceAccounts", "Service accounts it is granted to"),
];

impl Strategy for RoleBinding {
    fn default(&self, binding: &mut Value) {
        default(binding);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        forms::path_segment(name)
    }

    fn validate(&self, binding: &Value) -> Vec<FieldError> {
        validate(binding, &["ClusterRole", "Role"])
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        role_kept(new, old)
    }

    fn row(&self, binding: &Value, now: Timestamp) -> Vec<Value> {
        row(binding, now)
    }
}

impl Strategy for ClusterRoleBinding {
    fn default(&self, binding: &mut Value) {
        default(binding);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        forms::path_segment(name)
    }

    fn validate(&self, binding: &Value) -> Vec<FieldError> {
        validate(binding, &["ClusterRole"])
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        role_kept(new, old)
    }

    fn row(&self, binding: &Value, now: Timestamp) -> Vec<Value> {
        row(binding, now)
    }
}

fn default(binding: &mut Value) {
    if let Some(role) = binding.get_mut("roleRef").filter(|r| r.is_object()) {
        set_default(role, "apiGroup", GROUP);
    }
    for subject in items_mut(binding, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            set_default(subject, "apiGroup", GROUP);
        }
    }
}

fn validate(binding: &Value, kinds: &[&str]) -> Vec<FieldError> {
    let role = &binding["roleRef"];
    let mut errors = Vec::new();
    if text(role, "apiGroup") != GROUP {
        errors.push(FieldError::not_supported("roleRef.apiGroup", text(role, "apiGroup"), &[GROUP]));
    }
    let kind = text(role, "kind");
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported("roleRef.kind", kind, kinds));
    }
    match text(role, "name") {
        "" => errors.push(FieldError::required("roleRef.name", "")),
        name => errors.extend(forms::invalid("roleRef.name", name, forms::path_segment(name))),
    }
    for (i, one) in items(&binding["subjects"]).iter().enumerate() {
        errors.extend(subject(one, &format!("subjects[{i}]")));
    }
    errors
}

fn subject(subject: &Value, path: &str) -> Vec<FieldError> {
    let (name, group) = (text(subject, "name"), text(subject, "apiGroup"));
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    match text(subject, "kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.extend(forms::invalid(&format!("{path}.name"), name, names::dns_subdomain(name)));
            }
            if !group.is_empty() {
                errors.push(FieldError::not_supported(format!("{path}.apiGroup"), group, &[""]));
            }
            if text(subject, "namespace").is_empty() {
                errors.push(FieldError::required(format!("{path}.namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(FieldError::not_supported(format!("{path}.apiGroup"), group, &[GROUP]));
            }
        }
        kind => {
            let kinds = ["Group", "ServiceAccount", "User"];
            errors.push(FieldError::not_supported(format!("{path}.kind"), kind, &kinds));
        }
    }
    errors
}

fn role_kept(new: &Value, old: &Value) -> Vec<FieldError> {
    if new["roleRef"] == old["roleRef"] || !has(old, "roleRef") {
        return Vec::new();
    }
    vec![FieldError::invalid("roleRef", new["roleRef"].clone(), "cannot change roleRef")]
}

fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
    let role = &binding["roleRef"];
    let named = |kind: &str| -> Value {
        let names = items(&binding["subjects"]).iter().filter(|s| text(s, "kind") == kind);
        let shown: Vec<String> = names
            .map(|s| match (kind, text(s, "namespace")) {
                ("ServiceAccount", namespace) => format!("{namespace}/{}", text(s, "name")),
                _ => text(s, "name").to_owned(),
            })
            .collect();
        shown.join(", ").into()
    };
    vec![
        meta::name(binding).into(),
        format!("{}/{}", text(role, "kind"), text(role, "name")).into(),
        age(binding, now),
        named("User"),
        named("Group"),
        named("ServiceAccount"),
    ]
}
