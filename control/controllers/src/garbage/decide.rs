//! The garbage collector's rule, for objects of any kind.

use api::{Gvr, Key};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use reconcile::{Action, Preconditions, Propagation, Write};
use serde_json::json;

/// The finalizer of an owner whose dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependents stay.
pub const ORPHAN: &str = "orphan";
/// The reason of the event about a reference that can never be right.
pub const MISPLACED: &str = "OwnerRefInvalidNamespace";

/// What the collector knows of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it is written to.
    pub gvr: Gvr,
    /// Its kind's name.
    pub kind: String,
    /// Its namespace and name.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// The version this is known of; writes are made against it.
    pub resource_version: Option<String>,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// What an owner reference points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It exists.
    Solid,
    /// It does not.
    Absent,
    /// It waits for its dependents to be deleted first.
    Waiting,
    /// A namespaced owner of a cluster-scoped object, or one in another namespace: it can never be found.
    Misplaced,
}

/// What to write, in order, and which references to complain about.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// In order; each against the version known.
    pub writes: Vec<Write>,
    /// Those that point into another namespace.
    pub misplaced: Vec<OwnerReference>,
}

impl Owner {
    /// What an owner that exists is to its dependents.
    pub fn of(owner: &Node) -> Owner {
        if owner.deleting && owner.has_finalizer(FOREGROUND) { Owner::Waiting } else { Owner::Solid }
    }
}

impl Node {
    /// Whether it has this finalizer.
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    /// Whether it is being deleted and kept by one of our finalizers.
    pub fn is_held(&self) -> bool {
        self.deleting && (self.has_finalizer(FOREGROUND) || self.has_finalizer(ORPHAN))
    }

    fn patch(&self, field: &str, value: serde_json::Value) -> Write {
        let mut body = json!({"metadata": {"uid": self.uid, "resourceVersion": self.resource_version}});
        body["metadata"][field] = value;
        Write::at(&self.gvr, &self.key, Action::Patch(body))
    }

    fn without_finalizer(&self, name: &str) -> Write {
        let left: Vec<&String> = self.finalizers.iter().filter(|finalizer| *finalizer != name).collect();
        self.patch("finalizers", json!(left))
    }
}

/// What becomes of an object. `owners` says what each of its references points to, in their order; `dependents` are the
/// objects that name it as an owner.
pub fn decide(node: &Node, owners: &[Owner], dependents: &[Node]) -> Decision {
    let mut decision = Decision::default();
    if node.deleting {
        release(node, dependents, &mut decision);
    } else {
        collect(node, owners, dependents, &mut decision);
    }
    decision
}

/// The text of the event about a misplaced reference.
pub fn misplaced_message(namespace: &str, reference: &OwnerReference) -> String {
    let OwnerReference { api_version, kind, name, uid, .. } = reference;
    format!(
        "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in \
         namespace {namespace:?}"
    )
}

/// Deletes a living object whose owners are all gone or wait for it; drops references to gone owners if others stay.
fn collect(node: &Node, owners: &[Owner], dependents: &[Node], decision: &mut Decision) {
    // A Node is never collected: its owner references may be set by whoever has a node's credentials (CVE-2025-5187).
    if node.owners.is_empty() || node.kind == "Node" && node.gvr.group.is_empty() {
        return;
    }
    let (mut solid, mut gone, mut waiting) = (Vec::new(), 0, 0);
    for (reference, owner) in node.owners.iter().zip(owners) {
        match owner {
            Owner::Solid => solid.push(reference.clone()),
            Owner::Absent => gone += 1,
            Owner::Waiting => waiting += 1,
            Owner::Misplaced => {
                decision.misplaced.push(reference.clone());
                if node.key.namespace.is_empty() {
                    // Nothing can be concluded from it, so the object stays.
                    solid.push(reference.clone());
                } else {
                    gone += 1;
                }
            }
        }
    }
    if !solid.is_empty() {
        if gone + waiting > 0 {
            decision.writes.push(node.patch("ownerReferences", json!(solid)));
        }
        return;
    }
    if waiting > 0 && dependents.iter().any(|dependent| dependent.deleting && dependent.has_finalizer(FOREGROUND)) {
        // A cycle: each would wait for the other. This one stops blocking its owners.
        let unblocked: Vec<OwnerReference> = node
            .owners
            .iter()
            .map(|reference| OwnerReference { block_owner_deletion: Some(false), ..reference.clone() })
            .collect();
        if unblocked != node.owners {
            decision.writes.push(node.patch("ownerReferences", json!(unblocked)));
            return;
        }
    }
    let propagation = if waiting > 0 && !dependents.is_empty() || node.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else if node.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    let preconditions = Preconditions {
        uid: Some(node.uid.clone()),
        resource_version: node.resource_version.clone(),
        propagation: Some(propagation),
        grace_seconds: None,
    };
    decision.writes.push(Write::at(&node.gvr, &node.key, Action::Delete(preconditions)));
}

/// Serves the finalizers of an object that is being deleted.
fn release(node: &Node, dependents: &[Node], decision: &mut Decision) {
    if node.has_finalizer(ORPHAN) {
        for dependent in dependents {
            let left: Vec<&OwnerReference> = dependent.owners.iter().filter(|owner| owner.uid != node.uid).collect();
            decision.writes.push(dependent.patch("ownerReferences", json!(left)));
        }
        // Writes are in order: if one of those above fails, the finalizer stays.
        decision.writes.push(node.without_finalizer(ORPHAN));
    } else if node.has_finalizer(FOREGROUND) {
        let blocking = dependents.iter().any(|dependent| {
            let mut owners = dependent.owners.iter();
            owners.any(|owner| owner.uid == node.uid && owner.block_owner_deletion == Some(true))
        });
        if !blocking {
            decision.writes.push(node.without_finalizer(FOREGROUND));
        }
    }
}
