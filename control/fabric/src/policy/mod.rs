//! Network policy: from the View's policies, pods, namespaces to classes of peers and the rules between them.
//!
//! A class ([`Identity`]) is what the cluster's policies can tell apart: addresses that match the same peers of the same policies share
//! one number. So a rule is as long as there are classes, not pods, and a pod that comes or goes in a class that exists
//! changes one address. Numbers are made of what the class is, so that every control plane gives the same ones.
//!
//! [`rules`] and [`tiers`] read the policies, [`pods`] says what they select, [`classes`] numbers, [`rulesets`] puts the rules together
//! and [`flat`] says for each class which of them decides. [`known`] is the memory by which a change of a pod mostly costs no more than itself.
mod classes;
mod flat;
mod known;
mod names;
mod pods;
mod rules;
mod rulesets;
mod tiers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cache::{Change, Kind, View};
use imbl::OrdMap;
use ipnet::IpNet;
use wire::fabric::{Delta, Identity, PodPolicy, Ruleset};

use crate::state::{diff, same};
use known::{Known, News};
use rules::Rules;
pub use tiers::{Problem, Warning};

/// Every policy record of the fabric. Cloning costs a few pointers, and comparing with a clone what has changed since.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// By prefix.
    pub identities: OrdMap<String, Arc<Identity>>,
    /// By number.
    pub rulesets: OrdMap<u32, Arc<Ruleset>>,
    /// By node, then by `namespace/name`.
    pub pods: OrdMap<String, Arc<NodePods>>,
    /// What the next compilation need not find out again; says nothing that the records do not.
    known: Arc<Known>,
}

/// The pods of one node by `namespace/name`.
pub type NodePods = OrdMap<String, Arc<PodPolicy>>;

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
    assemble(Known::new(rules, facts), &Policies::default())
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
        return assemble(Known::new(rules, facts), old);
    }
    let mut news: Vec<News> = Vec::new();
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
        if before.map(AsRef::as_ref) != now.as_ref() {
            news.push((change.key.clone(), now.map(Arc::new)));
        }
    }
    if news.is_empty() {
        return old.clone();
    }
    let mut known = old.known.as_ref().clone();
    match known.follow(&news) {
        Some(touched) => follow(known, &news, touched, old),
        None => assemble(Known::new(known.rules, known.facts), old),
    }
}

/// Makes the records that changes of pods touch; the others stay.
fn follow(known: Known, news: &[News], touched: BTreeSet<IpAddr>, old: &Policies) -> Policies {
    let mut policies = old.clone();
    for ip in touched {
        let prefix = IpNet::from(ip).to_string();
        match known.identity(ip) {
            Some(number) => put(&mut policies.identities, prefix.clone(), Identity { prefix, number }),
            None => _ = policies.identities.remove(&prefix),
        }
    }
    for (key, now) in news {
        let before = old.known.facts.get(key).filter(|facts| !facts.node.is_empty());
        if let Some(pods) = before.and_then(|facts| policies.pods.get_mut(&facts.node)) {
            Arc::make_mut(pods).remove(&key.to_string());
        }
        if let Some((facts, record)) = now.as_ref().and_then(|facts| Some((facts, known.pod(key, facts)?))) {
            let pods = policies.pods.entry(facts.node.clone()).or_default();
            Arc::make_mut(pods).insert(record.pod.clone(), Arc::new(record));
        }
        if let Some(facts) = before.filter(|facts| policies.pods.get(&facts.node).is_some_and(|pods| pods.is_empty())) {
            policies.pods.remove(&facts.node);
        }
    }
    Policies { known: Arc::new(known), ..policies }
}

/// Makes all records; what they have in common with the old ones is shared.
fn assemble((known, rulesets): (Known, Vec<Ruleset>), old: &Policies) -> Policies {
    let mut pods: BTreeMap<String, BTreeMap<String, PodPolicy>> = BTreeMap::new();
    for (key, facts) in &known.facts {
        if let Some(record) = known.pod(key, facts) {
            pods.entry(facts.node.clone()).or_default().insert(record.pod.clone(), record);
        }
    }
    let mut nodes = old.pods.clone();
    let gone: Vec<String> = nodes.keys().filter(|node| !pods.contains_key(*node)).cloned().collect();
    gone.iter().for_each(|node| _ = nodes.remove(node));
    for (node, pods) in pods {
        let records = nodes.entry(node).or_default();
        let now = replace(records, pods);
        if !now.ptr_eq(records) {
            *records = Arc::new(now);
        }
    }
    let identities =
        known.identities().into_iter().map(|(prefix, number)| (prefix.clone(), Identity { prefix, number }));
    let rulesets = rulesets.into_iter().map(|ruleset| (ruleset.number, ruleset));
    Policies {
        identities: replace(&old.identities, identities.collect()),
        rulesets: replace(&old.rulesets, rulesets.collect()),
        pods: nodes,
        known: Arc::new(known),
    }
}

/// New records in place of old ones, sharing what is the same.
fn replace<K: Ord + Clone, T: PartialEq>(old: &OrdMap<K, Arc<T>>, new: BTreeMap<K, T>) -> OrdMap<K, Arc<T>> {
    let mut records = old.clone();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        records.remove(key);
    }
    new.into_iter().for_each(|(key, record)| put(&mut records, key, record));
    records
}

/// Replaces a record if it differs.
fn put<K: Ord + Clone, T: PartialEq>(records: &mut OrdMap<K, Arc<T>>, key: K, record: T) {
    if records.get(&key).is_none_or(|known| **known != record) {
        records.insert(key, Arc::new(record));
    }
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
