//! Admission: what is added to or refused of a request before it is written, in Kubernetes' order: the built-in
//! plugins change the object, then mutating webhooks do; once it is defaulted and validated, validating webhooks may
//! refuse it, and quota comes last. Plain functions, called one after the other. Here kinds are known by name.

mod certificates;
mod classes;
mod conditions;
mod hooks;
mod limit_ranger;
mod namespace;
mod node_restriction;
mod origin;
mod pod_security;
mod priority;
pub(crate) mod quota;
mod rbac;
mod requester;
mod runtime_class;
mod service_account;

pub(crate) use hooks::Hooks;
pub(crate) use origin::Origin;
pub(crate) use quota::{Quotas, Reserved};

use crate::{allocate, generic::write::Write, http::query::Query, informed::Snapshot, storage::Stored};
use api::{Gvk, Revision, Status};
use registry::Resource;
use serde_json::{Value, json};

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// One request, as admission sees it.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) write: &'a Write<'a>,
    pub(crate) operation: Operation,
    /// The kind of the object, which a subresource may have of its own.
    pub(crate) kind: &'a Gvk,
    pub(crate) subresource: &'a str,
    /// The present object, as it is stored.
    pub(crate) old: Option<&'a Value>,
    pub(crate) revision: Option<Revision>,
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// Changes an object that is to be created or updated. True if a webhook did.
pub(crate) async fn mutate(call: &Call<'_>, object: &mut Value) -> Result<bool, Status> {
    let snapshot = call.write.server.informed.latest().await?;
    if is(call.write.resource, "", "services") {
        call.write.server.allocators.follow(&snapshot);
    }
    mutate_built_in(call, &snapshot, object).await?;
    let changed = hooks::mutate(call, &snapshot, object).await?;
    if call.subresource.is_empty() && matches!(call.operation, Operation::Create | Operation::Update) {
        rbac::check(call.write, object, call.old).await?;
    }
    Ok(changed)
}

/// Refuses what has been changed, defaulted and validated, or reserves what it uses of quotas.
pub(crate) async fn validate(call: &Call<'_>, object: &Value) -> Result<Reserved, Status> {
    let snapshot = call.write.server.informed.latest().await?;
    validate_built_in(call, &snapshot, object).await?;
    limit_ranger::check(call, &snapshot, object)?;
    pod_security::check(call, &snapshot, object).await?;
    hooks::validate(call, &snapshot, Some(object)).await?;
    quota::reserve(call, &snapshot, object).await
}

/// What is posted to a subresource that stores no object of its own (evictions, bindings): webhooks alone see it.
pub(crate) async fn post(write: &Write<'_>, kind: &Gvk, subresource: &str, object: &mut Value) -> Result<(), Status> {
    visit(write, Operation::Create, kind, subresource, object).await
}

/// The first half of [`post`], for what is checked in between.
pub(crate) async fn mutate_posted(
    write: &Write<'_>,
    kind: &Gvk,
    subresource: &str,
    object: &mut Value,
) -> Result<(), Status> {
    let call = Call { write, operation: Operation::Create, kind, subresource, old: None, revision: None };
    let snapshot = write.server.informed.latest().await?;
    hooks::mutate(&call, &snapshot, object).await.map(drop)
}

/// The second half of [`post`].
pub(crate) async fn validate_posted(
    write: &Write<'_>,
    kind: &Gvk,
    subresource: &str,
    object: &Value,
) -> Result<(), Status> {
    let call = Call { write, operation: Operation::Create, kind, subresource, old: None, revision: None };
    let snapshot = write.server.informed.latest().await?;
    hooks::validate(&call, &snapshot, Some(object)).await
}

/// A connection to an object: exec, attach, port-forward, proxy.
pub(crate) async fn connect(write: &Write<'_>, subresource: &str, query: &Query) -> Result<(), Status> {
    let kind = match (write.resource.kind.as_str(), subresource) {
        (_, "exec") => "PodExecOptions".to_owned(),
        (_, "attach") => "PodAttachOptions".to_owned(),
        (_, "portforward") => "PodPortForwardOptions".to_owned(),
        (kind, "proxy") => format!("{kind}ProxyOptions"),
        _ => return Ok(()),
    };
    let kind = Gvk::new("", "v1", &kind);
    let mut object = json!({"apiVersion": "v1", "kind": kind.kind});
    for field in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|field| query.get(field).is_some()) {
        object[field] = json!(query.flag(field));
    }
    for field in ["container", "path"] {
        if let Some(text) = query.get(field) {
            object[field] = json!(text);
        }
    }
    let command: Vec<&str> = query.all("command").collect();
    if !command.is_empty() {
        object["command"] = json!(command);
    }
    let ports: Vec<u16> = query.all("ports").filter_map(|port| port.parse().ok()).collect();
    if !ports.is_empty() {
        object["ports"] = json!(ports);
    }
    visit(write, Operation::Connect, &kind, subresource, &mut object).await
}

