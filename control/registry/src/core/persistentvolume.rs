//! PersistentVolumes.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::persistentvolumeclaim::{class_of, class_warning, unset};
use super::pod::defaults::resource_list;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column, wide};
use crate::validate::{names, number, resources, scheduling, volumes};
use crate::value::{entries, has, items, set, set_default, text};

/// Strategy of PersistentVolumes.
pub struct PersistentVolume;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Capacity", "Size of the volume"),
    column("Access Modes", "How it may be mounted"),
    column("Reclaim Policy", "What becomes of it when it is released"),
    column("Status", "Whether it is bound"),
    column("Claim", "Who has it"),
    column("StorageClass", "Class it belongs to"),
    column("VolumeAttributesClass", "Class of its attributes"),
    column("Reason", "Why it is in this state"),
    AGE,
    wide("VolumeMode", "Whether it is a filesystem or a block device"),
];

pub(super) const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// Fields of the spec that are no volume source.
const PLAIN: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

impl Strategy for PersistentVolume {
    fn default(&self, volume: &mut Value) {
        let Some(spec) = volume.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "persistentVolumeReclaimPolicy", "Retain");
        set_default(spec, "volumeMode", "Filesystem");
        if has(spec, "capacity") {
            resource_list(&mut spec["capacity"]);
        }
        super::pod::volumes::sources(spec);
    }

    fn has_status(&self) -> bool {
        true
    }

    fn prepare_create(&self, volume: &mut Value) {
        set(volume, "status", json!({"phase": "Pending"}));
        meta::remove(volume, "generation");
    }

    fn validate(&self, volume: &Value) -> Vec<FieldError> {
        let mut errors = spec(&volume["spec"]);
        if has(&volume["spec"], "local") && !has(&volume["spec"], "nodeAffinity") {
            errors.push(FieldError::required("metadata.annotations", "Local volume requires node affinity"));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (new, old) = (&new["spec"], &old["spec"]);
        let mut errors = Vec::new();
        let source = |spec: &Value| -> Vec<(String, Value)> {
            let found = entries(spec).filter(|(k, v)| !PLAIN.contains(&k.as_str()) && !v.is_null());
            found.map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        if source(new) != source(old) {
            let what = "spec.persistentvolumesource is immutable after creation";
            errors.push(FieldError::forbidden("spec.persistentvolumesource", what));
        }
        if new["volumeMode"] != old["volumeMode"] {
            errors.push(FieldError::invalid("spec.volumeMode", new["volumeMode"].clone(), "field is immutable"));
        }
        if has(old, "nodeAffinity") && new["nodeAffinity"] != old["nodeAffinity"] {
            let what = "field is immutable, except for updating from beta label to GA";
            errors.push(FieldError::invalid("spec.nodeAffinity", new["nodeAffinity"].clone(), what));
        }
        if has(old, "volumeAttributesClassName") && !has(new, "volumeAttributesClassName") {
            let what = "update from non-nil value to nil is forbidden";
            errors.push(FieldError::forbidden("spec.volumeAttributesClassName", what));
        }
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = class_warning(new);
        let spec = &new["spec"];
        if text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
            let what = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
            warnings.push(format!("spec.persistentVolumeReclaimPolicy: {what}"));
        }
        for (source, since) in [
            ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
            ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
            ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
            ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
            ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
            ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
        ] {
            if has(spec, source) {
                warnings.push(format!("spec.{source}: {since}"));
            }
        }
        warnings
    }

    fn row(&self, volume: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&volume["spec"], &volume["status"]);
        let claim = match &spec["claimRef"] {
            Value::Null => String::new(),
            claim => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
        };
        let phase = if meta::is_deleting(volume) { "Terminating" } else { text(status, "phase") };
        vec![
            meta::name(volume).into(),
            text(&spec["capacity"], "storage").into(),
            access_modes(&spec["accessModes"]).into(),
            text(spec, "persistentVolumeReclaimPolicy").into(),
            phase.into(),
            claim.into(),
            class_of(volume).into(),
            unset(spec["volumeAttributesClassName"].as_str()).into(),
            text(status, "reason").into(),
            age(volume, now),
            unset(spec["volumeMode"].as_str()).into(),
        ]
    }
}

/// `RWO,ROX,...`, each once, in the customary order.
pub(super) fn access_modes(modes: &Value) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| items(modes).iter().any(|m| m == mode);
    short.iter().filter(|(mode, _)| has(mode)).map(|(_, s)| *s).collect::<Vec<_>>().join(",")
}

fn spec(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let modes = items(&spec["accessModes"]);
    if modes.is_empty() {
        errors.push(FieldError::required("spec.accessModes", ""));
    }
    for mode in modes.iter().filter_map(Value::as_str).filter(|m| !ACCESS_MODES.contains(m)) {
        errors.push(FieldError::not_supported("spec.accessModes", mode, &ACCESS_MODES));
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        let what = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden("spec.accessModes", what));
    }
    let amounts: Vec<_> = entries(&spec["capacity"]).collect();
    if amounts.is_empty() {
        errors.push(FieldError::required("spec.capacity", ""));
    } else if amounts.len() > 1 || !has(&spec["capacity"], "storage") {
        errors.push(FieldError::not_supported("spec.capacity", spec["capacity"].clone(), &["storage"]));
    }
    for (name, amount) in amounts {
        let path = format!("spec.capacity[{name}]");
        match resources::quantity(amount) {
            Some(q) if q.is_negative() || q.is_zero() => {
                errors.push(FieldError::invalid(path, q.to_string(), "must be greater than zero"));
            }
            Some(_) => {}
            None => errors.extend(resources::amount(amount, &path)),
        }
    }
    let policies = ["Delete", "Recycle", "Retain"];
    errors.extend(number::one_of(spec, "persistentVolumeReclaimPolicy", "spec", &policies, false));
    if has(&spec["nodeAffinity"], "required") {
        let path = "spec.nodeAffinity.required";
        errors.extend(scheduling::node_selector(&spec["nodeAffinity"]["required"], path));
    } else if has(spec, "nodeAffinity") {
        errors.push(FieldError::required("spec.nodeAffinity.required", "must specify required node constraints"));
    }
    errors.extend(sources(spec));
    if text(&spec["hostPath"], "path") == "/" && text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        let what = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(FieldError::forbidden("spec.persistentVolumeReclaimPolicy", what));
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        let name = text(spec, field);
        if !name.is_empty() {
            let wrong = names::dns_subdomain(name);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("spec.{field}"), name, w)));
        }
    }
    errors.extend(number::one_of(spec, "volumeMode", "spec", &["Block", "Filesystem"], false));
    errors
}

fn sources(spec: &Value) -> Vec<FieldError> {
    let named: Vec<&String> =
        entries(spec).filter(|(k, v)| !PLAIN.contains(&k.as_str()) && !v.is_null()).map(|(k, _)| k).collect();
    let Some(first) = named.first() else {
        return vec![FieldError::required("spec", "must specify a volume type")];
    };
    let mut errors: Vec<FieldError> = named[1..]
        .iter()
        .map(|k| FieldError::forbidden(format!("spec.{k}"), "may not specify more than 1 volume type"))
        .collect();
    errors.extend(volumes::persistent_source(first, &spec[first.as_str()], &format!("spec.{first}")));
    errors
}
