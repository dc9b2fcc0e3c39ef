//! The View's indexes: by uid, by owner, by node, by label. They hold places, not objects, so that the usual update,
//! which changes none of them, costs no index anything.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::facts::{Facts, Pair, Role, pair};
use crate::{Kind, Object, Uid};

/// Where an object is: its kind, and its key in the store.
pub(crate) type Place = (Kind, Arc<str>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes {
    by_uid: OrdMap<Uid, Place>,
    by_owner: OrdSet<(Uid, Kind, Arc<str>)>,
    by_node: OrdSet<(Arc<str>, Arc<str>)>,
    by_pair: OrdSet<(Pair, Arc<str>)>,
}

impl Indexes {
    pub fn uid(&self, uid: &Uid) -> Option<&Place> {
        self.by_uid.get(uid)
    }

    pub fn owned_by(&self, uid: Uid) -> impl Iterator<Item = (Kind, &Arc<str>)> {
        let first = (uid.clone(), Kind::ALL[0], Arc::from(""));
        self.by_owner.range(first..).take_while(move |(owner, _, _)| *owner == uid).map(|(_, kind, key)| (*kind, key))
    }

    pub fn on_node(&self, node: &str) -> impl Iterator<Item = &Arc<str>> {
        let node: Arc<str> = Arc::from(node);
        let first = (node.clone(), Arc::from(""));
        self.by_node.range(first..).take_while(move |(known, _)| *known == node).map(|(_, key)| key)
    }

    pub fn pair(&self, pair: Pair) -> impl Iterator<Item = &Arc<str>> {
        let first = (pair, Arc::from(""));
        self.by_pair.range(first..).take_while(move |(known, _)| *known == pair).map(|(_, key)| key)
    }

    /// The one of several pairs that fewest objects have.
    pub fn rarest(&self, pairs: impl Iterator<Item = Pair>) -> Option<Pair> {
        let mut left: Vec<_> = pairs.map(|pair| (pair, self.pair(pair))).collect();
        // All are read at the pace of the shortest.
        while left.len() > 1 {
            if let Some(ended) = left.iter_mut().position(|(_, objects)| objects.next().is_none()) {
                return Some(left[ended].0);
            }
        }
        left.first().map(|(pair, _)| *pair)
    }

    /// The node's name as another pod has it.
    pub fn same_node(&self, node: &str) -> Option<&Arc<str>> {
        let node: Arc<str> = Arc::from(node);
        let first = (node.clone(), Arc::from(""));
        self.by_node.range(first..).next().map(|(known, _)| known).filter(|known| **known == node)
    }

    /// Puts an object in, in place of what was under its key.
    pub fn replace(&mut self, old: Option<&Object>, new: Option<&Object>) {
        if let (Some(old), Some(new)) = (old, new)
            && same(old.facts(), new.facts())
            && old.node() == new.node()
        {
            return;
        }
        if let Some(old) = old {
            self.remove(old);
        }
        if let Some(new) = new {
            self.insert(new);
        }
    }

    fn insert(&mut self, object: &Object) {
        let (kind, key, facts) = (object.kind(), object.store_key(), object.facts());
        if !facts.uid.is_empty() {
            self.by_uid.insert(facts.uid.clone(), (kind, key.clone()));
        }
        for owner in &facts.owners {
            self.by_owner.insert((owner.uid.clone(), kind, key.clone()));
        }
        if let Some(node) = object.node_shared() {
            self.by_node.insert((node.clone(), key.clone()));
        }
        for pair in pairs(object) {
            self.by_pair.insert((pair, key.clone()));
        }
    }

    fn remove(&mut self, object: &Object) {
        let (kind, key, facts) = (object.kind(), object.store_key(), object.facts());
        if self.by_uid.get(&facts.uid).is_some_and(|(known, at)| *known == kind && at == key) {
            self.by_uid.remove(&facts.uid);
        }
        for owner in &facts.owners {
            self.by_owner.remove(&(owner.uid.clone(), kind, key.clone()));
        }
        if let Some(node) = object.node_shared() {
            self.by_node.remove(&(node.clone(), key.clone()));
        }
        for pair in pairs(object) {
            self.by_pair.remove(&(pair, key.clone()));
        }
    }
}

fn same(old: &Facts, new: &Facts) -> bool {
    old.uid == new.uid && old.owners == new.owners && old.labels == new.labels && old.selects == new.selects
}

/// The places of an object in the index of pairs.
fn pairs(object: &Object) -> impl Iterator<Item = Pair> {
    let has = object.labels().into_iter().flat_map(|labels| labels.iter());
    let has = has.map(|(key, value)| pair(Role::Has, object.kind(), object.namespace(), key, value));
    has.chain(object.facts().selects)
}
