//! An object of the View: the store's bytes, what is known of them, and the typed object when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::{Key, Revision};
use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use crate::facts::{self, Facts, NodeFacts, PodFacts, Ready, Special};
use crate::selector::LabelSet;
use crate::{Cached, Kind, Uid, recent};

/// An object of any kind of the table, as the store has it. Cheap to clone. Two are equal if they are the same one: the
/// same write of the same object, read once.
#[derive(Clone, Debug)]
pub struct Object(Arc<Stored>);

#[derive(Debug)]
struct Stored {
    kind: Kind,
    revision: Revision,
    /// The store's own key, shared with it.
    key: Arc<str>,
    /// The store's own bytes, shared with it.
    value: Bytes,
    facts: Facts,
    decoded: AtomicBool,
}

/// Why an object's bytes are not an object of its kind.
#[derive(Debug, thiserror::Error)]
#[error("{kind:?} at revision {revision} does not parse: {source}")]
pub struct DecodeError {
    /// The kind that the bytes should have had.
    pub kind: Kind,
    /// The revision of the bytes.
    pub revision: Revision,
    /// What the parser said.
    pub source: serde_json::Error,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    metadata: ObjectMeta,
}

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Object {
    /// An object as the store has it, under its key there.
    ///
    /// # Errors
    /// When the bytes are not JSON of an object's form. The rest of them is not looked at before somebody asks for it.
    pub fn stored(kind: Kind, key: Arc<str>, value: Bytes, revision: Revision) -> Result<Object, DecodeError> {
        let facts =
            facts::read(kind, kind.split(&key).0, &value).map_err(|source| DecodeError { kind, revision, source })?;
        Ok(Object(Arc::new(Stored { kind, revision, key, value, facts, decoded: AtomicBool::new(false) })))
    }

    /// An object by itself: its key is read from its metadata.
    ///
    /// # Errors
    /// As [`Object::stored`].
    pub fn decode(kind: Kind, bytes: &[u8], revision: Revision) -> Result<Object, DecodeError> {
        let named: Named = serde_json::from_slice(bytes).map_err(|source| DecodeError { kind, revision, source })?;
        let (namespace, name) = (named.metadata.namespace.as_deref(), named.metadata.name.as_deref());
        let key = kind.store_key(namespace.unwrap_or_default(), name.unwrap_or_default());
        Object::stored(kind, key.into(), Bytes::copy_from_slice(bytes), revision)
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The write that made it so.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }

    /// Its key in the store.
    pub(crate) fn store_key(&self) -> &Arc<str> {
        &self.0.key
    }

    /// Its namespace, empty if its kind has none.
    pub fn namespace(&self) -> &str {
        self.0.kind.split(&self.0.key).0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.kind.split(&self.0.key).1
    }

    /// Its namespace and name.
    pub fn key(&self) -> Key {
        Key::new(self.namespace(), self.name())
    }

    /// Its uid, empty if the server has not given one.
    pub fn uid(&self) -> &Uid {
        &self.0.facts.uid
    }

    /// The uid of its controller, if it has one.
    pub fn controller(&self) -> Option<&Uid> {
        self.0.facts.owners.iter().find(|owner| owner.controller).map(|owner| &owner.uid)
    }

    /// Whether it is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.0.facts.deleting
    }

    /// The labels of a pod, a ReplicaSet or an EndpointSlice; those of other kinds are not kept.
    pub fn labels(&self) -> Option<&LabelSet> {
        self.0.facts.labels.as_deref()
    }

    /// The node that a pod is bound to.
    pub fn node(&self) -> Option<&str> {
        self.pod().and_then(|pod| pod.node.as_deref())
    }

    pub(crate) fn node_shared(&self) -> Option<&Arc<str>> {
        self.pod().and_then(|pod| pod.node.as_ref())
    }

    /// Whether it is a pod that has ended for good.
    pub fn is_terminal(&self) -> bool {
        self.pod().is_some_and(|pod| pod.ended)
    }

    /// Whether it is a pod with a DisruptionTarget condition.
    pub fn is_disrupted(&self) -> bool {
        self.pod().is_some_and(|pod| pod.disrupted)
    }

    /// What the Ready condition of a pod or a node says.
    pub fn ready(&self) -> Ready {
        match &self.0.facts.special {
            Special::Pod(PodFacts { ready, .. }) | Special::Node(NodeFacts { ready, .. }) => *ready,
            Special::None => Ready::Unsaid,
        }
    }

    /// Whether it is a node with a NoExecute taint.
    pub fn evicts(&self) -> bool {
        matches!(&self.0.facts.special, Special::Node(node) if node.evicts)
    }

    /// The typed object with its resourceVersion; `None` if it is of another kind, or if its bytes are not of this
    /// type, which is logged. Decoded anew unless it was read a short while ago: whoever reads many asks for facts
    /// first.
    pub fn typed<T: Cached>(&self) -> Option<Arc<T>> {
        if T::ROW != self.0.kind {
            return None;
        }
        if let Some(known) = recent::get(self) {
            return known.downcast().ok();
        }
        match serde_json::from_slice::<T>(&self.0.value) {
            Ok(mut object) => {
                object.metadata_mut().resource_version = Some(self.0.revision.to_string());
                let object = Arc::new(object);
                self.0.decoded.store(true, Ordering::Relaxed);
                recent::keep(self, object.clone());
                Some(object)
            }
            Err(source) => {
                let error = DecodeError { kind: self.0.kind, revision: self.0.revision, source };
                tracing::error!(key = %self.0.key, %error, "an object in the store is left out");
                None
            }
        }
    }

    /// Whether anybody has ever asked for the typed object: what tests of readers want to know.
    pub fn was_decoded(&self) -> bool {
        self.0.decoded.load(Ordering::Relaxed)
    }

    /// A part of the object, as a type that names only what is to be read; `None` if it is not there in this form.
    pub fn part<'a, P: Deserialize<'a>>(&'a self) -> Option<P> {
        serde_json::from_slice(&self.0.value).ok()
    }

    /// Its metadata, with its resourceVersion; the rest of the object is not decoded.
    pub fn meta(&self) -> ObjectMeta {
        let mut meta = self.part::<Named>().unwrap_or_default().metadata;
        meta.resource_version = Some(self.0.revision.to_string());
        meta
    }

    /// The object as JSON, with apiVersion, kind and resourceVersion.
    pub fn to_value(&self) -> Value {
        let mut value: Value = serde_json::from_slice(&self.0.value).expect("facts were read, so it is JSON");
        value["apiVersion"] = self.0.kind.api_version().into();
        value["kind"] = self.0.kind.name().into();
        value["metadata"]["resourceVersion"] = self.0.revision.to_string().into();
        value
    }

    /// How many bytes it has in the store.
    pub(crate) fn size_bytes(&self) -> usize {
        self.0.value.len()
    }

    /// What tells it from every other object that is there.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// The facts, to share what others have too; `None` once the object itself is shared.
    pub(crate) fn facts_mut(&mut self) -> Option<&mut Facts> {
        Arc::get_mut(&mut self.0).map(|stored| &mut stored.facts)
    }

    fn pod(&self) -> Option<&PodFacts> {
        match &self.0.facts.special {
            Special::Pod(pod) => Some(pod),
            Special::None | Special::Node(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
