//! Collects garbage of every kind that is served, custom ones too: one watch of the whole store, of which only metadata
//! is read. What is kept are the keys of the objects that have owners or wait for dependents, and the uids of all; the
//! rest is read again from the store when it is an object's turn.
//!
//! Task: `garbage`, which reads the store's watch and runs up to [`MAX_CONCURRENT`] keys at once (`collect`).

use std::sync::Arc;
use std::time::Duration;

use api::{Key, Revision};
use apiserver::Apiserver;
use cache::Uid;
use client::Client;
use controllers::garbage::{MISPLACED, Node, Owner, decide, misplaced_message};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use process::Shutdown;
use reconcile::{Backoff, EventRecord, EventType, Outcome, Plan, Queue};
use registry::Resource;
use store::Backend;
use tokio::sync::mpsc;

mod graph;

use graph::Graph;

use crate::execute::{Events, execute};
use crate::run_controllers::until;

/// Keys worked on at once.
pub const MAX_CONCURRENT: usize = 16;

const PREFIX: &str = "/registry/";
const PAGE: usize = 1000;
const RETRY: Duration = Duration::from_millis(200);
const NAME: &str = "garbage-collector-controller";

/// What a look at an object found.
enum Look {
    /// It is gone, and the watch will say so.
    Gone,
    /// It was changed by a write that the watch has yet to show; with it may come dependents.
    Ahead(Revision),
    Plan(Plan),
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
            let node = graph::node(&kinds, &entry.key, &entry.value, entry.modified);
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
            let looked = match graph.nodes.contains_key(key.name.as_str()) {
                true => look(server, store.as_ref(), &graph, &key.name, revision).await,
                false => Ok(Look::Gone),
            };
            let plan = match looked {
                Ok(Look::Plan(plan)) if !plan.writes.is_empty() || !plan.events.is_empty() => plan,
                Ok(Look::Gone | Look::Plan(_)) => {
                    queue.done(key, Outcome::Done { written: None, requeue_at: None }, process::now());
                    continue;
                }
                Ok(Look::Ahead(written)) => {
                    queue.done(key, Outcome::Conflicted { written: Some(written) }, process::now());
                    continue;
                }
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

/// What to do about a node, by what the store has now. `seen`: the graph has every write up to here.
async fn look(
    server: &Arc<Apiserver>,
    store: &dyn Backend,
    known: &Graph,
    key: &str,
    seen: Revision,
) -> Result<Look, store::Error> {
    let kinds = server.resources();
    let Some(entry) = store.get(key).await? else { return Ok(Look::Gone) };
    if entry.modified > seen {
        return Ok(Look::Ahead(entry.modified));
    }
    let Some(node) = graph::node(&kinds, key, &entry.value, entry.modified) else { return Ok(Look::Gone) };
    let mut owners = Vec::with_capacity(node.owners.len());
    if !node.deleting {
        for reference in &node.owners {
            owners.push(classify(store, &kinds, known, &node, reference).await?);
        }
    }
    let mut dependents = Vec::new();
    // Else nobody asks for them.
    if node.is_held() || owners.contains(&Owner::Waiting) {
        for other in known.dependents.get(&Uid::of(&node.uid)).into_iter().flatten().filter(|other| ***other != *key) {
            let entry = store.get(other).await?;
            dependents.extend(entry.and_then(|entry| graph::node(&kinds, other, &entry.value, entry.modified)));
        }
    }
    let decision = decide(&node, &owners, &dependents);
    let mut plan = Plan::none();
    plan.writes = decision.writes;
    plan.events = decision.misplaced.iter().map(|reference| complaint(&node, reference)).collect();
    Ok(Look::Plan(plan))
}

async fn classify(
    store: &dyn Backend,
    kinds: &[Arc<Resource>],
    known: &Graph,
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
        Some(entry) => graph::node(kinds, &entry.key, &entry.value, entry.modified),
        None => None,
    };
    Ok(match owner.filter(|owner| owner.uid == reference.uid) {
        Some(owner) => Owner::of(&owner),
        None if known.has(&reference.uid) => Owner::Misplaced,
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
