//! The View: every object that control loops read, immutable, at one revision, with the indexes they ask for.

use std::sync::Arc;

use api::{Key, Revision};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::facts::{Role, Special, pair};
use crate::index::Indexes;
use crate::selector::{LabelSet, Labels};
use crate::{Cached, Kind, Object, Tables, Uid};

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

/// An immutable snapshot of the cluster at one revision. Cloning costs a few pointers. An object is held as the store has
/// it; what gives an `Arc<T>` decodes it, what gives an [`Object`] does not.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Every change up to this revision is in, and none after it.
    pub revision: Revision,
    /// The objects, one table a kind.
    pub tables: Tables,
    indexes: Indexes,
}

impl View {
    /// The object of this type, namespace (empty for cluster-scoped) and name, decoded.
    pub fn get<T: Cached>(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.tables.at(T::ROW, &T::ROW.store_key(namespace, name))?.typed()
    }

    /// The object of this type at a key, decoded.
    pub fn at<T: Cached>(&self, key: &Key) -> Option<Arc<T>> {
        self.get(&key.namespace, &key.name)
    }

    /// Every object of this type, by key; each is decoded when the iterator comes to it.
    pub fn all<T: Cached>(&self) -> impl Iterator<Item = Arc<T>> {
        self.tables.all(T::ROW).filter_map(Object::typed)
    }

    /// Every object of this type in a namespace, by name; each is decoded when the iterator comes to it.
    pub fn list<T: Cached>(&self, namespace: &str) -> impl Iterator<Item = Arc<T>> {
        self.tables.list(T::ROW, namespace).filter_map(Object::typed)
    }

    /// The object of any kind at a key.
    pub fn object(&self, kind: Kind, key: &Key) -> Option<&Object> {
        self.tables.object(kind, key)
    }

    /// The object with this uid.
    pub fn by_uid(&self, uid: &Uid) -> Option<&Object> {
        let (kind, key) = self.indexes.uid(uid)?;
        self.tables.at(*kind, key)
    }

    /// The objects that name this uid in an owner reference, by kind and key.
    pub fn owned_by(&self, uid: &Uid) -> impl Iterator<Item = &Object> {
        self.indexes.owned_by(uid.clone()).filter_map(|(kind, key)| self.tables.at(kind, key))
    }

    /// The pods bound to a node, by key.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Object> {
        self.indexes.on_node(node).filter_map(|key| self.tables.at(Kind::Pod, key))
    }

    /// The pods, ReplicaSets or EndpointSlices of a namespace that a selector matches, by name. Costs as much as there
    /// are objects with the rarest of its labels; a selector without `matchLabels` costs the namespace.
    pub fn select(&self, kind: Kind, namespace: &str, selector: &LabelSelector) -> Vec<&Object> {
        let none = LabelSet::default();
        let mut objects = match &selector.match_labels {
            Some(labels) if !labels.is_empty() => self.select_pairs(kind, namespace, labels),
            Some(_) | None => self.tables.list(kind, namespace).collect(),
        };
        objects.retain(|object| object.labels().unwrap_or(&none).matches(selector));
        objects
    }

    /// The same with the selector of a Service, which is nothing but labels; without any it selects nothing.
    pub fn select_pairs(&self, kind: Kind, namespace: &str, labels: &Labels) -> Vec<&Object> {
        let pairs = labels.iter().map(|(key, value)| pair(Role::Has, kind, namespace, key, value));
        let keys = self.indexes.rarest(pairs).into_iter().flat_map(|pair| self.indexes.pair(pair));
        let objects = keys.filter_map(|key| self.tables.at(kind, key));
        // Another pair may have the same hash.
        let is_one = |object: &&Object| {
            object.namespace() == namespace && object.labels().is_some_and(|known| known.has_all(labels))
        };
        objects.filter(is_one).collect()
    }

    /// The Services, ReplicaSets or Deployments of a namespace whose selectors may match these labels: none that does is
    /// missing, but the selectors must be asked.
    pub fn selecting(&self, kind: Kind, namespace: &str, labels: Option<&LabelSet>) -> impl Iterator<Item = &Object> {
        let by_label = labels.into_iter().flat_map(LabelSet::iter);
        let by_label = by_label.map(|(key, value)| pair(Role::Selects, kind, namespace, key, value));
        let places = by_label.chain([pair(Role::SelectsAny, kind, namespace, "", "")]).collect::<Vec<_>>();
        places.into_iter().flat_map(|place| self.indexes.pair(place)).filter_map(move |key| self.tables.at(kind, key))
    }

    /// What changed since an older View, by kind, then key.
    pub fn changes_since<'a>(&'a self, old: &'a View) -> impl Iterator<Item = Change> + 'a {
        Tables::changes(&old.tables, &self.tables)
    }

    /// Puts an object in and gives back what it replaced.
    pub fn insert(&mut self, mut object: Object) -> Option<Object> {
        self.share(&mut object);
        let old = self.tables.insert(object.clone());
        self.indexes.replace(old.as_ref(), Some(&object));
        old
    }

    /// Takes an object out and gives it back.
    pub fn remove(&mut self, kind: Kind, key: &Key) -> Option<Object> {
        let old = self.tables.remove(kind, key)?;
        self.indexes.replace(Some(&old), None);
        Some(old)
    }

    /// Lets a new object share what its former self or its siblings have in the same words.
    fn share(&self, object: &mut Object) {
        let (kind, old) = (object.kind(), self.tables.at(object.kind(), object.store_key()));
        let mut labels = object.facts().labels.clone();
        if let Some(wanted) = &mut labels {
            let first = |(key, value)| {
                let place = pair(Role::Has, kind, object.namespace(), key, value);
                self.tables.at(kind, self.indexes.pair(place).next()?)
            };
            let siblings = old.into_iter().chain(wanted.iter().filter_map(first));
            let mut known = siblings.filter_map(|sibling| sibling.facts().labels.as_ref());
            let same = known.find(|known| *known == &*wanted).cloned();
            drop(known);
            if let Some(same) = same {
                *wanted = same;
            }
        }
        let node = object.node().and_then(|node| self.indexes.same_node(node)).cloned();
        let Some(facts) = object.facts_mut() else { return };
        facts.labels = labels;
        if let (Special::Pod(pod), Some(node)) = (&mut facts.special, node) {
            pod.node = Some(node);
        }
    }
}

#[cfg(test)]
mod tests;
