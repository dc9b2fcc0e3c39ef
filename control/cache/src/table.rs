//! A persistent ordered map from key to object: clones share structure, and two versions are compared in the size of
//! their difference.

use std::ops::{Bound, Deref};
use std::sync::Arc;

use api::Key;

use crate::{Change, Kind, Object};

/// Objects of one kind by namespace and name.
pub type Table<T> = imbl::OrdMap<Key, Shared<T>>;

/// A shared object, equal to another when it is the same allocation: an object is never changed in place, so that
/// comparing tables costs a pointer an entry.
#[derive(Debug)]
pub struct Shared<T>(pub Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The entries of one namespace, by name.
pub fn in_namespace<'a, T>(table: &'a Table<T>, namespace: &str) -> impl Iterator<Item = (&'a Key, &'a Shared<T>)> {
    let first = Key { namespace: namespace.to_owned(), name: String::new() };
    let namespace = namespace.to_owned();
    table.range((Bound::Included(first), Bound::Unbounded)).take_while(move |(key, _)| key.namespace == namespace)
}

pub(crate) fn keys<T>(table: &Table<T>, namespace: Option<&str>) -> Vec<Key> {
    match namespace {
        Some(namespace) => in_namespace(table, namespace).map(|(key, _)| key.clone()).collect(),
        None => table.keys().cloned().collect(),
    }
}

pub(crate) fn diff<T>(
    old: &Table<T>,
    new: &Table<T>,
    kind: Kind,
    erase: fn(Arc<T>) -> Object,
    changes: &mut Vec<Change>,
) {
    use imbl::ordmap::DiffItem;
    changes.extend(old.diff(new).map(|item| match item {
        DiffItem::Add(key, new) => Change { kind, key: key.clone(), old: None, new: Some(erase(new.0.clone())) },
        DiffItem::Update { old: (_, old), new: (key, new) } => {
            Change { kind, key: key.clone(), old: Some(erase(old.0.clone())), new: Some(erase(new.0.clone())) }
        }
        DiffItem::Remove(key, old) => Change { kind, key: key.clone(), old: Some(erase(old.0.clone())), new: None },
    }));
}
