//! What a definition must obey, with Kubernetes' wording.

use api::{FieldError, meta};
use serde_json::Value;

use super::versions;
use crate::apiextensions::conditions;
use crate::validate::names;
use crate::value::{flag, items, text};

const APPROVED: &str = "api-approved.kubernetes.io";

pub(super) fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let spec = &object["spec"];
    let mut errors = Vec::new();
    let (group, plural) = (text(spec, "group"), text(&spec["names"], "plural"));
    if meta::name(object) != format!("{plural}.{group}") {
        errors.push(FieldError::invalid(
            "metadata.name",
            meta::name(object),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if old.is_none() {
        errors.extend(approval(object, group));
    }
    errors.extend(group_rules(group));
    errors.extend(match text(spec, "scope") {
        "" => Some(FieldError::required("spec.scope", "")),
        "Cluster" | "Namespaced" => None,
        other => Some(FieldError::not_supported("spec.scope", other, &["Cluster", "Namespaced"])),
    });
    if flag(spec, "preserveUnknownFields") {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    errors.extend(versions::validate(spec, old));
    errors.extend(name_rules(&spec["names"]));
    errors.extend(conversion(&spec["conversion"]));
    errors.extend(stored_versions(object));
    errors
}

fn approval(object: &Value, group: &str) -> Option<FieldError> {
    let protected = |suffix: &str| group == suffix || group.ends_with(&format!(".{suffix}"));
    if !protected("k8s.io") && !protected("kubernetes.io") {
        return None;
    }
    let field = format!("metadata.annotations[{APPROVED}]");
    match meta::annotation(object, APPROVED) {
        None | Some("") => Some(FieldError::required(
            field,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        )),
        Some(value) if value.starts_with("unapproved") || value.contains("://") => None,
        Some(value) => Some(FieldError::invalid(
            field,
            value,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111",
        )),
    }
}

fn group_rules(group: &str) -> Vec<FieldError> {
    const FIELD: &str = "spec.group";
    if group.is_empty() {
        return vec![FieldError::required(FIELD, "")];
    }
    let wrong = names::dns_subdomain(group);
    if !wrong.is_empty() {
        return vec![FieldError::invalid(FIELD, group, wrong.join(","))];
    }
    if !group.contains('.') {
        return vec![FieldError::invalid(FIELD, group, "should be a domain with at least one dot")];
    }
    Vec::new()
}

fn name_rules(wanted: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut label = |field: String, name: &str, lower: bool| {
        if name.is_empty() {
            return;
        }
        let checked = if lower { name.to_lowercase() } else { name.to_owned() };
        let wrong = names::dns_1035_label(&checked);
        if !wrong.is_empty() {
            let what = if lower {
                format!("may have mixed case, but should otherwise match: {}", wrong.join(","))
            } else {
                wrong.join(",")
            };
            errors.push(FieldError::invalid(field, name, what));
        }
    };
    for field in ["plural", "singular"] {
        label(format!("spec.names.{field}"), text(wanted, field), false);
    }
    for field in ["kind", "listKind"] {
        label(format!("spec.names.{field}"), text(wanted, field), true);
    }
    for field in ["shortNames", "categories"] {
        for (i, name) in items(&wanted[field]).iter().filter_map(Value::as_str).enumerate() {
            label(format!("spec.names.{field}[{i}]"), name, false);
        }
    }
    for field in ["plural", "singular", "kind", "listKind"] {
        if text(wanted, field).is_empty() {
            errors.push(FieldError::required(format!("spec.names.{field}"), ""));
        }
    }
    let (kind, list_kind) = (text(wanted, "kind"), text(wanted, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        errors.push(FieldError::invalid("spec.names.listKind", list_kind, "kind and listKind may not be the same"));
    }
    errors
}

fn conversion(conversion: &Value) -> Vec<FieldError> {
    const FIELD: &str = "spec.conversion";
    let mut errors = Vec::new();
    let webhook = &conversion["webhook"];
    match text(conversion, "strategy") {
        "" => errors.push(FieldError::required(format!("{FIELD}.strategy"), "")),
        "None" => {
            if !webhook["clientConfig"].is_null() {
                errors.push(FieldError::forbidden(
                    format!("{FIELD}.webhookClientConfig"),
                    "should not be set when strategy is not set to Webhook",
                ));
            }
            if !items(&webhook["conversionReviewVersions"]).is_empty() {
                errors.push(FieldError::forbidden(
                    format!("{FIELD}.conversionReviewVersions"),
                    "should not be set when strategy is not set to Webhook",
                ));
            }
        }
        "Webhook" => {
            errors.extend(client_config(&webhook["clientConfig"], &format!("{FIELD}.webhookClientConfig")));
            errors.extend(review_versions(
                &webhook["conversionReviewVersions"],
                &format!("{FIELD}.conversionReviewVersions"),
            ));
        }
        other => {
            errors.push(FieldError::not_supported(format!("{FIELD}.strategy"), other, &["None", "Webhook"]));
        }
    }
    errors
}

fn client_config(config: &Value, path: &str) -> Vec<FieldError> {
    if !config.is_object() {
        return vec![FieldError::required(path, "required when strategy is set to Webhook")];
    }
    let (url, service) = (text(config, "url"), &config["service"]);
    let mut errors = Vec::new();
    match (url.is_empty(), service.is_object()) {
        (false, true) | (true, false) => {
            errors.push(FieldError::required(path, "exactly one of url or service is required"));
        }
        (false, false) => {
            let field = format!("{path}.url");
            if !url.starts_with("https://") {
                let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
                let what = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                errors.push(FieldError::invalid(field, scheme, what));
            } else if url["https://".len()..].split('/').next().is_none_or(str::is_empty) {
                errors.push(FieldError::invalid(
                    field,
                    "",
                    "host must be specified; desired format: https://host[/path]",
                ));
            } else if url.contains('?') || url.contains('#') {
                errors.push(FieldError::invalid(
                    field,
                    url,
                    "query parameters and fragments are not permitted; desired format: https://host[/path]",
                ));
            }
        }
        (true, true) => {
            for field in ["name", "namespace"] {
                if text(service, field).is_empty() {
                    errors.push(FieldError::required(
                        format!("{path}.service.{field}"),
                        format!("service {field} is required"),
                    ));
                }
            }
            let port = service["port"].as_i64().unwrap_or(443);
            errors.extend(
                names::port_number(port)
                    .into_iter()
                    .map(|wrong| FieldError::invalid(format!("{path}.service.port"), port, wrong)),
            );
        }
    }
    errors
}

fn review_versions(list: &Value, path: &str) -> Vec<FieldError> {
    let all: Vec<&str> = items(list).iter().filter_map(Value::as_str).collect();
    if all.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = Vec::new();
    for (i, version) in all.iter().enumerate() {
        let field = format!("{path}[{i}]");
        if all[..i].contains(version) {
            errors.push(FieldError::invalid(field, *version, "duplicate version"));
        } else {
            let wrong = names::dns_1035_label(version);
            errors.extend(wrong.into_iter().map(|wrong| FieldError::invalid(field.clone(), *version, wrong)));
        }
    }
    if errors.is_empty() && !all.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        errors.push(FieldError::invalid(path, list.clone(), "must include at least one of v1, v1beta1"));
    }
    errors
}

/// Every version that objects may be stored in must still be there.
pub(super) fn stored_versions(object: &Value) -> Vec<FieldError> {
    const FIELD: &str = "status.storedVersions";
    let stored: Vec<&str> = items(&object["status"]["storedVersions"]).iter().filter_map(Value::as_str).collect();
    let mut errors = Vec::new();
    if stored.is_empty() {
        errors.push(FieldError::invalid(
            FIELD,
            object["status"]["storedVersions"].clone(),
            "must have at least one stored version",
        ));
        return errors;
    }
    let known: Vec<&str> = items(&object["spec"]["versions"]).iter().map(|v| text(v, "name")).collect();
    for (i, version) in stored.iter().enumerate() {
        if !known.contains(version) {
            errors.push(FieldError::invalid(
                format!("{FIELD}[{i}]"),
                *version,
                format!(
                    "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
                ),
            ));
        }
    }
    if let Some(storage) = super::storage_version(object)
        && !stored.contains(&storage.as_str())
    {
        errors.push(FieldError::invalid(
            FIELD,
            object["status"]["storedVersions"].clone(),
            format!("must have the storage version {storage}"),
        ));
    }
    errors
}

pub(super) fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut immutable = |path: &str, now: &Value, before: &Value| {
        if now != before {
            errors.push(FieldError::invalid(path, now.clone(), "field is immutable"));
        }
    };
    let (now, before) = (&new["spec"], &old["spec"]);
    if conditions::is_true(old, "Established") {
        immutable("spec.scope", &now["scope"], &before["scope"]);
        immutable("spec.names.kind", &now["names"]["kind"], &before["names"]["kind"]);
    }
    immutable("spec.group", &now["group"], &before["group"]);
    immutable("spec.names.plural", &now["names"]["plural"], &before["names"]["plural"]);
    errors
}
