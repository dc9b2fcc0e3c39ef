//! What the garbage collector remembers of every object.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use api::{Key, Revision};
use apiserver::Apiserver;
use cache::Uid;
use controllers::garbage::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use reconcile::Queue;
use registry::Resource;
use serde::Deserialize;
use store::Event;

use super::PREFIX;

/// The objects that matter, by their keys in the store, which are shared with it.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) nodes: BTreeMap<Arc<str>, Edges>,
    /// Keys of the objects that name this uid as an owner.
    pub(super) dependents: HashMap<Uid, BTreeSet<Arc<str>>>,
    /// Keys of the objects that wait for their dependents, by uid.
    held: HashMap<Uid, Arc<str>>,
    uids: HashSet<u128>,
}

/// How an object hangs together with others.
pub(super) struct Edges {
    uid: Uid,
    owners: Box<[Uid]>,
}

/// What is read of an object.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Partial {
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<String>,
    finalizers: Vec<String>,
    owner_references: Vec<OwnerReference>,
}

impl Graph {
    pub(super) fn fold(&mut self, server: &Arc<Apiserver>, event: &Event, queue: &mut Queue) {
        match (&event.value, &event.prev) {
            // The usual update says nothing about owners: it is not even parsed.
            (Some(value), Some(_)) if !concerns(value) && !self.nodes.contains_key(event.key.as_ref()) => {}
            (Some(value), None) if !concerns(value) => self.uids.extend(compact(&partial(value).metadata.uid)),
            (Some(value), _) => {
                let new = node(&server.resources(), &event.key, value, event.revision);
                self.put(&event.key, new, queue);
            }
            (None, prev) => {
                self.take_out(&event.key, queue);
                if let Some(prev) = prev {
                    self.lost(&partial(&prev.value).metadata, queue);
                }
            }
        }
    }

    /// An object is there, new or changed.
    pub(super) fn put(&mut self, key: &Arc<str>, node: Option<Node>, queue: &mut Queue) {
        self.take_out(key, queue);
        let Some(node) = node else { return };
        self.uids.extend(compact(&node.uid));
        let (now, uid) = (process::now(), Uid::of(&node.uid));
        if node.deleting {
            let waiting = self.dependents.get(&uid).into_iter().flatten();
            waiting.for_each(|dependent| queue.add(Key::cluster(dependent), now));
        }
        if node.owners.is_empty() && !node.is_held() {
            return;
        }
        if node.is_held() {
            self.held.insert(uid.clone(), key.clone());
        }
        let owners: Box<[Uid]> = node.owners.iter().map(|owner| Uid::of(&owner.uid)).collect();
        for owner in &owners {
            self.dependents.entry(owner.clone()).or_default().insert(key.clone());
        }
        self.nodes.insert(key.clone(), Edges { uid, owners });
        queue.add(Key::cluster(key), now);
    }

    /// Forgets what was known of an object; owners that wait for it look again.
    fn take_out(&mut self, key: &str, queue: &mut Queue) {
        let Some(node) = self.nodes.remove(key) else { return };
        self.held.remove(&node.uid);
        for owner in &node.owners {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(key);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
            if let Some(waiting) = self.held.get(owner) {
                queue.add(Key::cluster(waiting), process::now());
            }
        }
    }

    /// Whether any object has this uid.
    pub(super) fn has(&self, uid: &str) -> bool {
        compact(uid).is_some_and(|uid| self.uids.contains(&uid))
    }

    /// An object is gone for good.
    fn lost(&mut self, old: &Metadata, queue: &mut Queue) {
        if let Some(uid) = compact(&old.uid) {
            self.uids.remove(&uid);
        }
        for dependent in self.dependents.get(&Uid::of(&old.uid)).into_iter().flatten() {
            queue.add(Key::cluster(dependent), process::now());
        }
    }
}

fn partial(bytes: &[u8]) -> Partial {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// What the collector knows of stored bytes; `None` for what is not served.
pub(super) fn node(kinds: &[Arc<Resource>], key: &str, bytes: &[u8], revision: Revision) -> Option<Node> {
    let mut parts = key.strip_prefix(PREFIX)?.splitn(3, '/');
    let (group, resource, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = kinds.iter().find(|kind| kind.storage.0 == group && kind.storage.1 == resource)?;
    let (namespace, name) = if kind.namespaced { rest.split_once('/')? } else { ("", rest) };
    let Metadata { uid, deletion_timestamp, finalizers, owner_references } = partial(bytes).metadata;
    Some(Node {
        gvr: kind.gvr(),
        kind: kind.kind.clone(),
        key: Key::new(namespace, name),
        uid,
        resource_version: Some(revision.to_string()),
        owners: owner_references,
        finalizers,
        deleting: deletion_timestamp.is_some(),
    })
}

/// Whether stored bytes may speak of owners or of a deletion.
fn concerns(bytes: &[u8]) -> bool {
    const WORDS: [&[u8]; 2] = [b"\"ownerReferences\"", b"\"deletionTimestamp\""];
    WORDS.iter().any(|word| bytes.windows(word.len()).any(|window| window == *word))
}

/// A uid in sixteen bytes.
fn compact(uid: &str) -> Option<u128> {
    let digits: String = uid.chars().filter(|digit| *digit != '-').collect();
    u128::from_str_radix(&digits, 16).ok()
}
