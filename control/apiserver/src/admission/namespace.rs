//! NamespaceLifecycle: nothing is created in a namespace that is not there or is going.

use crate::{
    generic::write::Write,
    informed::{Kind, Snapshot},
};
use api::{Gvr, Status, meta};
use serde_json::Value;

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn lifecycle(write: &Write<'_>, snapshot: &Snapshot, object: &Value) -> Result<(), Status> {
    if !write.resource.namespaced {
        return Ok(());
    }
    let name = write.namespace;
    let Some(namespace) = snapshot.get(Kind::Namespaces, "", name) else {
        return Err(Status::not_found(&Gvr::new("", "v1", "namespaces"), name));
    };
    if !meta::is_deleting(&namespace.value) {
        return Ok(());
    }
    let what = format!("unable to create new content in namespace {name} because it is being terminated");
    Err(Status::forbidden(&write.resource.gvr(), meta::name(object), &what).with_cause(
        "NamespaceTerminating",
        &format!("namespace {name} is being terminated"),
        "metadata.namespace",
    ))
}

pub(super) fn protect(write: &Write<'_>, old: &Value) -> Result<(), Status> {
    if IMMORTAL.contains(&meta::name(old)) {
        return Err(Status::forbidden(&write.resource.gvr(), meta::name(old), "this namespace may not be deleted"));
    }
    Ok(())
}
