//! PersistentVolumeClaims.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::persistentvolume::{ACCESS_MODES, access_modes};
use super::pod::defaults::resource_list;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column, wide};
use crate::strategy::copy_field;
use crate::validate::{labels, names, number, resources};
use crate::value::{has, items, set, set_default, text};

/// Strategy of PersistentVolumeClaims.
pub struct PersistentVolumeClaim;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "Whether it is bound"),
    column("Volume", "Its volume"),
    column("Capacity", "Size of the volume"),
    column("Access Modes", "How it may be mounted"),
    column("StorageClass", "Class that provides it"),
    column("VolumeAttributesClass", "Class of its attributes"),
    AGE,
    wide("VolumeMode", "Whether it is a filesystem or a block device"),
];

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const IMMUTABLE: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

impl Strategy for PersistentVolumeClaim {
    fn default(&self, claim: &mut Value) {
        if let Some(spec) = claim.get_mut("spec").filter(|s| s.is_object()) {
            claim_spec(spec);
        }
        for list in ["capacity", "allocatedResources"] {
            if has(&claim["status"], list) {
                resource_list(&mut claim["status"][list]);
            }
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn prepare_create(&self, claim: &mut Value) {
        set(claim, "status", json!({"phase": "Pending"}));
        if let Some(spec) = claim.get_mut("spec").filter(|s| s.is_object()) {
            same_source(spec);
        }
        meta::remove(claim, "generation");
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "status");
        if let Some(spec) = new.get_mut("spec").filter(|s| s.is_object()) {
            same_source(spec);
        }
    }

    fn validate(&self, claim: &Value) -> Vec<FieldError> {
        spec(&claim["spec"], "spec")
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        update(new, old)
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let status = &new["status"];
        let mut errors = Vec::new();
        for list in ["capacity", "allocatedResources"] {
            for (name, amount) in crate::value::entries(&status[list]) {
                errors.extend(resources::amount(amount, &format!("status.{list}[{name}]")));
            }
        }
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = class_warning(new);
        if let Some(written) = fraction(&new["spec"]["resources"]["requests"]) {
            let what = "fractional byte value";
            let rest = "is invalid, must be an integer";
            warnings.push(format!("spec.resources.requests[storage]: {what} {written:?} {rest}"));
        }
        warnings
    }

    fn row(&self, claim: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&claim["spec"], &claim["status"]);
        let (mut capacity, mut modes) = (String::new(), String::new());
        if !text(spec, "volumeName").is_empty() {
            modes = access_modes(&status["accessModes"]);
            capacity = text(&status["capacity"], "storage").to_owned();
        }
        let phase = if meta::is_deleting(claim) { "Terminating" } else { text(status, "phase") };
        vec![
            meta::name(claim).into(),
            phase.into(),
            text(spec, "volumeName").into(),
            capacity.into(),
            modes.into(),
            class_of(claim).into(),
            unset(status["currentVolumeAttributesClassName"].as_str()).into(),
            age(claim, now),
            unset(spec["volumeMode"].as_str()).into(),
        ]
    }
}

/// The class an object names, by annotation or field.
pub(super) fn class_of(object: &Value) -> String {
    meta::annotation(object, CLASS_ANNOTATION).unwrap_or_else(|| text(&object["spec"], "storageClassName")).to_owned()
}

/// The annotation that used to name the class.
pub(super) fn class_warning(object: &Value) -> Vec<String> {
    let named = meta::annotation(object, CLASS_ANNOTATION).is_some();
    let what = format!(
        "metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
    );
    if named { vec![what] } else { Vec::new() }
}

/// The text, or `<unset>`.
pub(super) fn unset(text: Option<&str>) -> &str {
    text.filter(|t| !t.is_empty()).unwrap_or("<unset>")
}

/// A request of parts of a byte, as it is written.
fn fraction(requests: &Value) -> Option<String> {
    resources::quantity(&requests["storage"]).filter(|q| !q.is_whole()).map(|q| q.to_string())
}

/// Defaults of a claim's spec, in a claim, a template of an ephemeral volume or of a StatefulSet.
pub fn claim_spec(spec: &mut Value) {
    set_default(spec, "volumeMode", "Filesystem");
    for list in ["limits", "requests"] {
        if has(&spec["resources"], list) {
            resource_list(&mut spec["resources"][list]);
        }
    }
}

/// `dataSource` and `dataSourceRef` say the same, unless the latter names a namespace.
fn same_source(spec: &mut Value) {
    if has(spec, "dataSource") && !has(spec, "dataSourceRef") {
        let source = spec["dataSource"].clone();
        set(spec, "dataSourceRef", source);
    } else if has(spec, "dataSourceRef")
        && !has(spec, "dataSource")
        && text(&spec["dataSourceRef"], "namespace").is_empty()
    {
        let mut source = spec["dataSourceRef"].clone();
        crate::value::remove(&mut source, "namespace");
        set(spec, "dataSource", source);
    }
}

