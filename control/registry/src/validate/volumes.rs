//! Volumes and mounts.

use std::collections::BTreeSet;

use api::FieldError;
use serde_json::Value;

use super::{env, names, number, resources};
use crate::core::persistentvolumeclaim as claim;
use crate::value::{flag, has, items, text};

const MAX_MODE: i64 = 0o777;

/// Checks the volumes of a pod; also returns the names that mounts may use.
#[must_use]
pub fn volumes(list: &Value, path: &str) -> (Vec<FieldError>, BTreeSet<String>) {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, volume) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        errors.extend(volume_source(volume, &path));
        let name = text(volume, "name");
        let wrong = names::dns_label(name);
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !wrong.is_empty() {
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.name"), name, w)));
        } else if !seen.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
    }
    (errors, seen)
}

fn volume_source(volume: &Value, path: &str) -> Vec<FieldError> {
    let mut sources = volume.as_object().into_iter().flatten().filter(|(k, v)| *k != "name" && !v.is_null());
    let Some((kind, source)) = sources.next() else {
        return vec![FieldError::required(path, "must specify a volume type")];
    };
    let mut errors: Vec<FieldError> = sources
        .map(|(k, _)| FieldError::forbidden(format!("{path}.{k}"), "may not specify more than 1 volume type"))
        .collect();
    let path = format!("{path}.{kind}");
    let required = |field: &str| {
        let missing = text(source, field).is_empty();
        missing.then(|| FieldError::required(format!("{path}.{field}"), ""))
    };
    match kind.as_str() {
        "hostPath" => {
            errors.extend(required("path"));
            errors.extend(no_backsteps(text(source, "path"), &format!("{path}.path")));
            let types =
                ["DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
            errors.extend(number::one_of(source, "type", &path, &types, false));
        }
        "secret" => {
            errors.extend(required("secretName"));
            errors.extend(mode(source, "defaultMode", &path));
            errors.extend(key_paths(&source["items"], &format!("{path}.items")));
        }
        "configMap" => {
            errors.extend(required("name"));
            errors.extend(mode(source, "defaultMode", &path));
            errors.extend(key_paths(&source["items"], &format!("{path}.items")));
        }
        "downwardAPI" => {
            errors.extend(mode(source, "defaultMode", &path));
            errors.extend(downward(&source["items"], &format!("{path}.items")));
        }
        "emptyDir" if has(source, "sizeLimit") => {
            errors.extend(resources::amount(&source["sizeLimit"], &format!("{path}.sizeLimit")));
        }
        "projected" => {
            errors.extend(mode(source, "defaultMode", &path));
            for (i, part) in items(&source["sources"]).iter().enumerate() {
                errors.extend(projection(part, &format!("{path}.sources[{i}]")));
            }
        }
        "csi" => {
            errors.extend(required("driver"));
            errors.extend(driver(source, &path));
        }
        "ephemeral" => match &source["volumeClaimTemplate"] {
            Value::Null => errors.push(FieldError::required(format!("{path}.volumeClaimTemplate"), "")),
            template => errors.extend(claim::spec(&template["spec"], &format!("{path}.volumeClaimTemplate.spec"))),
        },
        "image" => {
            errors.extend(required("reference"));
            let policies = ["Always", "IfNotPresent", "Never"];
            errors.extend(number::one_of(source, "pullPolicy", &path, &policies, false));
        }
        _ => errors.extend(plain_source(kind, source, &path)),
    }
    errors
}

/// Fields that a source cannot do without.
const REQUIRED: [(&str, &[&str]); 20] = [
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cephfs", &["monitors"]),
    ("cinder", &["volumeID"]),
    ("fc", &[]),
    ("flexVolume", &["driver"]),
    ("gcePersistentDisk", &["pdName"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("local", &["path"]),
    ("nfs", &["server", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("quobyte", &["registry", "volume"]),
    ("rbd", &["monitors", "image"]),
    ("scaleIO", &["gateway", "system"]),
    ("vsphereVolume", &["volumePath"]),
];

fn plain_source(kind: &str, source: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let fields = REQUIRED.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, fields)| fields);
    for field in fields {
        if text(source, field).is_empty() && items(&source[*field]).is_empty() {
            errors.push(FieldError::required(format!("{path}.{field}"), ""));
        }
    }
    let at = text(source, "path");
    if kind == "nfs" && !at.is_empty() && !at.starts_with('/') {
        errors.push(FieldError::invalid(format!("{path}.path"), at, "must be an absolute path"));
    }
    if kind == "local" {
        errors.extend(no_backsteps(at, &format!("{path}.path")));
    }
    if kind == "iscsi"
        && let Some(lun) = source["lun"].as_i64().filter(|lun| !(0..=255).contains(lun))
    {
        errors.push(FieldError::invalid(format!("{path}.lun"), lun, "must be between 0 and 255, inclusive"));
    }
    let iqn = text(source, "iqn");
    if kind == "iscsi" && !iqn.is_empty() && !["iqn.", "eui.", "naa."].iter().any(|p| iqn.starts_with(p)) {
        errors.push(FieldError::invalid(
            format!("{path}.iqn"),
            iqn,
            "must be valid format starting with iqn, eui, or naa",
        ));
    }
    errors
}

fn driver(source: &Value, path: &str) -> Vec<FieldError> {
    let name = text(source, "driver");
    if name.is_empty() {
        return Vec::new();
    }
    let wrong = names::dns_subdomain(&name.to_lowercase());
    wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.driver"), name, w)).collect()
}

/// Checks the source of a PersistentVolume.
#[must_use]
pub fn persistent_source(kind: &str, source: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match kind {
        "csi" => {
            for field in ["driver", "volumeHandle"] {
                if text(source, field).is_empty() {
                    errors.push(FieldError::required(format!("{path}.{field}"), ""));
                }
            }
            errors.extend(driver(source, path));
        }
        "hostPath" => {
            let at = text(source, "path");
            if at.is_empty() {
                errors.push(FieldError::required(format!("{path}.path"), ""));
            }
            errors.extend(no_backsteps(at, &format!("{path}.path")));
        }
        _ => errors.extend(plain_source(kind, source, path)),
    }
    errors
}

fn projection(part: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kinds: Vec<&String> = part.as_object().into_iter().flatten().map(|(k, _)| k).collect();
    if kinds.is_empty() {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    for extra in kinds.iter().skip(1) {
        errors.push(FieldError::forbidden(format!("{path}.{extra}"), "may not specify more than 1 volume type"));
    }
    for kind in ["secret", "configMap"] {
        if has(part, kind) {
            if text(&part[kind], "name").is_empty() {
                errors.push(FieldError::required(format!("{path}.{kind}.name"), ""));
            }
            errors.extend(key_paths(&part[kind]["items"], &format!("{path}.{kind}.items")));
        }
    }
    if has(part, "downwardAPI") {
        errors.extend(downward(&part["downwardAPI"]["items"], &format!("{path}.downwardAPI.items")));
    }
    if has(part, "serviceAccountToken") {
        let (token, path) = (&part["serviceAccountToken"], format!("{path}.serviceAccountToken"));
        let seconds = token["expirationSeconds"].as_i64().unwrap_or(0);
        if seconds < 600 {
            let what = "may not specify a duration less than 10 minutes";
            errors.push(FieldError::invalid(format!("{path}.expirationSeconds"), seconds, what));
        }
        if text(token, "path").is_empty() {
            errors.push(FieldError::required(format!("{path}.path"), ""));
        } else {
            errors.extend(relative_path(text(token, "path"), &format!("{path}.path")));
        }
    }
    errors
}

fn mode(owner: &Value, field: &str, path: &str) -> Vec<FieldError> {
    match owner[field].as_i64() {
        Some(mode) if !(0..=MAX_MODE).contains(&mode) => {
            let what = "must be a number between 0 and 0777 (octal), both inclusive";
            vec![FieldError::invalid(format!("{path}.{field}"), mode, what)]
        }
        _ => Vec::new(),
    }
}

fn key_paths(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, item) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        for field in ["key", "path"] {
            if text(item, field).is_empty() {
                errors.push(FieldError::required(format!("{path}.{field}"), ""));
            }
        }
        errors.extend(relative_path(text(item, "path"), &format!("{path}.path")));
        errors.extend(mode(item, "mode", &path));
    }
    errors
}

fn downward(list: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, item) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        if text(item, "path").is_empty() {
            errors.push(FieldError::required(format!("{path}.path"), ""));
        }
        errors.extend(relative_path(text(item, "path"), &format!("{path}.path")));
        errors.extend(mode(item, "mode", &path));
        let whole_map = ["metadata.labels", "metadata.annotations"].contains(&text(&item["fieldRef"], "fieldPath"));
        if has(item, "fieldRef") && !whole_map {
            errors.extend(env::field_ref(&item["fieldRef"], &format!("{path}.fieldRef")));
        } else if !has(item, "fieldRef") && !has(item, "resourceFieldRef") {
            errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
        }
    }
    errors
}

