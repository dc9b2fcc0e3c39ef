//! Planted bugs: a simulation that finds none of them proves nothing.

use std::sync::Arc;

use api::Key;
use cache::{Change, Kind, View};
use jiff::Timestamp;
use reconcile::{Action, Controller, Plan};

/// A mistake put into one controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The ReplicaSet controller makes one pod too many.
    OnePodTooMany,
    /// The ReplicaSet controller deletes nothing.
    NoScaleDown,
    /// The Deployment controller scales without regard to maxSurge: twice the replicas.
    NoSurgeLimit,
    /// The EndpointSlice controller forgets a pod that goes.
    StaleEndpoints,
    /// The garbage collector does nothing.
    NoGarbageCollection,
    /// Created pods have an owner of another uid.
    WrongOwner,
    /// The node IPAM controller gives every node the same range.
    SameRange,
    /// The namespace controller never finishes.
    NamespaceStays,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 8] = [
        Bug::OnePodTooMany,
        Bug::NoScaleDown,
        Bug::NoSurgeLimit,
        Bug::StaleEndpoints,
        Bug::NoGarbageCollection,
        Bug::WrongOwner,
        Bug::SameRange,
        Bug::NamespaceStays,
    ];
}

/// The controller with the bug, if it is the one that has it.
pub fn plant(controller: Arc<dyn Controller>, bug: Option<Bug>) -> Arc<dyn Controller> {
    match bug {
        Some(bug) => Arc::new(Planted { controller, bug }),
        None => controller,
    }
}

struct Planted {
    controller: Arc<dyn Controller>,
    bug: Bug,
}

impl Controller for Planted {
    fn name(&self) -> &'static str {
        self.controller.name()
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        let gone_pod = change.kind == Kind::Pod && change.new.is_none();
        if self.bug == Bug::StaleEndpoints && gone_pod && self.name().contains("endpoint-slice") {
            return Vec::new();
        }
        self.controller.keys(change, view)
    }

    fn reconcile(&self, key: &Key, view: &View, now: Timestamp) -> Plan {
        let mut plan = self.controller.reconcile(key, view, now);
        let is = |name: &str| self.name().contains(name);
        let on = |write: &reconcile::Write, resource: &str| write.target.gvr.resource == resource;
        match self.bug {
            Bug::OnePodTooMany if is("replicaset") => {
                let first = plan.writes.iter().position(|w| on(w, "pods") && matches!(w.action, Action::Create(_)));
                if let Some(first) = first {
                    let again = plan.writes[first].clone();
                    plan.writes.insert(first, again);
                }
            }
            Bug::NoScaleDown if is("replicaset") => plan.writes.retain(|w| !matches!(w.action, Action::Delete(_))),
            Bug::NoSurgeLimit if is("deployment") => {
                for write in plan.writes.iter_mut().filter(|write| on(write, "replicasets")) {
                    if let Action::Create(body) | Action::Update(body) | Action::Patch(body) = &mut write.action
                        && let Some(replicas) = body.pointer_mut("/spec/replicas")
                        && let Some(number) = replicas.as_i64()
                    {
                        *replicas = (number * 2).into();
                    }
                }
            }
            Bug::NoGarbageCollection if is("garbage") && !is("pod") => plan.writes.clear(),
            Bug::WrongOwner if is("replicaset") => {
                for write in plan.writes.iter_mut().filter(|write| on(write, "pods")) {
                    if let Action::Create(body) = &mut write.action
                        && let Some(uid) = body.pointer_mut("/metadata/ownerReferences/0/uid")
                    {
                        *uid = "00000000-0000-4000-8000-000000000000".into();
                    }
                }
            }
            Bug::SameRange if is("ipam") => {
                for write in plan.writes.iter_mut().filter(|write| on(write, "nodes")) {
                    if let Action::Patch(body) | Action::Update(body) = &mut write.action
                        && body.pointer("/spec/podCIDR").is_some()
                    {
                        body["spec"]["podCIDR"] = "10.244.0.0/24".into();
                        body["spec"]["podCIDRs"] = serde_json::json!(["10.244.0.0/24"]);
                    }
                }
            }
            Bug::NamespaceStays if is("namespace") => {
                plan.writes.retain(|w| !matches!(w.action, Action::Finalize { .. }));
            }
            _ => {}
        }
        plan
    }
}
