//! What a compilation found out, kept so that the next one costs what has changed.
//!
//! Most changes are of pods that are of classes and have rulesets that are there already, and leave others in theirs. Those touch the
//! records of the pod and of its addresses ([`Known::follow`]). A class or a ruleset that comes or goes is another matter: rules name
//! every class, so all is put together anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::Key;
use imbl::OrdMap;
use ipnet::IpNet;
use wire::fabric::{PodPolicy, Ruleset};

use super::classes::{Class, Classes};
use super::pods::Facts;
use super::rules::Rules;
use super::rulesets::{self, Sort};

/// What a compilation found out. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub rules: Arc<Rules>,
    pub facts: OrdMap<Key, Arc<Facts>>,
    classes: Arc<Classes>,
    /// How many peers are of each class that anybody is of.
    members: OrdMap<Class, usize>,
    /// Who claims an address.
    owners: OrdMap<IpAddr, Vec<Key>>,
    /// Rulesets with their numbers, and how many pods have each.
    sorts: OrdMap<Sort, (u32, usize)>,
}

/// A pod or a node, and what is known of it now; `None` if it is gone.
pub type News = (Key, Option<Arc<Facts>>);

impl Known {
    /// Finds everything out.
    pub fn new(rules: Arc<Rules>, facts: OrdMap<Key, Arc<Facts>>) -> (Known, Vec<Ruleset>) {
        let classes = Classes::new(&rules, facts.values().map(AsRef::as_ref));
        let (rulesets, sorts) = rulesets::compile(&rules, facts.values().map(AsRef::as_ref), &classes);
        let mut members: BTreeMap<Class, usize> = BTreeMap::new();
        let mut owners: BTreeMap<IpAddr, Vec<Key>> = BTreeMap::new();
        for (key, facts) in &facts {
            classes.of_all(facts, &rules).into_iter().for_each(|class| *members.entry(class).or_default() += 1);
            facts.ips.iter().for_each(|ip| owners.entry(*ip).or_default().push(key.clone()));
        }
        let (members, owners) = (members.into_iter().collect(), owners.into_iter().collect());
        (Known { rules, facts, classes: Arc::new(classes), members, owners, sorts }, rulesets)
    }

    /// Takes changes of pods and nodes in and says which addresses they touch; `None` if classes or rulesets come or go, and then nothing
    /// here may be believed but the rules and the facts.
    pub fn follow(&mut self, news: &[News]) -> Option<BTreeSet<IpAddr>> {
        let mut touched = Touched::default();
        for (key, now) in news {
            let before = match now {
                Some(now) => self.facts.insert(key.clone(), now.clone()),
                None => self.facts.remove(key),
            };
            if let Some(before) = before {
                self.count(key, &before, false, &mut touched);
            }
            if let Some(now) = now {
                self.count(key, now, true, &mut touched);
            }
        }
        let classes = touched.classes.iter().all(|class| {
            let wanted = self.members.contains_key(class) || self.classes.is_of_a_block(class);
            wanted == self.classes.numbers.contains_key(class)
        });
        let sorts = touched.sorts.iter().all(|sort| self.sorts.get(sort).is_some_and(|(_, pods)| *pods > 0));
        (classes && sorts).then_some(touched.ips)
    }

    /// The class of an address; `None` if it has no record.
    pub fn identity(&self, ip: IpAddr) -> Option<u32> {
        let claims = self.owners.get(&ip).into_iter().flatten();
        let claims = claims.filter_map(|key| self.facts.get(key)).map(AsRef::as_ref).collect();
        self.classes.at(ip, claims, &self.rules).or_else(|| self.classes.block(&IpNet::from(ip)))
    }

    /// The classes of all prefixes.
    pub fn identities(&self) -> BTreeMap<String, u32> {
        let fixed = self.classes.fixed(&self.rules, self.facts.values().map(AsRef::as_ref));
        let owned = self.owners.keys().filter_map(|ip| Some((IpNet::from(*ip).to_string(), self.identity(*ip)?)));
        fixed.into_iter().chain(owned).collect()
    }

    /// The record of a pod; `None` if it is bound to no node.
    pub fn pod(&self, key: &Key, facts: &Facts) -> Option<PodPolicy> {
        let sort = rulesets::sort(&self.rules, facts);
        let ruleset = sort.and_then(|sort| self.sorts.get(&sort)).map_or(0, |(number, _)| *number);
        let ips = facts.ips.iter().map(ToString::to_string).collect();
        let record = || PodPolicy { pod: key.to_string(), uid: facts.uid.clone(), ruleset, ips };
        (!facts.node.is_empty()).then(record)
    }

    /// Counts a peer in or out.
    fn count(&mut self, key: &Key, facts: &Facts, comes: bool, touched: &mut Touched) {
        let step = |count: usize| if comes { count + 1 } else { count.saturating_sub(1) };
        for class in self.classes.of_all(facts, &self.rules) {
            match step(self.members.get(&class).copied().unwrap_or(0)) {
                0 => _ = self.members.remove(&class),
                count => _ = self.members.insert(class.clone(), count),
            }
            touched.classes.insert(class);
        }
        if let Some(sort) = rulesets::sort(&self.rules, facts) {
            if let Some((number, pods)) = self.sorts.get(&sort).copied() {
                self.sorts.insert(sort.clone(), (number, step(pods)));
            }
            touched.sorts.insert(sort);
        }
        for ip in &facts.ips {
            let mut owners = self.owners.get(ip).cloned().unwrap_or_default();
            owners.retain(|owner| owner != key);
            owners.extend(comes.then(|| key.clone()));
            match owners.is_empty() {
                true => _ = self.owners.remove(ip),
                false => _ = self.owners.insert(*ip, owners),
            }
            touched.ips.insert(*ip);
        }
    }
}

/// What changes have to do with.
#[derive(Default)]
struct Touched {
    classes: BTreeSet<Class>,
    sorts: BTreeSet<Sort>,
    ips: BTreeSet<IpAddr>,
}
