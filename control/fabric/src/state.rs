//! The fabric's state and the difference between two.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use wire::fabric::{Delta, Node, Service};

use crate::policy::{self, Policies};

/// The revision of the View that a state was compiled from. Equal epochs mean equal states, on every control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The cluster's network state at one epoch. Cloning costs a few pointers, and comparing with a clone what has changed
/// since.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Which View it was compiled from.
    pub epoch: Epoch,
    /// Nodes by name.
    pub nodes: OrdMap<String, Arc<Node>>,
    /// Services by `namespace/name`.
    pub services: OrdMap<String, Arc<Service>>,
    /// Network policy.
    pub policy: Policies,
}

impl State {
    /// Everything, as the first message of a stream.
    pub fn full(&self) -> Delta {
        Delta { full: true, ..self.diff(&State::default()) }
    }

    /// Everything that one node needs: the pods of others are left out.
    pub fn full_for(&self, node: &str) -> Delta {
        Delta { full: true, ..self.diff_for(&State::default(), node) }
    }

    /// What takes `old` to this state on one node.
    pub fn diff_for(&self, old: &State, node: &str) -> Delta {
        let mut delta = self.diff_common(old);
        policy::diff_pods(old.policy.pods.get(node), self.policy.pods.get(node), &mut delta);
        delta
    }

    /// What takes `old` to this state. Records are whole.
    pub fn diff(&self, old: &State) -> Delta {
        let mut delta = self.diff_common(old);
        let nodes: BTreeSet<&String> = old.policy.pods.keys().chain(self.policy.pods.keys()).collect();
        for node in nodes {
            policy::diff_pods(old.policy.pods.get(node), self.policy.pods.get(node), &mut delta);
        }
        delta
    }

    /// All but the pods.
    fn diff_common(&self, old: &State) -> Delta {
        let (nodes, deleted_nodes) = diff(&old.nodes, &self.nodes);
        let (services, deleted_services) = diff(&old.services, &self.services);
        let mut delta =
            Delta { epoch: self.epoch.0, nodes, deleted_nodes, services, deleted_services, ..Delta::default() };
        self.policy.diff(&old.policy, &mut delta);
        delta
    }

    /// Whether both say the same, whatever their epochs.
    pub fn same_content(&self, other: &State) -> bool {
        same(&self.nodes, &other.nodes)
            && same(&self.services, &other.services)
            && self.policy.same_content(&other.policy)
    }

    /// Takes a delta in: what a node does with it.
    pub fn apply(&mut self, delta: Delta) {
        if delta.full {
            *self = State::default();
        }
        self.epoch = Epoch(delta.epoch);
        for name in &delta.deleted_nodes {
            self.nodes.remove(name);
        }
        for name in &delta.deleted_services {
            self.services.remove(name);
        }
        self.nodes.extend(delta.nodes.into_iter().map(|node| (node.name.clone(), Arc::new(node))));
        let services = delta.services.into_iter();
        self.services
            .extend(services.map(|service| (format!("{}/{}", service.namespace, service.name), Arc::new(service))));
        self.policy.apply(
            (delta.identities, delta.rulesets, delta.pods),
            (&delta.deleted_identities, &delta.deleted_rulesets, &delta.deleted_pods),
        );
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether two tables say the same.
pub(crate) fn same<K: Ord + Clone, T: PartialEq>(a: &OrdMap<K, Arc<T>>, b: &OrdMap<K, Arc<T>>) -> bool {
    a.ptr_eq(b) || a.diff(b).next().is_none()
}

/// Records that are new or changed, and keys that are gone.
pub(crate) fn diff<K: Ord + Clone, T: PartialEq + Clone>(
    old: &OrdMap<K, Arc<T>>,
    new: &OrdMap<K, Arc<T>>,
) -> (Vec<T>, Vec<K>) {
    let (mut changed, mut deleted) = (Vec::new(), Vec::new());
    for item in old.diff(new) {
        match item {
            DiffItem::Add(_, record) | DiffItem::Update { new: (_, record), .. } => {
                changed.push(record.as_ref().clone())
            }
            DiffItem::Remove(key, _) => deleted.push(key.clone()),
        }
    }
    (changed, deleted)
}
