//! Network policy: from the View's policies, pods, namespaces to classes of peers and the rules between them.
//!
//! A class ([`Identity`]) is what the cluster's policies can tell apart: addresses that match the same peers of the same policies share
//! one number. So a rule is as long as there are classes, not pods, and a pod that comes or goes in a class that exists
//! changes one address. Numbers are made of what the class is, so that every control plane gives the same ones.
//!
//! [`rules`] and [`tiers`] read the policies, [`pods`] says what they select, [`classes`] numbers, [`rulesets`] puts the rules together
//! and [`flat`] says for each class which of them decides.
mod classes;
mod flat;
mod names;
mod pods;
mod rules;
mod rulesets;
mod tiers;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Key;
use cache::{Change, Kind, View};
use wire::fabric::{Delta, Identity, PodPolicy, Ruleset};

use pods::Facts;
use rules::Rules;
pub use tiers::{Problem, Warning};

/// Every policy record of the fabric. Cloning shares the records.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// By prefix.
    pub identities: BTreeMap<String, Arc<Identity>>,
    /// By number.
    pub rulesets: BTreeMap<u32, Arc<Ruleset>>,
    /// By node, then by `namespace/name`.
    pub pods: BTreeMap<String, Arc<NodePods>>,
    /// What the next compilation need not find out again; says nothing that the records do not.
    known: Arc<Known>,
}

/// The pods of one node by `namespace/name`.
pub type NodePods = BTreeMap<String, Arc<PodPolicy>>;

/// What a compilation found out.
#[derive(Clone, Debug, Default)]
struct Known {
    rules: Arc<Rules>,
    facts: BTreeMap<Key, Arc<Facts>>,
}

/// A node that folds deltas does not know which node a pod is of, so that is left out.
impl PartialEq for Policies {
    fn eq(&self, other: &Policies) -> bool {
        fn pods(policies: &Policies) -> BTreeMap<&String, &Arc<PodPolicy>> {
            policies.pods.values().flat_map(|pods| pods.iter()).collect()
        }
        same(&self.identities, &other.identities) && same(&self.rulesets, &other.rulesets) && pods(self) == pods(other)
    }
}

/// Compiles a View.
pub fn compile(view: &View) -> Policies {
    let rules = Arc::new(Rules::read(view));
    let facts = pods::all(view, &rules);
    assemble(Known { rules, facts }, &Policies::default())
}

/// Compiles a View, given what an earlier one said and every change since.
pub fn update(view: &View, changes: &[Change], old: &Policies) -> Policies {
    let everything = changes.iter().any(|change| match change.kind {
        Kind::NetworkPolicy
        | Kind::AdminNetworkPolicy
        | Kind::BaselineAdminNetworkPolicy
        | Kind::ClusterNetworkPolicy => true,
        // Its labels are what peers are chosen by.
        Kind::Namespace => {
            let labels = |object: &Option<cache::Object>| object.as_ref().map(|object| object.meta().labels);
            labels(&change.old) != labels(&change.new)
        }
        Kind::Pod
        | Kind::Node
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::ClusterRole => false,
    });
    if everything {
        let rules = Arc::new(Rules::read(view));
        let facts = pods::all(view, &rules);
        return assemble(Known { rules, facts }, old);
    }
    let mut facts: Option<BTreeMap<Key, Arc<Facts>>> = None;
    let mut homes = pods::Homes::new();
    for change in changes {
        let new = change.new.as_ref();
        let now = if change.kind == Kind::Pod {
            let home = pods::home(&mut homes, view, &change.key.namespace);
            new.and_then(|pod| pods::facts(pod, home, &old.known.rules))
        } else if change.kind == Kind::Node {
            new.and_then(|node| pods::node_facts(node, &old.known.rules))
        } else {
            continue;
        };
        let before = old.known.facts.get(&change.key);
        if before.map(AsRef::as_ref) == now.as_ref() {
            continue;
        }
        let facts = facts.get_or_insert_with(|| old.known.facts.clone());
        match now {
            Some(now) => _ = facts.insert(change.key.clone(), Arc::new(now)),
            None => _ = facts.remove(&change.key),
        }
    }
    match facts {
        Some(facts) => assemble(Known { rules: old.known.rules.clone(), facts }, old),
        None => old.clone(),
    }
}

