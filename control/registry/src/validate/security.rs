//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use api::FieldError;
use serde_json::Value;

use super::number;
use crate::value::{flag, has, items, text};

const MAX_ID: i64 = i32::MAX as i64;

/// Checks the security context of a pod.
#[must_use]
pub fn pod(context: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = ids(context, &["runAsUser", "runAsGroup", "fsGroup"], path);
    for (i, group) in items(&context["supplementalGroups"]).iter().enumerate() {
        errors.extend(id(group, format!("{path}.supplementalGroups[{i}]")));
    }
    let policies = ["Always", "OnRootMismatch"];
    errors.extend(number::one_of(context, "fsGroupChangePolicy", path, &policies, false));
    errors.extend(number::one_of(context, "supplementalGroupsPolicy", path, &["Merge", "Strict"], false));
    errors.extend(number::one_of(context, "seLinuxChangePolicy", path, &["MountOption", "Recursive"], false));
    let mut seen = BTreeSet::new();
    for (i, setting) in items(&context["sysctls"]).iter().enumerate() {
        let name = text(setting, "name");
        let path = format!("{path}.sysctls[{i}].name");
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if !is_sysctl(name) {
            let what = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(path, name, what));
        } else if !seen.insert(name.replace('/', ".")) {
            errors.push(FieldError::duplicate(path, name));
        }
    }
    errors.extend(profiles(context, path));
    errors
}

/// Checks the security context of a container.
#[must_use]
pub fn container(context: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = ids(context, &["runAsUser", "runAsGroup"], path);
    errors.extend(number::one_of(context, "procMount", path, &["Default", "Unmasked"], false));
    errors.extend(profiles(context, path));
    if context["allowPrivilegeEscalation"] == false {
        let added = items(&context["capabilities"]["add"]);
        if flag(context, "privileged") {
            let what = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(path, context.clone(), what));
        }
        if added.iter().any(|c| c == "CAP_SYS_ADMIN") {
            let what = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(path, context.clone(), what));
        }
    }
    errors
}

fn ids(context: &Value, fields: &[&str], path: &str) -> Vec<FieldError> {
    fields.iter().filter_map(|field| id(&context[*field], format!("{path}.{field}"))).collect()
}

fn id(value: &Value, path: String) -> Option<FieldError> {
    let id = value.as_i64()?;
    let what = format!("must be between 0 and {MAX_ID}, inclusive");
    (!(0..=MAX_ID).contains(&id)).then(|| FieldError::invalid(path, id, what))
}

fn is_sysctl(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = |b: Option<&u8>| b.is_some_and(|b| fine(*b));
        ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|b| fine(*b) || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}

fn profiles(context: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["seccompProfile", "appArmorProfile"] {
        let profile = &context[field];
        if profile.is_null() {
            continue;
        }
        let path = format!("{path}.{field}");
        let local = text(profile, "localhostProfile");
        match text(profile, "type") {
            "" => {
                errors.push(FieldError::required(format!("{path}.type"), "type is required when seccompProfile is set"))
            }
            "Localhost" if !has(profile, "localhostProfile") => {
                let what = "must be set when seccomp type is Localhost";
                errors.push(FieldError::required(format!("{path}.localhostProfile"), what));
            }
            "Localhost" if field == "seccompProfile" => {
                if local.starts_with('/') {
                    let what = "must be a relative path";
                    errors.push(FieldError::invalid(format!("{path}.localhostProfile"), local, what));
                } else if local.split('/').any(|p| p == "..") {
                    let what = "must not contain '..'";
                    errors.push(FieldError::invalid(format!("{path}.localhostProfile"), local, what));
                }
            }
            "Localhost" => {}
            "RuntimeDefault" | "Unconfined" => {
                if has(profile, "localhostProfile") {
                    let what = "can only be set when seccomp type is Localhost";
                    errors.push(FieldError::invalid(format!("{path}.localhostProfile"), local, what));
                }
            }
            other => {
                let known = ["Localhost", "RuntimeDefault", "Unconfined"];
                errors.push(FieldError::not_supported(format!("{path}.type"), other, &known));
            }
        }
    }
    errors
}
