//! The View: every object that control loops read, immutable, at one revision, with the indexes they ask for.

use std::sync::Arc;

use api::{Key, Revision};
use imbl::{OrdMap, OrdSet};

use crate::table::in_namespace;
use crate::{Cached, Kind, Object, Tables};

/// One object that differs between two Views.
#[derive(Clone, Debug)]
pub struct Change {
    /// The object's kind.
    pub kind: Kind,
    /// The object's key.
    pub key: Key,
    /// What it was, if it was there.
    pub old: Option<Object>,
    /// What it is, if it is there.
    pub new: Option<Object>,
}

impl Change {
    /// Both sides that exist, old first.
    pub fn sides(&self) -> impl Iterator<Item = &Object> {
        self.old.iter().chain(self.new.iter())
    }
}

/// An immutable snapshot of the cluster at one revision. Cloning costs a few pointers.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Every change up to this revision is in, and none after it.
    pub revision: Revision,
    /// The objects, one table a kind.
    pub tables: Tables,
    by_uid: OrdMap<String, (Kind, Key)>,
    by_owner: OrdMap<String, OrdSet<(Kind, Key)>>,
    by_node: OrdMap<String, OrdSet<Key>>,
}

impl View {
    /// The object of this type, namespace (empty for cluster-scoped) and name.
    pub fn get<T: Cached>(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.at(&Key { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The object of this type at a key.
    pub fn at<T: Cached>(&self, key: &Key) -> Option<Arc<T>> {
        T::table(&self.tables).get(key).map(|shared| shared.0.clone())
    }

    /// Every object of this type, by key.
    pub fn all<T: Cached>(&self) -> impl Iterator<Item = &Arc<T>> {
        T::table(&self.tables).values().map(|shared| &shared.0)
    }

    /// Every object of this type in a namespace, by name.
    pub fn list<T: Cached>(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        in_namespace(T::table(&self.tables), namespace).map(|(_, shared)| &shared.0)
    }

    /// The object of any kind at a key.
    pub fn object(&self, kind: Kind, key: &Key) -> Option<Object> {
        self.tables.object(kind, key)
    }

    /// The object with this uid.
    pub fn by_uid(&self, uid: &str) -> Option<Object> {
        let (kind, key) = self.by_uid.get(uid)?;
        self.tables.object(*kind, key)
    }

    /// The objects that name this uid in an owner reference, by kind and key.
    pub fn owned_by(&self, uid: &str) -> impl Iterator<Item = (Kind, &Key)> {
        self.by_owner.get(uid).into_iter().flatten().map(|(kind, key)| (*kind, key))
    }

    /// The pods bound to a node, by key.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Arc<k8s_openapi::api::core::v1::Pod>> {
        let keys = self.by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.tables.pods.get(key).map(|shared| &shared.0))
    }

    /// Names of the nodes that pods are bound to, whether or not such a Node exists.
    pub fn nodes_with_pods(&self) -> impl Iterator<Item = &String> {
        self.by_node.keys()
    }

    /// What changed since an older View, by kind, then key.
    pub fn changes_since(&self, old: &View) -> Vec<Change> {
        Tables::changes(&old.tables, &self.tables)
    }

    /// Puts an object in and gives back what it replaced.
    pub fn insert(&mut self, object: Object) -> Option<Object> {
        let (kind, key) = (object.kind(), object.key());
        let old = self.tables.insert(key.clone(), object.clone());
        if let Some(old) = &old {
            self.unindex(old, kind, &key);
        }
        self.index(&object, kind, &key);
        old
    }

    /// Takes an object out and gives it back.
    pub fn remove(&mut self, kind: Kind, key: &Key) -> Option<Object> {
        let old = self.tables.remove(kind, key)?;
        self.unindex(&old, kind, key);
        Some(old)
    }

    fn index(&mut self, object: &Object, kind: Kind, key: &Key) {
        if !object.uid().is_empty() {
            self.by_uid.insert(object.uid().to_owned(), (kind, key.clone()));
        }
        for owner in object.meta().owner_references.iter().flatten() {
            self.by_owner.entry(owner.uid.clone()).or_default().insert((kind, key.clone()));
        }
        if let Some(node) = bound_node(object) {
            self.by_node.entry(node.to_owned()).or_default().insert(key.clone());
        }
    }

    fn unindex(&mut self, object: &Object, kind: Kind, key: &Key) {
        if self.by_uid.get(object.uid()).is_some_and(|(k, at)| *k == kind && at == key) {
            self.by_uid.remove(object.uid());
        }
        for owner in object.meta().owner_references.iter().flatten() {
            remove_from(&mut self.by_owner, &owner.uid, &(kind, key.clone()));
        }
        if let Some(node) = bound_node(object) {
            remove_from(&mut self.by_node, node, key);
        }
    }
}

fn remove_from<V: Ord + Clone>(index: &mut OrdMap<String, OrdSet<V>>, entry: &str, value: &V) {
    let Some(values) = index.get_mut(entry) else { return };
    values.remove(value);
    if values.is_empty() {
        index.remove(entry);
    }
}

fn bound_node(object: &Object) -> Option<&str> {
    match object {
        Object::Pod(pod) => pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty()),
        _ => None,
    }
}
