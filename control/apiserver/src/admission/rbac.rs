//! Nobody grants what he does not hold: roles by the verb `escalate`, bindings by the verb `bind`, or by holding all
//! that they give. Part of the storage of these kinds in Kubernetes; an admission here.

use crate::{
    auth::{
        authorize::{Attributes, Object, may},
        rbac::{self, index::missing_role, rule::Rule},
    },
    generic::write::Write,
    http::path::Target,
};
use api::{Reason, Status, meta};
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";
const AGGREGATION: &str = "must have cluster-admin privileges to use the aggregationRule";

/// Checks a new (`old` is none) or changed role or binding.
pub(super) async fn check(write: &Write<'_>, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    if write.resource.group != GROUP || write.user.is_in(crate::auth::MASTERS) {
        return Ok(());
    }
    if old.is_some_and(|old| only_for_garbage(new, old)) {
        return Ok(());
    }
    match write.resource.resource.as_str() {
        "roles" | "clusterroles" => role(write, new, old).await,
        "rolebindings" | "clusterrolebindings" => binding(write, new).await,
        _ => Ok(()),
    }
}

/// Whether nothing changes but what lets the garbage collector do its work.
fn only_for_garbage(new: &Value, old: &Value) -> bool {
    let rest = |object: &Value| {
        let mut object = object.clone();
        for field in ["finalizers", "ownerReferences", "managedFields", "resourceVersion", "generation"] {
            meta::remove(&mut object, field);
        }
        object
    };
    rest(new) == rest(old)
}

async fn role(write: &Write<'_>, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let same = |field: &str| old.is_some_and(|old| old[field] == new[field]);
    if same("rules") && same("aggregationRule") {
        return Ok(());
    }
    let resource = write.resource.resource.as_str();
    if allowed(write, "escalate", resource, write.name).await? {
        return Ok(());
    }
    let index = write.server.auth.roles(write.server).await?;
    let confirm = |wanted: &[Rule]| rbac::confirm_no_escalation(&index, write.user, write.namespace, wanted);
    let refuse = |what: &str| Status::forbidden(&write.resource.gvr(), meta::name(new), what);
    confirm(&Rule::list(new)).map_err(|what| refuse(&what))?;
    let gathers = |object: &Value| object["aggregationRule"].is_object();
    if gathers(new) || old.is_some_and(gathers) {
        // It may come to hold anything.
        confirm(&everything()).map_err(|_| refuse(AGGREGATION))?;
    }
    Ok(())
}

fn everything() -> [Rule; 2] {
    let any = || vec!["*".to_owned()];
    [
        Rule { verbs: any(), groups: any(), resources: any(), ..Rule::default() },
        Rule { verbs: any(), urls: any(), ..Rule::default() },
    ]
}

async fn binding(write: &Write<'_>, new: &Value) -> Result<(), Status> {
    let text = |field: &str| new["roleRef"][field].as_str().unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    let resource = if kind == "ClusterRole" { "clusterroles" } else { "roles" };
    if allowed(write, "bind", resource, name).await? {
        return Ok(());
    }
    let index = write.server.auth.roles(write.server).await?;
    let rules = index
        .referred(kind, name, write.namespace)
        .ok_or_else(|| Status::failure(404, Reason::NotFound, missing_role(kind, name)))?;
    rbac::confirm_no_escalation(&index, write.user, write.namespace, &rules)
        .map_err(|what| Status::forbidden(&write.resource.gvr(), meta::name(new), &what))
}

async fn allowed(write: &Write<'_>, verb: &str, resource: &str, name: &str) -> Result<bool, Status> {
    let target = Target {
        group: GROUP.to_owned(),
        version: "v1".to_owned(),
        namespace: write.namespace.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..Target::default()
    };
    let object = Object::Resource { target: &target, field_selector: "" };
    Ok(may(write.server, write.user, &Attributes { verb, object }).await?.is_allowed())
}
