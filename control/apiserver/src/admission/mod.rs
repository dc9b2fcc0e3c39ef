//! Admission: what is added to or refused of an object before the kind's validation, in Kubernetes' order. Plain
//! functions, called one after the other. Here kinds are known by name.

mod namespace;
mod node_restriction;
mod priority;
mod requester;
mod service_account;

use crate::{allocate, generic::write::Write};
use api::Status;
use registry::Resource;
use serde_json::Value;

/// A new object.
pub(crate) async fn create(write: &Write<'_>, object: &mut Value) -> Result<(), Status> {
    namespace::lifecycle(write, object).await?;
    if is(write.resource, "", "pods") {
        service_account::admit(write, object).await?;
        priority::admit(object)?;
    }
    if is(write.resource, "certificates.k8s.io", "certificatesigningrequests") {
        requester::stamp(write, object);
    }
    node_restriction::create(write, object)?;
    // Mutations that are part of the kind itself (pods: default tolerations).
    write.resource.strategy.admit(object);
    Ok(())
}

/// A changed object.
pub(crate) async fn update(write: &Write<'_>, new: &mut Value, old: &Value) -> Result<(), Status> {
    if is(write.resource, "", "services") {
        allocate::carry_over(new, old);
    }
    Ok(())
}

/// An object that is to be deleted.
pub(crate) fn delete(write: &Write<'_>, old: &Value) -> Result<(), Status> {
    if is(write.resource, "", "namespaces") {
        namespace::protect(write, old)?;
    }
    Ok(())
}

fn is(resource: &Resource, group: &str, name: &str) -> bool {
    resource.group == group && resource.resource == name
}