async fn visit(
    write: &Write<'_>,
    operation: Operation,
    kind: &Gvk,
    subresource: &str,
    object: &mut Value,
) -> Result<(), Status> {
    let call = Call { write, operation, kind, subresource, old: None, revision: None };
    let snapshot = write.server.informed.latest().await?;
    hooks::mutate(&call, &snapshot, object).await?;
    hooks::validate(&call, &snapshot, Some(object)).await
}

/// An object that is to be deleted.
pub(crate) async fn delete(write: &Write<'_>, old: &Stored) -> Result<(), Status> {
    node_restriction::delete(write, &old.value)?;
    if is(write.resource, "", "namespaces") {
        namespace::protect(write, &old.value)?;
    }
    let kind = write.resource.gvk();
    let call = Call {
        write,
        operation: Operation::Delete,
        kind: &kind,
        subresource: "",
        old: Some(&old.value),
        revision: Some(old.revision),
    };
    let snapshot = write.server.informed.latest().await?;
    hooks::mutate(&call, &snapshot, &mut Value::Null).await?;
    hooks::validate(&call, &snapshot, None).await
}

/// The built-in plugins that change objects, in order; called again after a webhook changed one.
async fn mutate_built_in(call: &Call<'_>, snapshot: &Snapshot, object: &mut Value) -> Result<(), Status> {
    let write = call.write;
    let resource = write.resource;
    match (call.operation, call.old) {
        (Operation::Create, _) if call.subresource.is_empty() => create(call, snapshot, object).await,
        (Operation::Update, Some(old)) => {
            node_restriction::update(write, object, old)?;
            if !call.subresource.is_empty() {
                return Ok(());
            }
            if is(resource, "", "services") {
                allocate::carry_over(object, old);
            }
            if is(resource, "scheduling.k8s.io", "priorityclasses") {
                priority::check_class(snapshot, object)?;
            }
            Ok(())
        }
        (Operation::Create | Operation::Update | Operation::Delete | Operation::Connect, _) => Ok(()),
    }
}

/// The built-in plugins that only refuse.
async fn validate_built_in(call: &Call<'_>, snapshot: &Snapshot, object: &Value) -> Result<(), Status> {
    let resource = call.write.resource;
    if is(resource, "certificates.k8s.io", "certificatesigningrequests") {
        return match (call.operation, call.old) {
            (Operation::Update, Some(old)) => certificates::check(call, object, old).await,
            (Operation::Create, _) => certificates::check_subject(call, object),
            (Operation::Update | Operation::Delete | Operation::Connect, _) => Ok(()),
        };
    }
    match call.old.filter(|_| call.operation == Operation::Update && call.subresource.is_empty()) {
        Some(old) if is(resource, "", "persistentvolumeclaims") => classes::resize(snapshot, object, old),
        Some(_) | None => Ok(()),
    }
}

/// A new object.
async fn create(call: &Call<'_>, snapshot: &Snapshot, object: &mut Value) -> Result<(), Status> {
    let write = call.write;
    let resource = write.resource;
    namespace::lifecycle(write, snapshot, object)?;
    let is_pod = is(resource, "", "pods");
    if is_pod {
        limit_ranger::set_defaults(call, snapshot, object);
        service_account::admit(write, object).await?;
    }
    if is(resource, "certificates.k8s.io", "certificatesigningrequests") {
        requester::stamp(write, object);
    }
    node_restriction::create(write, object)?;
    if is_pod {
        priority::admit(snapshot, object)?;
    }
    if is(resource, "scheduling.k8s.io", "priorityclasses") {
        priority::check_class(snapshot, object)?;
    }
    // Mutations that are part of the kind itself (pods: default tolerations).
    resource.strategy.admit(object);
    if is(resource, "", "persistentvolumeclaims") {
        classes::storage(snapshot, object);
    }
    if is_pod {
        runtime_class::admit(write, snapshot, object)?;
    }
    if is(resource, "networking.k8s.io", "ingresses") {
        classes::ingress(snapshot, object);
    }
    Ok(())
}

fn is(resource: &Resource, group: &str, name: &str) -> bool {
    resource.group == group && resource.resource == name
}
