//! A persistent ordered map from the store's keys to objects: clones share structure, and two versions are compared in
//! the size of their difference.

use std::ops::Bound;
use std::sync::Arc;

use api::Key;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::{Change, Kind, Object};

/// Objects of one kind, by namespace and name. The keys are the store's own.
type Table = OrdMap<Arc<str>, Object>;

/// One table a kind.
#[derive(Clone, Debug)]
pub struct Tables([Table; Kind::ALL.len()]);

impl Default for Tables {
    fn default() -> Self {
        Tables(std::array::from_fn(|_| Table::new()))
    }
}

impl Tables {
    /// The object of this kind and key.
    pub fn object(&self, kind: Kind, key: &Key) -> Option<&Object> {
        self.at(kind, &kind.store_key(&key.namespace, &key.name))
    }

    /// The object of this kind under a key of the store.
    pub(crate) fn at(&self, kind: Kind, store_key: &str) -> Option<&Object> {
        self.table(kind).get(store_key)
    }

    /// The objects of one kind, by key.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.table(kind).values()
    }

    /// The objects of one kind in a namespace, by name.
    pub fn list(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Object> {
        let first = kind.store_key(namespace, "");
        let range = self.table(kind).range::<_, str>((Bound::Included(first.as_str()), Bound::Unbounded));
        range.take_while(move |(key, _)| key.starts_with(&first)).map(|(_, object)| object)
    }

    /// The keys of one kind within a namespace, or of all of them.
    pub fn keys(&self, kind: Kind, namespace: Option<&str>) -> Vec<Key> {
        match namespace {
            Some(namespace) => self.list(kind, namespace).map(Object::key).collect(),
            None => self.all(kind).map(Object::key).collect(),
        }
    }

    /// How many objects there are of one kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.table(kind).len()
    }

    pub(crate) fn insert(&mut self, object: Object) -> Option<Object> {
        self.table_mut(object.kind()).insert(object.store_key().clone(), object)
    }

    pub(crate) fn remove(&mut self, kind: Kind, key: &Key) -> Option<Object> {
        self.table_mut(kind).remove(kind.store_key(&key.namespace, &key.name).as_str())
    }

    /// What differs between two sets of tables, in the order of kinds, then keys.
    pub(crate) fn changes<'a>(old: &'a Tables, new: &'a Tables) -> impl Iterator<Item = Change> + 'a {
        Kind::ALL.iter().flat_map(|kind| {
            old.table(*kind).diff(new.table(*kind)).map(|item| {
                let (old, new) = match item {
                    DiffItem::Add(_, new) => (None, Some(new)),
                    DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
                    DiffItem::Remove(_, old) => (Some(old), None),
                };
                let either = old.or(new).expect("a difference has a side");
                Change { kind: either.kind(), key: either.key(), old: old.cloned(), new: new.cloned() }
            })
        })
    }

    fn table(&self, kind: Kind) -> &Table {
        &self.0[kind as usize]
    }

    fn table_mut(&mut self, kind: Kind) -> &mut Table {
        &mut self.0[kind as usize]
    }
}
