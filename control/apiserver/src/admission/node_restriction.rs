//! NodeRestriction, as far as bodies go: a node makes its own Node and its own Lease, under its own name.

use super::is;
use crate::generic::write::Write;
use api::{Status, meta};
use serde_json::Value;

pub(super) fn create(write: &Write<'_>, object: &Value) -> Result<(), Status> {
    let Some(node) = write.user.node() else { return Ok(()) };
    let own = is(write.resource, "", "nodes") || is(write.resource, "coordination.k8s.io", "leases");
    if own && meta::name(object) != node {
        let what = format!("node {node:?} is not allowed to create {} under another name", write.resource.singular);
        return Err(Status::forbidden(&write.resource.gvr(), meta::name(object), &what));
    }
    Ok(())
}
