//! pods/resize: CPU and memory of containers change while they run.

use api::{FieldError, meta};
use serde_json::Value;

use super::{defaults, qos};
use crate::strategy::copy_field;
use crate::validate;
use crate::value::{entries, has, items, items_mut, text};

/// Resources that may change.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// The pod with the resources and resize policies that `wanted` gives its containers, and nothing else of it.
#[must_use]
pub fn merge(old: &Value, wanted: &Value) -> Value {
    let mut new = old.clone();
    for list in ["containers", "initContainers"] {
        let asked = items(&wanted["spec"][list]).to_vec();
        let Some(spec) = new.get_mut("spec") else { continue };
        for container in items_mut(spec, list) {
            let name = text(container, "name").to_owned();
            let Some(same) = asked.iter().find(|c| text(c, "name") == name) else { continue };
            copy_field(container, same, "resources");
            copy_field(container, same, "resizePolicy");
        }
    }
    if has(&wanted["spec"], "resources") {
        copy_field(&mut new["spec"], &wanted["spec"], "resources");
    }
    defaults::pod_spec(&mut new["spec"]);
    defaults::pod_only(&mut new["spec"]);
    if new["spec"] != old["spec"] {
        meta::set_generation(&mut new, meta::generation(old) + 1);
    }
    new
}

/// Checks what [`merge`] made.
#[must_use]
pub fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    if meta::annotation(old, "kubernetes.io/config.mirror").is_some() {
        return vec![FieldError::forbidden("", "static pods cannot be resized")];
    }
    let mut errors = validate::pod::spec(&new["spec"], "spec");
    let class = |pod: &Value| match text(&pod["status"], "qosClass") {
        "" => qos::class(&old["spec"]).to_owned(),
        class => class.to_owned(),
    };
    let (now, before) = (qos::class(&new["spec"]), class(old));
    if now != before {
        errors.push(FieldError::invalid("spec", now, "Pod QOS Class may not change as a result of resizing"));
    }
    for list in ["containers", "initContainers"] {
        for (i, (container, was)) in items(&new["spec"][list]).iter().zip(items(&old["spec"][list])).enumerate() {
            let path = format!("spec.{list}[{i}].resources");
            let is_fixed = list == "initContainers" && text(container, "restartPolicy") != "Always";
            if is_fixed && container["resources"] != was["resources"] {
                let what = "cannot resize init containers that are not sidecars";
                errors.push(FieldError::forbidden(path, what));
                continue;
            }
            errors.extend(amounts(&container["resources"], &was["resources"], &path));
        }
    }
    errors
}

fn amounts(new: &Value, old: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for list in ["limits", "requests"] {
        let path = format!("{path}.{list}");
        for (name, was) in entries(&old[list]) {
            let now = &new[list][name];
            if now.is_null() && RESIZABLE.contains(&name.as_str()) {
                errors.push(FieldError::forbidden(path.as_str(), format!("resource {list} cannot be removed")));
            } else if now != was && !RESIZABLE.contains(&name.as_str()) {
                errors.push(FieldError::forbidden("spec", "only cpu and memory resources are mutable"));
            }
        }
        for (name, _) in entries(&new[list]) {
            if !RESIZABLE.contains(&name.as_str()) && old[list][name].is_null() {
                errors.push(FieldError::forbidden("spec", "only cpu and memory resources are mutable"));
            }
        }
    }
    errors
}
