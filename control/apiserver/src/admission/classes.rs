//! Default classes of storage and of ingress, and whether a storage class lets a claim grow.

use super::limit_ranger::amounts;
use crate::informed::{Kind, Snapshot};
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

/// The class a claim names, in whichever way.
pub(super) fn class_of(claim: &Value) -> &str {
    meta::annotation(claim, CLAIM_CLASS_BETA).or_else(|| claim["spec"]["storageClassName"].as_str()).unwrap_or_default()
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
    let class = snapshot.get(Kind::StorageClasses, "", class_of(old));
    if class_of(new) == class_of(old) && class.is_some_and(|class| class.value["allowVolumeExpansion"] == true) {
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
