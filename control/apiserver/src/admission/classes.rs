//! What objects get from the class they name, or from the default one: storage, ingress and runtime classes; and the
//! finalizers that keep storage which is in use.

use super::limit_ranger::amounts;
use crate::{
    generic::write::Write,
    informed::{Kind, Snapshot},
};
use api::{Gvr, Status, meta};
use serde_json::{Value, json};

const DEFAULT_STORAGE: &str = "storageclass.kubernetes.io/is-default-class";
const DEFAULT_STORAGE_BETA: &str = "storageclass.beta.kubernetes.io/is-default-class";
const CLAIM_CLASS_BETA: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_INGRESS: &str = "ingressclass.kubernetes.io/is-default-class";
const INGRESS_CLASS_OLD: &str = "kubernetes.io/ingress.class";

/// The newest default class, by name among those made at once.
fn default_class<'a>(snapshot: &'a Snapshot, kind: Kind, annotations: &[&str]) -> Option<&'a str> {
    let marked = |class: &Value| annotations.iter().any(|name| meta::annotation(class, name) == Some("true"));
    let classes = snapshot.all(kind).map(|class| &class.value).filter(|class| marked(class));
    let newest = classes
        .max_by(|a, b| (meta::creation_timestamp(a), meta::name(b)).cmp(&(meta::creation_timestamp(b), meta::name(a))));
    newest.map(meta::name)
}

/// DefaultStorageClass.
pub(super) fn storage(snapshot: &Snapshot, claim: &mut Value) {
    if claim["spec"].get("storageClassName").is_some_and(|class| !class.is_null())
        || meta::annotation(claim, CLAIM_CLASS_BETA).is_some()
    {
        return;
    }
    if let Some(class) = default_class(snapshot, Kind::StorageClasses, &[DEFAULT_STORAGE, DEFAULT_STORAGE_BETA]) {
        meta::child_mut(claim, "spec").insert("storageClassName".to_owned(), json!(class));
    }
}

/// PersistentVolumeClaimResize.
pub(super) fn resize(snapshot: &Snapshot, new: &Value, old: &Value) -> Result<(), Status> {
    let size = |claim: &Value| amounts(&claim["spec"]["resources"]["requests"]).get("storage").copied();
    let grows = match (size(new), size(old)) {
        (Some(new), Some(old)) => old.sub(new).is_negative(),
        _ => false,
    };
    if !grows {
        return Ok(());
    }
    let refuse =
        |what: &str| Err(Status::forbidden(&Gvr::new("", "v1", "persistentvolumeclaims"), meta::name(old), what));
    if old["status"]["phase"] != "Bound" {
        return refuse("Only bound persistent volume claims can be expanded");
    }
    let class = old["spec"]["storageClassName"].as_str().unwrap_or_default();
    let class = snapshot.get(Kind::StorageClasses, "", class);
    if class.is_some_and(|class| class.value["allowVolumeExpansion"] == true) {
        return Ok(());
    }
    refuse(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    )
}

/// DefaultIngressClass.
pub(super) fn ingress(snapshot: &Snapshot, ingress: &mut Value) {
    if ingress["spec"].get("ingressClassName").is_some_and(|class| !class.is_null())
        || meta::annotation(ingress, INGRESS_CLASS_OLD).is_some()
    {
        return;
    }
    if let Some(class) = default_class(snapshot, Kind::IngressClasses, &[DEFAULT_INGRESS]) {
        meta::child_mut(ingress, "spec").insert("ingressClassName".to_owned(), json!(class));
    }
}

/// RuntimeClass: overhead and where the class can run.
pub(super) fn runtime(write: &Write<'_>, snapshot: &Snapshot, pod: &mut Value) -> Result<(), Status> {
    let name = meta::name(pod).to_owned();
    let refuse = |what: String| Err(Status::forbidden(&write.resource.gvr(), &name, &what));
    let asked = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default().to_owned();
    let overhead = pod["spec"].get("overhead").filter(|own| own.as_object().is_some_and(|own| !own.is_empty()));
    if asked.is_empty() {
        return match overhead {
            Some(_) => {
                refuse("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".to_owned())
            }
            None => Ok(()),
        };
    }
    let Some(class) = snapshot.get(Kind::RuntimeClasses, "", &asked).map(|class| &class.value) else {
        return refuse(format!("pod rejected: RuntimeClass {asked:?} not found"));
    };
    let fixed = &class["overhead"]["podFixed"];
    match (overhead, fixed.is_object()) {
        (Some(own), true) if amounts(own) != amounts(fixed) => {
            return refuse("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned());
        }
        (Some(_), false) => {
            return refuse(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".to_owned(),
            );
        }
        (None, true) => {
            meta::child_mut(pod, "spec").insert("overhead".to_owned(), fixed.clone());
        }
        (Some(_), true) | (None, false) => {}
    }
    let scheduling = &class["scheduling"];
    if let Some(wanted) = scheduling["nodeSelector"].as_object() {
        let spec = meta::child_mut(pod, "spec");
        let selector = meta::object_mut(spec.entry("nodeSelector").or_insert(Value::Null));
        for (key, value) in wanted {
            match selector.get(key) {
                Some(own) if own != value => {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    return refuse(format!(
                        "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                        text(value),
                        text(own)
                    ));
                }
                Some(_) => {}
                None => {
                    selector.insert(key.clone(), value.clone());
                }
            }
        }
    }
    if let Some(more) = scheduling["tolerations"].as_array() {
        let spec = meta::child_mut(pod, "spec");
        let list = spec.entry("tolerations").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            for toleration in more {
                if !list.contains(toleration) {
                    list.push(toleration.clone());
                }
            }
        }
    }
    Ok(())
}
