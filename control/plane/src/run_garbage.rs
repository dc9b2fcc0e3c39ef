//! Collects garbage of every kind that is served, custom ones too: one watch of the whole store, of which only metadata
//! is read. What is kept are the objects that have owners or wait for dependents, and the uids of all.
//!
//! Task: `garbage`, which reads the store's watch and runs up to [`MAX_CONCURRENT`] keys at once (`collect`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::{Key, Revision};
use apiserver::Apiserver;
use client::Client;
use controllers::garbage::{MISPLACED, Node, Owner, decide, misplaced_message};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use process::Shutdown;
use reconcile::{Backoff, EventRecord, EventType, Outcome, Plan, Queue};
use registry::Resource;
use serde::Deserialize;
use store::{Backend, Event};
use tokio::sync::mpsc;

use crate::execute::{Events, execute};
use crate::run_controllers::until;

/// Keys worked on at once.
pub const MAX_CONCURRENT: usize = 16;

const PREFIX: &str = "/registry/";
const PAGE: usize = 1000;
const RETRY: Duration = Duration::from_millis(200);
const NAME: &str = "garbage-collector-controller";

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

/// The objects that matter, by their keys in the store.
#[derive(Default)]
struct Graph {
    nodes: BTreeMap<String, Node>,
    /// Keys of the objects that name this uid as an owner.
    dependents: HashMap<String, BTreeSet<String>>,
    /// Keys of the objects that wait for their dependents, by uid.
    held: HashMap<String, String>,
    uids: HashSet<u128>,
}

/// Runs until `shutdown`.
pub async fn run_garbage(server: Arc<Apiserver>, store: Arc<dyn Backend>, client: Client, shutdown: Shutdown) {
    tokio::select! {
        () = follow(&server, &store, &client) => {}
        () = shutdown.cancelled() => {}
    }
}

