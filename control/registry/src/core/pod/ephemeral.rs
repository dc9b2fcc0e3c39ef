//! pods/ephemeralcontainers: containers for debugging join a pod that runs; they never change nor leave.

use std::collections::BTreeSet;

use api::{FieldError, meta};
use serde_json::Value;

use super::defaults;
use crate::strategy::copy_field;
use crate::validate::container::{Place, container};
use crate::validate::volumes;
use crate::value::{has, items, text};

const PATH: &str = "spec.ephemeralContainers";

/// The pod with the ephemeral containers that `wanted` has, and nothing else of it.
#[must_use]
pub fn merge(old: &Value, wanted: &Value) -> Value {
    let mut new = old.clone();
    copy_field(meta_spec(&mut new), &wanted["spec"], "ephemeralContainers");
    defaults::pod_spec(&mut new["spec"]);
    if new["spec"] != old["spec"] {
        meta::set_generation(&mut new, meta::generation(old) + 1);
    }
    new
}

fn meta_spec(pod: &mut Value) -> &mut Value {
    meta::child_mut(pod, "spec");
    &mut pod["spec"]
}

/// Checks what [`merge`] made.
#[must_use]
pub fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    if meta::annotation(old, "kubernetes.io/config.mirror").is_some() {
        return vec![FieldError::forbidden("", "static pods do not support ephemeral containers")];
    }
    let mut errors = containers(&new["spec"]);
    let now = items(&new["spec"]["ephemeralContainers"]);
    for before in items(&old["spec"]["ephemeralContainers"]) {
        let name = text(before, "name");
        match now.iter().find(|c| text(c, "name") == name) {
            None => {
                let what = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(FieldError::forbidden(PATH, what));
            }
            Some(same) if same != before => {
                let what = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.push(FieldError::forbidden(PATH, what));
            }
            Some(_) => {}
        }
    }
    errors
}

/// Checks the ephemeral containers of a pod.
fn containers(spec: &Value) -> Vec<FieldError> {
    let (_, volume_names) = volumes::volumes(&spec["volumes"], "spec.volumes");
    let names = |list: &str| items(&spec[list]).iter().map(|c| text(c, "name")).collect::<BTreeSet<_>>();
    let (others, mut seen) = (&names("containers") | &names("initContainers"), BTreeSet::new());
    let mut errors = Vec::new();
    for (i, item) in items(&spec["ephemeralContainers"]).iter().enumerate() {
        let path = format!("{PATH}[{i}]");
        errors.extend(container(item, &path, Place::Ephemeral, &volume_names));
        let name = text(item, "name");
        if !name.is_empty() && (others.contains(name) || !seen.insert(name)) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        let target = text(item, "targetContainerName");
        if !target.is_empty() && !others.contains(target) {
            errors.push(FieldError::not_found(format!("{path}.targetContainerName"), target));
        }
        for (j, mount) in items(&item["volumeMounts"]).iter().enumerate() {
            for field in ["subPath", "subPathExpr"].into_iter().filter(|f| has(mount, f)) {
                let at = format!("{path}.volumeMounts[{j}].{field}");
                errors.push(FieldError::forbidden(at, "cannot be set for an Ephemeral Container"));
            }
        }
    }
    errors
}