/// Checks a claim's spec at a path.
#[must_use]
pub fn spec(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let modes = items(&spec["accessModes"]);
    if modes.is_empty() {
        errors.push(FieldError::required(format!("{path}.accessModes"), "at least 1 access mode is required"));
    }
    if has(spec, "selector") {
        errors.extend(labels::selector(&spec["selector"], &format!("{path}.selector")));
    }
    for mode in modes.iter().filter_map(Value::as_str) {
        if !ACCESS_MODES.contains(&mode) {
            errors.push(FieldError::not_supported(format!("{path}.accessModes"), mode, &ACCESS_MODES));
        }
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        let what = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(format!("{path}.accessModes"), what));
    }
    let wanted = &spec["resources"]["requests"]["storage"];
    let at = format!("{path}.resources[storage]");
    if wanted.is_null() {
        errors.push(FieldError::required(at, ""));
    } else if let Some(amount) = resources::quantity(wanted) {
        if amount.is_negative() || amount.is_zero() {
            errors.push(FieldError::invalid(at, amount.to_string(), "must be greater than zero"));
        }
    } else {
        errors.extend(resources::amount(wanted, &at));
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        let name = text(spec, field);
        if !name.is_empty() {
            let wrong = names::dns_subdomain(name);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.{field}"), name, w)));
        }
    }
    errors.extend(number::one_of(spec, "volumeMode", path, &["Block", "Filesystem"], false));
    for field in ["dataSource", "dataSourceRef"] {
        if has(spec, field) {
            errors.extend(source(&spec[field], &format!("{path}.{field}")));
        }
    }
    let plain = text(&spec["dataSourceRef"], "namespace").is_empty();
    if has(spec, "dataSource") && has(spec, "dataSourceRef") {
        let same = ["apiGroup", "kind", "name"].iter().all(|f| {
            let (a, b) = (&spec["dataSource"], &spec["dataSourceRef"]);
            text(a, f) == text(b, f)
        });
        if plain && !same {
            errors.push(FieldError::invalid(path, format!("{path}.dataSource"), "must match dataSourceRef"));
        } else if !plain {
            let what = "may not be specified when dataSourceRef.namespace is specified";
            errors.push(FieldError::invalid(path, format!("{path}.dataSource"), what));
        }
    }
    errors
}

fn source(source: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["name", "kind"] {
        if text(source, field).is_empty() {
            errors.push(FieldError::required(format!("{path}.{field}"), ""));
        }
    }
    let (group, kind) = (text(source, "apiGroup"), text(source, "kind"));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        errors.push(FieldError::invalid(
            path,
            kind,
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        ));
    }
    errors
}

fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let (now, before) = (&new["spec"], &old["spec"]);
    let mut expected = now.clone();
    if !expected.is_object() || !before.is_object() {
        let same = expected == *before;
        return if same { Vec::new() } else { vec![FieldError::forbidden("spec", IMMUTABLE)] };
    }
    // The binder names the volume.
    if text(before, "volumeName").is_empty() {
        copy_field(&mut expected, before, "volumeName");
    }
    // A class may be given to a claim that has none.
    if !has(before, "storageClassName") && has(now, "storageClassName") {
        copy_field(&mut expected, before, "storageClassName");
    }
    let bound = text(&old["status"], "phase") == "Bound";
    let mut errors = Vec::new();
    if bound {
        if now["resources"]["requests"] != before["resources"]["requests"] {
            copy_field(&mut expected["resources"], &before["resources"], "requests");
        }
        copy_field(&mut expected, before, "volumeAttributesClassName");
    }
    if &expected != before {
        errors.push(FieldError::forbidden("spec", IMMUTABLE));
        return errors;
    }
    let size = |v: &Value| resources::quantity(v);
    let (wanted, had) =
        (size(&now["resources"]["requests"]["storage"]), size(&before["resources"]["requests"]["storage"]));
    if let (Some(wanted), Some(had)) = (wanted, had)
        && wanted < had
    {
        let reached = size(&old["status"]["capacity"]["storage"]);
        if reached.is_none_or(|r| wanted < r) {
            let what = "field can not be less than status.capacity";
            errors.push(FieldError::forbidden("spec.resources.requests.storage", what));
        }
    }
    if has(before, "volumeAttributesClassName") && !has(now, "volumeAttributesClassName") {
        let what = "update from non-nil value to nil is forbidden";
        errors.push(FieldError::forbidden("spec.volumeAttributesClassName", what));
    }
    errors
}
