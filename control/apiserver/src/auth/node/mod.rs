//! The node authorizer: a node looks after itself and the pods bound to it. What it may do to every object of a kind is
//! the role `system:node`; of the kinds below, only its own objects and those its pods refer to.

pub(crate) mod graph;

use super::rbac::{bootstrap, rule::Question};
use crate::{Apiserver, http::path::Target, storage};
use api::{FieldSelector, Status};
use graph::Referred;
use serde_json::Value;

/// What the node authorizer says. It never forbids: RBAC is asked next.
pub(crate) enum Verdict {
    Allow,
    /// With a reason, which may be empty.
    NoOpinion(String),
}

const LEASE_NAMESPACE: &str = "kube-node-lease";

fn no(reason: impl Into<String>) -> Result<Verdict, Status> {
    Ok(Verdict::NoOpinion(reason.into()))
}

/// Decides for node `name`.
pub(crate) async fn decide(
    server: &Apiserver,
    name: &str,
    verb: &str,
    target: &Target,
    field_selector: &str,
) -> Result<Verdict, Status> {
    let subresource = target.subresource.as_str();
    match (target.group.as_str(), target.resource.as_str()) {
        ("", "secrets") => namespaced(server, name, verb, target, Referred::Secret).await,
        ("", "configmaps") => namespaced(server, name, verb, target, Referred::ConfigMap).await,
        ("", "persistentvolumeclaims") if subresource == "status" => match verb {
            "get" | "update" | "patch" => related(server, name, target, Referred::Claim).await,
            _ => no("can only get/update/patch persistentvolumeclaims/status"),
        },
        ("", "persistentvolumeclaims") => single(server, name, verb, target, Some(Referred::Claim)).await,
        ("resource.k8s.io", "resourceclaims") => {
            single(server, name, verb, target, Some(Referred::ResourceClaim)).await
        }
        ("", "persistentvolumes") | ("storage.k8s.io", "volumeattachments") => {
            single(server, name, verb, target, None).await
        }
        ("", "serviceaccounts") => match (verb, subresource) {
            ("create", "token") if !target.name.is_empty() => related(server, name, target, Referred::Account).await,
            (_, "token") => no("can only create tokens for individual service accounts"),
            ("get" | "list" | "watch", "") => namespaced(server, name, verb, target, Referred::Account).await,
            _ => no("can only read service accounts and create tokens for individual ones"),
        },
        ("coordination.k8s.io", "leases") => own(name, verb, target, Some(LEASE_NAMESPACE), "node lease"),
        ("storage.k8s.io", "csinodes") => own(name, verb, target, None, "CSINode"),
        ("resource.k8s.io", "resourceslices") => match verb {
            // Admission looks into the bodies.
            "create" | "get" | "update" | "patch" | "delete" if subresource.is_empty() => Ok(Verdict::Allow),
            "list" | "watch" | "deletecollection" if selects(field_selector, "spec.nodeName", name) => {
                Ok(Verdict::Allow)
            }
            "list" | "watch" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with spec.nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        },
        ("", "nodes") => node(name, verb, target, field_selector),
        ("", "pods") => pod(server, name, verb, target, field_selector).await,
        _ => Ok(by_role(verb, target)),
    }
}

/// What `system:node` allows.
fn by_role(verb: &str, target: &Target) -> Verdict {
    let combined = match target.subresource.as_str() {
        "" => target.resource.clone(),
        subresource => format!("{}/{subresource}", target.resource),
    };
    let question = Question::Resource {
        verb,
        group: &target.group,
        resource: &combined,
        subresource: &target.subresource,
        name: &target.name,
    };
    if bootstrap::node_rules().iter().any(|rule| rule.allows(&question)) {
        Verdict::Allow
    } else {
        Verdict::NoOpinion(String::new())
    }
}

fn node(name: &str, verb: &str, target: &Target, field_selector: &str) -> Result<Verdict, Status> {
    let foreign = |what: &str| no(format!("node '{name}' cannot read {what}, only its own Node object"));
    match (verb, target.subresource.as_str()) {
        ("get", "") if target.name != name => foreign(&format!("'{}'", target.name)),
        ("list" | "watch", "") if target.name != name && !selects(field_selector, "metadata.name", name) => {
            foreign("all nodes")
        }
        ("update" | "patch", "" | "status") if target.name != name => {
            no(format!("node {name:?} is not allowed to modify node {:?}", target.name))
        }
        _ => Ok(by_role(verb, target)),
    }
}

async fn pod(
    server: &Apiserver,
    name: &str,
    verb: &str,
    target: &Target,
    field_selector: &str,
) -> Result<Verdict, Status> {
    let bound = async || {
        let found = server
            .auth
            .graph
            .read(server, |graph| graph.node_of(&target.namespace, &target.name).map(|node| node == name));
        found.await
    };
    // A pod that is gone is nobody's: the verb answers 404, by which a node learns it.
    let gone = async || -> Result<bool, Status> {
        let key = storage::core_key("pods", &target.namespace, &target.name);
        Ok(server.config.store.get(&key).await.map_err(storage::unavailable)?.is_none())
    };
    match (verb, target.subresource.as_str()) {
        ("get", "") if bound().await? != Some(true) && !gone().await? => no(unrelated(name)),
        ("list" | "watch", "") if !selects(field_selector, "spec.nodeName", name) => {
            no("can only list/watch pods with spec.nodeName field selector")
        }
        ("delete", "") if bound().await? != Some(true) && !gone().await? => {
            no(format!("node {name:?} can only delete pods with spec.nodeName set to itself"))
        }
        ("update" | "patch", "status") if bound().await? != Some(true) && !gone().await? => {
            no(format!("node {name:?} can only update pod status for pods with spec.nodeName set to itself"))
        }
        ("create", "eviction") if bound().await? != Some(true) && !gone().await? => {
            no(format!("node {name:?} can only evict pods with spec.nodeName set to itself"))
        }
        _ => Ok(by_role(verb, target)),
    }
}