/// Makes the records; those that are as before are shared.
fn assemble(known: Known, old: &Policies) -> Policies {
    let classes = classes::Classes::new(&known.rules, &known.facts);
    let (rulesets, numbers) = rulesets::compile(&known.rules, &known.facts, &classes);
    let mut pods: BTreeMap<String, NodePods> = BTreeMap::new();
    for (key, facts) in known.facts.iter().filter(|(_, facts)| !facts.node.is_empty()) {
        let name = key.to_string();
        let ruleset = numbers.get(key).copied().unwrap_or(0);
        let ips = facts.ips.iter().map(ToString::to_string).collect();
        let record = PodPolicy { pod: name.clone(), uid: facts.uid.clone(), ruleset, ips };
        let before = old.pods.get(&facts.node).and_then(|pods| pods.get(&name));
        pods.entry(facts.node.clone()).or_default().insert(name, share(record, before));
    }
    let pods = pods.into_iter().map(|(node, pods)| {
        let before = old.pods.get(&node).filter(|before| same(before, &pods));
        let pods = before.cloned().unwrap_or_else(|| Arc::new(pods));
        (node, pods)
    });
    let identities = classes.identities(&known.rules, &known.facts).into_iter().map(|(prefix, number)| {
        let before = old.identities.get(&prefix);
        (prefix.clone(), share(Identity { prefix, number }, before))
    });
    let rulesets = rulesets.into_iter().map(|ruleset| {
        let before = old.rulesets.get(&ruleset.number);
        (ruleset.number, share(ruleset, before))
    });
    Policies {
        identities: identities.collect(),
        rulesets: rulesets.collect(),
        pods: pods.collect(),
        known: Arc::new(known),
    }
}

fn share<T: PartialEq>(record: T, before: Option<&Arc<T>>) -> Arc<T> {
    before.filter(|before| ***before == record).cloned().unwrap_or_else(|| Arc::new(record))
}

/// Adds what takes one node's pods to what they are now.
pub(crate) fn diff_pods(old: Option<&Arc<NodePods>>, new: Option<&Arc<NodePods>>, delta: &mut Delta) {
    if old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new)) {
        return;
    }
    let empty = Arc::default();
    let (changed, gone) = diff(old.unwrap_or(&empty), new.unwrap_or(&empty));
    delta.pods.extend(changed);
    delta.deleted_pods.extend(gone);
}

fn equal<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// Whether two tables say the same.
fn same<K: Ord, T: PartialEq>(a: &BTreeMap<K, Arc<T>>, b: &BTreeMap<K, Arc<T>>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((key_a, a), (key_b, b))| key_a == key_b && equal(a, b))
}

/// Records that are new or changed, and keys that are gone.
fn diff<K: Ord + Clone, T: PartialEq + Clone>(
    old: &BTreeMap<K, Arc<T>>,
    new: &BTreeMap<K, Arc<T>>,
) -> (Vec<T>, Vec<K>) {
    let changed = new.iter().filter(|(key, value)| old.get(*key).is_none_or(|old| !equal(old, value)));
    let deleted = old.keys().filter(|key| !new.contains_key(*key));
    (changed.map(|(_, value)| value.as_ref().clone()).collect(), deleted.cloned().collect())
}

impl Policies {
    /// Whether both say the same.
    pub fn same_content(&self, other: &Policies) -> bool {
        same(&self.identities, &other.identities)
            && same(&self.rulesets, &other.rulesets)
            && same(&self.pods, &other.pods)
    }

    /// What of the cluster's policies does not have the effect that its author wanted.
    pub fn warnings(&self) -> &[Warning] {
        &self.known.rules.warnings
    }

    /// Adds what takes `old` to this, without the pods.
    pub(crate) fn diff(&self, old: &Policies, delta: &mut Delta) {
        (delta.identities, delta.deleted_identities) = diff(&old.identities, &self.identities);
        (delta.rulesets, delta.deleted_rulesets) = diff(&old.rulesets, &self.rulesets);
    }

    /// Takes a delta's records in, as a node does; which node the pods are of is not in them.
    pub(crate) fn apply(
        &mut self,
        (identities, rulesets, pods): (Vec<Identity>, Vec<Ruleset>, Vec<PodPolicy>),
        (gone_identities, gone_rulesets, gone_pods): (&[String], &[u32], &[String]),
    ) {
        gone_identities.iter().for_each(|prefix| _ = self.identities.remove(prefix));
        gone_rulesets.iter().for_each(|number| _ = self.rulesets.remove(number));
        self.identities.extend(identities.into_iter().map(|one| (one.prefix.clone(), Arc::new(one))));
        self.rulesets.extend(rulesets.into_iter().map(|one| (one.number, Arc::new(one))));
        let known = Arc::make_mut(self.pods.entry(String::new()).or_default());
        gone_pods.iter().for_each(|name| _ = known.remove(name));
        known.extend(pods.into_iter().map(|pod| (pod.pod.clone(), Arc::new(pod))));
        if known.is_empty() {
            self.pods.remove("");
        }
    }
}

#[cfg(test)]
mod tests;