fn no_backsteps(text: &str, path: &str) -> Option<FieldError> {
    text.split('/').any(|p| p == "..").then(|| FieldError::invalid(path, text, "must not contain '..'"))
}

fn relative_path(text: &str, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text.starts_with('/') {
        errors.push(FieldError::invalid(path, text, "must be a relative path"));
    }
    errors.extend(no_backsteps(text, path));
    if text.starts_with("..") && errors.is_empty() {
        errors.push(FieldError::invalid(path, text, "must not start with '..'"));
    }
    errors
}

/// Checks the mounts of a container.
#[must_use]
pub fn mounts(list: &Value, path: &str, volume_names: &BTreeSet<String>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, mount) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !volume_names.contains(name) {
            errors.push(FieldError::not_found(format!("{path}.name"), name));
        }
        let at = text(mount, "mountPath");
        if at.is_empty() {
            errors.push(FieldError::required(format!("{path}.mountPath"), ""));
        } else if !seen.insert(at) {
            errors.push(FieldError::invalid(format!("{path}.mountPath"), at, "must be unique"));
        }
        for field in ["subPath", "subPathExpr"] {
            let sub = text(mount, field);
            if sub.starts_with('/') {
                errors.push(FieldError::invalid(format!("{path}.{field}"), sub, "must be a relative path"));
            }
            errors.extend(no_backsteps(sub, &format!("{path}.{field}")));
        }
        if has(mount, "subPath") && has(mount, "subPathExpr") {
            let what = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(format!("{path}.subPathExpr"), text(mount, "subPathExpr"), what));
        }
        let recursive = text(mount, "recursiveReadOnly");
        if matches!(recursive, "Enabled" | "IfPossible") {
            let at = format!("{path}.recursiveReadOnly");
            if !flag(mount, "readOnly") {
                let what = "may only be specified when readOnly is true";
                errors.push(FieldError::forbidden(at.as_str(), what));
            }
            if !matches!(text(mount, "mountPropagation"), "" | "None") {
                let what = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(at, what));
            }
        }
        let choices = ["Disabled", "Enabled", "IfPossible"];
        errors.extend(number::one_of(mount, "recursiveReadOnly", &path, &choices, false));
        let modes = ["None", "HostToContainer", "Bidirectional"];
        errors.extend(number::one_of(mount, "mountPropagation", &path, &modes, false));
    }
    errors
}

/// Checks the block devices of a container.
#[must_use]
pub fn devices(list: &Value, path: &str, volume_names: &BTreeSet<String>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (mut paths, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for (i, device) in items(list).iter().enumerate() {
        let path = format!("{path}[{i}]");
        let (name, at) = (text(device, "name"), text(device, "devicePath"));
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !seen.insert(name) {
            errors.push(FieldError::invalid(format!("{path}.name"), name, "must be unique"));
        } else if !volume_names.contains(name) {
            errors.push(FieldError::not_found(format!("{path}.name"), name));
        }
        if at.is_empty() {
            errors.push(FieldError::required(format!("{path}.devicePath"), ""));
        } else if !paths.insert(at) {
            errors.push(FieldError::invalid(format!("{path}.devicePath"), at, "must be unique"));
        }
        errors.extend(no_backsteps(at, &format!("{path}.devicePath")));
    }
    errors
}
