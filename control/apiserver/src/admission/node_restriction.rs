//! NodeRestriction, as far as bodies go: what the node authorizer lets a node write must be about the node itself and
//! its own pods, and must not gain it anything (labels that steer pods, taints, owners, other accounts' secrets).

use super::is;
use crate::{
    auth::node::graph::{MIRROR, Referred, references},
    generic::write::{Via, Write},
};
use api::{Status, meta};
use serde_json::Value;
use std::collections::BTreeSet;

/// A new object.
pub(super) fn create(write: &Write<'_>, object: &Value) -> Result<(), Status> {
    let Some(node) = write.user.node() else { return Ok(()) };
    let refuse = |what: &str| Err(Status::forbidden(&write.resource.gvr(), meta::name(object), what));
    let named = meta::name(object) == node;
    if is(write.resource, "", "nodes") {
        if !named {
            return refuse(&format!("node {node:?} is not allowed to modify node {:?}", meta::name(object)));
        }
        let labels = forbidden_labels(object, &Value::Null);
        if !labels.is_empty() {
            return refuse(&format!("node {node:?} is not allowed to set the following labels: {labels}"));
        }
        if !meta::owner_references(object).is_empty() {
            return refuse(&format!("node {node:?} is not allowed to set ownerReferences"));
        }
    }
    if is(write.resource, "coordination.k8s.io", "leases") && !named {
        return refuse("can only access node lease with the same name as the requesting node");
    }
    if is(write.resource, "storage.k8s.io", "csinodes") && !named {
        return refuse("can only access CSINode with the same name as the requesting node");
    }
    if is(write.resource, "resource.k8s.io", "resourceslices") && object["spec"]["nodeName"] != node {
        return refuse("can only create ResourceSlice with the same NodeName as the requesting node");
    }
    if is(write.resource, "", "pods")
        && let Some(what) = no_mirror(node, object)
    {
        return refuse(&what);
    }
    Ok(())
}

/// A changed object, or its status.
pub(super) fn update(write: &Write<'_>, new: &Value, old: &Value) -> Result<(), Status> {
    let Some(node) = write.user.node() else { return Ok(()) };
    let refuse = |what: &str| Err(Status::forbidden(&write.resource.gvr(), meta::name(old), what));
    if is(write.resource, "", "nodes") {
        if meta::name(old) != node {
            return refuse(&format!("node {node:?} is not allowed to modify node {:?}", meta::name(old)));
        }
        let labels = forbidden_labels(new, old);
        if !labels.is_empty() {
            return refuse(&format!("node {node:?} is not allowed to modify labels: {labels}"));
        }
        if new["spec"]["taints"] != old["spec"]["taints"] {
            return refuse(&format!("node {node:?} is not allowed to modify taints"));
        }
        // With an owner that is not there, the garbage collector would delete the Node (CVE-2025-5187).
        if new["metadata"]["ownerReferences"] != old["metadata"]["ownerReferences"] {
            return refuse(&format!("node {node:?} is not allowed to modify ownerReferences"));
        }
    }
    if is(write.resource, "", "pods") {
        if !matches!(write.via, Via::Status) {
            return refuse(&format!(
                "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
            ));
        }
        if old["spec"]["nodeName"] != node {
            return refuse(&format!(
                "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
            ));
        }
        if new["metadata"]["labels"] != old["metadata"]["labels"] {
            return refuse(&format!("node {node:?} cannot update labels through pod status"));
        }
        if new["status"]["resourceClaimStatuses"] != old["status"]["resourceClaimStatuses"] {
            return refuse(&format!("node {node:?} cannot update resource claim statuses"));
        }
    }
    if is(write.resource, "resource.k8s.io", "resourceslices")
        && (old["spec"]["nodeName"] != node || new["spec"]["nodeName"] != node)
    {
        return refuse("can only update ResourceSlice with the same NodeName as the requesting node");
    }
    Ok(())
}

/// An object that is to be deleted, or evicted.
pub(super) fn delete(write: &Write<'_>, old: &Value) -> Result<(), Status> {
    let Some(node) = write.user.node() else { return Ok(()) };
    let refuse = |what: &str| Err(Status::forbidden(&write.resource.gvr(), meta::name(old), what));
    if is(write.resource, "", "pods") && old["spec"]["nodeName"] != node {
        return refuse(&format!("node {node:?} can only delete pods with spec.nodeName set to itself"));
    }
    if is(write.resource, "", "nodes") && meta::name(old) != node {
        return refuse(&format!("node {node:?} is not allowed to modify node {:?}", meta::name(old)));
    }
    if is(write.resource, "resource.k8s.io", "resourceslices") && old["spec"]["nodeName"] != node {
        return refuse("can only delete ResourceSlice with the same NodeName as the requesting node");
    }
    Ok(())
}

/// Why a node may not create this pod: it only mirrors pods of its own files.
fn no_mirror(node: &str, pod: &Value) -> Option<String> {
    if meta::annotation(pod, MIRROR).is_none() {
        return Some(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if pod["spec"]["nodeName"] != node {
        return Some(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owners = meta::owner_references(pod);
    match &owners[..] {
        [] => {}
        [owner] if owner.kind != "Node" || owner.api_version != "v1" || owner.name != node => {
            return Some(format!("node {node:?} can only create pods with an owner reference set to itself"));
        }
        [owner] if owner.block_owner_deletion => {
            return Some(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
        }
        [owner] if !owner.controller => {
            return Some(format!("node {node:?} can only create pods with a controller owner reference set to itself"));
        }
        [_] => {}
        _ => return Some(format!("node {node:?} can only create pods with a single owner reference set to itself")),
    }
    // As if it were no mirror, for which nothing counts.
    let mut plain = pod.clone();
    meta::remove(&mut plain, "annotations");
    let referred = references(&plain).into_iter().map(|(kind, _)| kind).min_by_key(|kind| *kind as u8)?;
    let what = match referred {
        Referred::Account => "a service account",
        Referred::Claim => "persistentvolumeclaims",
        Referred::ConfigMap => "configmaps",
        Referred::ResourceClaim => "resource claims",
        Referred::Secret => "secrets",
    };
    Some(format!("node {node:?} can not create pods that reference {what}"))
}

/// Labels of Kubernetes' own domains that a kubelet sets.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];
const KUBELET_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Labels that differ and that a node may not set, joined; empty if there are none.
fn forbidden_labels(new: &Value, old: &Value) -> String {
    let (new, old) = (meta::labels(new), meta::labels(old));
    let changed: BTreeSet<&String> =
        new.keys().chain(old.keys()).filter(|key| new.get(*key) != old.get(*key)).collect();
    let forbidden: Vec<&str> = changed.into_iter().map(String::as_str).filter(|key| is_forbidden(key)).collect();
    forbidden.join(", ")
}

fn is_forbidden(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    let within = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    kubernetes && !KUBELET_LABELS.contains(&key) && !KUBELET_DOMAINS.iter().any(|own| within(own))
}