/// A read of objects in a namespace, of which the request names one.
async fn namespaced(
    server: &Apiserver,
    name: &str,
    verb: &str,
    target: &Target,
    kind: Referred,
) -> Result<Verdict, Status> {
    match verb {
        _ if !target.subresource.is_empty() => no("cannot read subresource"),
        "get" | "list" | "watch" if target.namespace.is_empty() => no("can only read namespaced object of this type"),
        "get" | "list" | "watch" => related(server, name, target, kind).await,
        _ => no("can only read resources of this type"),
    }
}

/// A get of one object; without a kind, of a volume or an attachment.
async fn single(
    server: &Apiserver,
    name: &str,
    verb: &str,
    target: &Target,
    kind: Option<Referred>,
) -> Result<Verdict, Status> {
    match (verb, kind) {
        ("get", _) if !target.subresource.is_empty() => no("cannot get subresource"),
        ("get", Some(kind)) => related(server, name, target, kind).await,
        ("get", None) if target.resource == "volumeattachments" => {
            let object = stored(server, "storage.k8s.io", "volumeattachments", "", &target.name).await?;
            let attached = object.is_some_and(|object| object["spec"]["nodeName"] == name);
            if attached { Ok(Verdict::Allow) } else { no(unrelated(name)) }
        }
        ("get", None) => {
            let volume = stored(server, "core", "persistentvolumes", "", &target.name).await?.unwrap_or_default();
            let claim = &volume["spec"]["claimRef"];
            let text = |field: &str| claim[field].as_str().unwrap_or_default().to_owned();
            let (namespace, claim) = (text("namespace"), text("name"));
            let known = server.auth.graph.read(server, |g| g.refers(name, Referred::Claim, &namespace, &claim)).await?;
            if known { Ok(Verdict::Allow) } else { no(unrelated(name)) }
        }
        _ => no("can only get individual resources of this type"),
    }
}

/// An object that belongs to the node by its name.
fn own(name: &str, verb: &str, target: &Target, namespace: Option<&str>, what: &str) -> Result<Verdict, Status> {
    if !target.subresource.is_empty() {
        return no(format!("no subresources of a {what} are allowed"));
    }
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        return no(format!("can only get, create, update, patch, or delete a {what}"));
    }
    if let Some(wanted) = namespace
        && target.namespace != wanted
    {
        return no(format!("can only access leases in the {wanted:?} system namespace"));
    }
    // The name of a new object is in its body: admission checks it.
    if verb != "create" && target.name != name {
        return no(format!("can only access {what} with the same name as the requesting node"));
    }
    Ok(Verdict::Allow)
}

async fn related(server: &Apiserver, name: &str, target: &Target, kind: Referred) -> Result<Verdict, Status> {
    if target.name.is_empty() {
        return no("No Object name found");
    }
    let known =
        server.auth.graph.read(server, |graph| graph.refers(name, kind, &target.namespace, &target.name)).await?;
    if known || kind == Referred::Secret && of_a_volume(server, name, target).await? {
        Ok(Verdict::Allow)
    } else {
        no(unrelated(name))
    }
}

/// Whether a volume that a pod of the node uses needs the Secret.
async fn of_a_volume(server: &Apiserver, node: &str, target: &Target) -> Result<bool, Status> {
    let claims = server.auth.graph.read(server, |graph| graph.claims(node, "")).await?;
    for claim in claims {
        let Some((namespace, claim)) = claim.split_once('/') else { continue };
        let claim = stored(server, "core", "persistentvolumeclaims", namespace, claim).await?.unwrap_or_default();
        let Some(volume) = claim["spec"]["volumeName"].as_str() else { continue };
        let volume = stored(server, "core", "persistentvolumes", "", volume).await?.unwrap_or_default();
        // A volume's Secrets without a namespace are in that of its claim.
        let home = volume["spec"]["claimRef"]["namespace"].as_str().unwrap_or_default();
        if home == namespace && needs_secret(&volume["spec"], home, target) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn needs_secret(spec: &Value, home: &str, target: &Target) -> bool {
    const FIELDS: [&str; 4] = ["secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"];
    let is = |reference: &Value| {
        let namespace = reference["namespace"].as_str().filter(|own| !own.is_empty()).unwrap_or(home);
        reference["name"] == target.name.as_str() && namespace == target.namespace
    };
    let azure = &spec["azureFile"];
    let azure_namespace = azure["secretNamespace"].as_str().filter(|own| !own.is_empty()).unwrap_or(home);
    let sources = spec.as_object().into_iter().flatten().map(|(_, source)| source);
    sources.into_iter().any(|source| FIELDS.iter().any(|field| is(&source[*field])))
        || azure["secretName"] == target.name.as_str() && azure_namespace == target.namespace
}

async fn stored(
    server: &Apiserver,
    group: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, Status> {
    let slash = if namespace.is_empty() { "" } else { "/" };
    let key = format!("/registry/{group}/{resource}/{namespace}{slash}{name}");
    let entry = server.config.store.get(&key).await.map_err(storage::unavailable)?;
    Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
}

fn unrelated(name: &str) -> String {
    format!("no relationship found between node '{name}' and this object")
}

fn selects(selector: &str, field: &str, value: &str) -> bool {
    FieldSelector::parse(selector).is_ok_and(|selector| selector.required(field) == Some(value))
}