/// Follows the store for ever; after a lost watch it lists again.
async fn follow(server: &Arc<Apiserver>, store: &Arc<dyn Backend>, client: &Client) {
    loop {
        let (mut graph, mut queue) = (Graph::default(), Queue::new(Backoff::default()));
        match list(server, store.as_ref(), &mut graph, &mut queue).await {
            Ok(revision) => run(server, store, client, graph, queue, revision).await,
            Err(error) => tracing::warn!(%error, "cannot list the store"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn list(
    server: &Arc<Apiserver>,
    store: &dyn Backend,
    graph: &mut Graph,
    queue: &mut Queue,
) -> Result<Revision, store::Error> {
    let kinds = server.resources();
    let (mut after, mut at): (Option<String>, _) = (None, None);
    loop {
        let page = store.list(PREFIX, after.as_deref(), Some(PAGE), at).await?;
        at = Some(page.revision);
        for entry in &page.entries {
            after = Some(entry.key.to_string());
            let node = node(&kinds, &entry.key, &entry.value, entry.modified);
            graph.put(&entry.key, node, queue);
        }
        if !page.more {
            return Ok(page.revision);
        }
    }
}

/// Works until the watch is lost.
async fn run(
    server: &Arc<Apiserver>,
    store: &Arc<dyn Backend>,
    client: &Client,
    mut graph: Graph,
    mut queue: Queue,
    mut revision: Revision,
) {
    let mut watch = match store.watch(PREFIX, revision) {
        Ok(watch) => watch,
        Err(error) => return tracing::warn!(%error, "cannot watch the store"),
    };
    let events = Events::new(client.clone(), NAME);
    let (finished, mut finishes) = mpsc::channel::<(Key, Outcome)>(MAX_CONCURRENT);
    let mut running = 0;
    loop {
        // All that is there first: a dependent that was made before its owner's release must be known.
        while let Some(event) = watch.next().now_or_never() {
            let Some(Ok(event)) = event else { return };
            revision = event.revision;
            graph.fold(server, &event, &mut queue);
        }
        while running < MAX_CONCURRENT {
            let Some(key) = queue.pop(process::now(), revision) else { break };
            let Some(node) = graph.nodes.get(&key.name).cloned() else {
                queue.done(key, Outcome::Done { written: None, requeue_at: None }, process::now());
                continue;
            };
            let plan = plan(server, store.as_ref(), &graph, &key.name, &node).await;
            let plan = match plan {
                Ok(plan) if plan.writes.is_empty() && plan.events.is_empty() => {
                    queue.done(key, Outcome::Done { written: None, requeue_at: None }, process::now());
                    continue;
                }
                Ok(plan) => plan,
                Err(error) => {
                    tracing::warn!(%error, "cannot read the store");
                    queue.done(key, Outcome::Failed { written: None }, process::now());
                    continue;
                }
            };
            running += 1;
            let (client, store, events, finished) = (client.clone(), store.clone(), events.clone(), finished.clone());
            process::spawn("collect", async move {
                let outcome = execute(&client, || store.revision(), &events, &plan).await;
                let _ = finished.send((key, outcome)).await;
            });
        }
        let wait = if running < MAX_CONCURRENT { until(queue.next_due()) } else { RETRY };
        tokio::select! {
            event = watch.next() => {
                let Some(Ok(event)) = event else { return };
                revision = event.revision;
                graph.fold(server, &event, &mut queue);
            }
            Some((key, outcome)) = finishes.recv() => {
                running -= 1;
                queue.done(key, outcome, process::now());
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Graph {
    fn fold(&mut self, server: &Arc<Apiserver>, event: &Event, queue: &mut Queue) {
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
    fn put(&mut self, key: &str, node: Option<Node>, queue: &mut Queue) {
        self.take_out(key, queue);
        let Some(node) = node else { return };
        self.uids.extend(compact(&node.uid));
        let now = process::now();
        if node.deleting {
            let waiting = self.dependents.get(&node.uid).into_iter().flatten();
            waiting.for_each(|dependent| queue.add(Key::cluster(dependent), now));
        }
        if node.owners.is_empty() && !node.is_held() {
            return;
        }
        if node.is_held() {
            self.held.insert(node.uid.clone(), key.to_owned());
        }
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(key.to_owned());
        }
        self.nodes.insert(key.to_owned(), node);
        queue.add(Key::cluster(key), now);
    }

    /// Forgets what was known of an object; owners that wait for it look again.
    fn take_out(&mut self, key: &str, queue: &mut Queue) {
        let Some(node) = self.nodes.remove(key) else { return };
        self.held.remove(&node.uid);
        for owner in &node.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(key);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
            if let Some(waiting) = self.held.get(&owner.uid) {
                queue.add(Key::cluster(waiting), process::now());
            }
        }
    }

    /// An object is gone for good.
    fn lost(&mut self, old: &Metadata, queue: &mut Queue) {
        if let Some(uid) = compact(&old.uid) {
            self.uids.remove(&uid);
        }
        for dependent in self.dependents.get(&old.uid).into_iter().flatten() {
            queue.add(Key::cluster(dependent), process::now());
        }
    }
}

/// What to do about a node, by what the store has now.
async fn plan(
    server: &Arc<Apiserver>,
    store: &dyn Backend,
    graph: &Graph,
    key: &str,
    node: &Node,
) -> Result<Plan, store::Error> {
    let kinds = server.resources();
    let mut owners = Vec::with_capacity(node.owners.len());
    if !node.deleting {
        for reference in &node.owners {
            owners.push(classify(store, &kinds, graph, node, reference).await?);
        }
    }
    let dependents = graph.dependents.get(&node.uid).into_iter().flatten().filter(|other| *other != key);
    let dependents: Vec<Node> = dependents.filter_map(|other| graph.nodes.get(other).cloned()).collect();
    let decision = decide(node, &owners, &dependents);
    let mut plan = Plan::none();
    plan.writes = decision.writes;
    plan.events = decision.misplaced.iter().map(|reference| complaint(node, reference)).collect();
    Ok(plan)
}

async fn classify(
    store: &dyn Backend,
    kinds: &[Arc<Resource>],
    graph: &Graph,
    node: &Node,
    reference: &OwnerReference,
) -> Result<Owner, store::Error> {
    let (group, version) = reference.api_version.rsplit_once('/').unwrap_or(("", &reference.api_version));
    let of_kind = || kinds.iter().filter(|kind| kind.group == group && kind.kind == reference.kind);
    // Owners of kinds that nobody serves are left in peace: they may come back.
    let Some(kind) = of_kind().find(|kind| kind.version == version).or_else(|| of_kind().next()) else {
        return Ok(Owner::Solid);
    };
    let namespace = node.key.namespace.as_str();
    if kind.namespaced && namespace.is_empty() {
        return Ok(Owner::Misplaced);
    }
    let key = kind.storage_key(&Key::new(namespace, &reference.name));
    let owner = match store.get(&key).await? {
        Some(entry) => self::node(kinds, &entry.key, &entry.value, entry.modified),
        None => None,
    };
    Ok(match owner.filter(|owner| owner.uid == reference.uid) {
        Some(owner) => Owner::of(&owner),
        None if compact(&reference.uid).is_some_and(|uid| graph.uids.contains(&uid)) => Owner::Misplaced,
        None => Owner::Absent,
    })
}

fn complaint(node: &Node, reference: &OwnerReference) -> EventRecord {
    let namespace = Some(node.key.namespace.clone()).filter(|namespace| !namespace.is_empty());
    let regarding = ObjectReference {
        api_version: Some(node.gvr.api_version()),
        kind: Some(node.kind.clone()),
        name: Some(node.key.name.clone()),
        namespace,
        uid: Some(node.uid.clone()),
        resource_version: node.resource_version.clone(),
        field_path: None,
    };
    let message = misplaced_message(&node.key.namespace, reference);
    EventRecord { regarding, type_: EventType::Warning, reason: MISPLACED, message }
}

fn partial(bytes: &[u8]) -> Partial {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// What the collector knows of stored bytes; `None` for what is not served.
fn node(kinds: &[Arc<Resource>], key: &str, bytes: &[u8], revision: Revision) -> Option<Node> {
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
