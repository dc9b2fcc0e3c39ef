//! Empties namespaces that are being deleted: their pods first, then everything else of every kind that is served, then
//! they are finalized. What is left, and why, is in their conditions.
//!
//! Task: `namespaces`, which reads a watch of the store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::{Gvr, meta};
use apiserver::Apiserver;
use client::{Client, DeleteParams, Error, ListParams, Patch};
use controllers::namespace::{Left, conditions};
use futures::StreamExt;
use process::Shutdown;
use registry::Resource;
use serde_json::{Value, json};
use store::Backend;

const PREFIX: &str = "/registry/core/namespaces/";
const FINALIZER: &str = "kubernetes";
const RETRY: Duration = Duration::from_millis(200);
/// Changes gathered before a look, and the longest time between looks at what does not go away.
const GATHER: Duration = Duration::from_millis(20);
const AGAIN: Duration = Duration::from_secs(5);

/// Runs until `shutdown`.
pub async fn run_namespaces(server: Arc<Apiserver>, store: Arc<dyn Backend>, client: Client, shutdown: Shutdown) {
    tokio::select! {
        () = follow(&server, &store, &client) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn follow(server: &Arc<Apiserver>, store: &Arc<dyn Backend>, client: &Client) {
    loop {
        let revision = store.revision();
        let mut watch = match store.watch("/registry/", revision) {
            Ok(watch) => watch,
            Err(error) => {
                tracing::warn!(%error, "cannot watch the store");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        loop {
            let going = match going(store.as_ref()).await {
                Ok(going) => going,
                Err(error) => {
                    tracing::warn!(%error, "cannot list namespaces");
                    break;
                }
            };
            for namespace in &going {
                if let Err(error) = empty(server, store.as_ref(), client, namespace).await {
                    tracing::warn!(%error, namespace = meta::name(namespace), "cannot empty a namespace");
                }
            }
            let names: BTreeSet<&str> = going.iter().map(meta::name).collect();
            if !until_touched(&mut watch, &names).await {
                break;
            }
        }
    }
}

/// Waits for a deleted namespace, or for a change in one that is going. False: the watch is lost.
async fn until_touched(watch: &mut store::Watch, going: &BTreeSet<&str>) -> bool {
    let patience = if going.is_empty() { None } else { Some(AGAIN) };
    let touched = async {
        while let Some(event) = watch.next().await {
            let Ok(event) = event else { return false };
            let own = event.key.starts_with(PREFIX);
            let within = going.iter().any(|name| event.key.split('/').nth(4) == Some(name));
            if own || within {
                return true;
            }
        }
        false
    };
    let alive = match patience {
        Some(patience) => tokio::time::timeout(patience, touched).await.unwrap_or(true),
        None => touched.await,
    };
    tokio::time::sleep(GATHER).await;
    alive
}

async fn going(store: &dyn Backend) -> Result<Vec<Value>, store::Error> {
    let listing = store.list(PREFIX, None, None, None).await?;
    let parsed = listing.entries.iter().filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
    let held = |namespace: &Value| {
        namespace["spec"]["finalizers"].as_array().into_iter().flatten().any(|finalizer| finalizer == FINALIZER)
    };
    Ok(parsed.filter(|namespace| meta::is_deleting(namespace) && held(namespace)).collect())
}

/// One look: deletes what is there, or finalizes.
async fn empty(server: &Arc<Apiserver>, store: &dyn Backend, client: &Client, namespace: &Value) -> Result<(), Error> {
    let name = meta::name(namespace);
    let kinds = server.resources();
    let kinds: Vec<&Arc<Resource>> = stored(&kinds).collect();
    let mut failures = Vec::new();
    // A pod may need its Secrets and ServiceAccount to the last (CVE-2024-7598: policies deleted before pods).
    let (pods, others): (Vec<&Arc<Resource>>, Vec<&Arc<Resource>>) =
        kinds.iter().partition(|kind| kind.group.is_empty() && kind.resource == "pods");
    for part in [pods, others] {
        for kind in part {
            if is_there(store, kind, name).await
                && let Err(error) = client
                    .delete_collection_value(&kind.gvr(), name, &ListParams::all(), &DeleteParams::default())
                    .await
            {
                failures.push(format!("{}: {error}", kind.gvr().qualified()));
            }
        }
        if remaining(store, &kinds, name).await.iter().any(|left| left.resource == "pods" && left.group.is_empty()) {
            break;
        }
    }
    let left = remaining(store, &kinds, name).await;
    if !left.is_empty() || !failures.is_empty() {
        let known = namespace["status"]["conditions"].clone();
        let wanted = conditions(&left, &failures, &known, process::now());
        if wanted != known {
            let body = Patch::Merge(json!({
                "metadata": {"uid": meta::uid(namespace)}, "status": {"conditions": wanted},
            }));
            client.patch_value(&namespaces(), "", name, Some("status"), body).await?;
        }
        return Ok(());
    }
    let mut finalized = client.get_value(&namespaces(), "", name).await?;
    if let Some(finalizers) = finalized["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    match client.update_value(&namespaces(), "", name, Some("finalize"), &finalized).await {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

fn namespaces() -> Gvr {
    Gvr::new("", "v1", "namespaces")
}

/// One resource for each place in the store.
fn stored(kinds: &[Arc<Resource>]) -> impl Iterator<Item = &Arc<Resource>> {
    let mut seen = BTreeSet::new();
    kinds
        .iter()
        .filter(|kind| kind.namespaced && kind.has_verb("deletecollection"))
        .filter(move |kind| seen.insert(kind.storage.clone()))
}

async fn is_there(store: &dyn Backend, kind: &Resource, namespace: &str) -> bool {
    let listing = store.list(&kind.prefix(namespace), None, Some(1), None).await;
    listing.is_ok_and(|listing| !listing.entries.is_empty())
}

async fn remaining(store: &dyn Backend, kinds: &[&Arc<Resource>], namespace: &str) -> Vec<Left> {
    let mut all = Vec::new();
    for kind in kinds {
        let Ok(listing) = store.list(&kind.prefix(namespace), None, None, None).await else { continue };
        if listing.entries.is_empty() {
            continue;
        }
        let mut finalizers = Vec::new();
        for entry in &listing.entries {
            let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            finalizers.extend(meta::finalizers(&object).into_iter().map(str::to_owned));
        }
        all.push(Left {
            resource: kind.resource.clone(),
            group: kind.group.clone(),
            count: listing.entries.len(),
            finalizers,
        });
    }
    all
}
