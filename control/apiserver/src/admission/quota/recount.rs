//! Counts what is there and writes it into the quotas' status: after a deletion, after a change of a quota, and to set
//! right what a lost request has left. One task; a namespace that changes is counted at most every few milliseconds.

use super::measure::{self, Amounts};
use crate::{Apiserver, admission::limit_ranger::amounts, informed, storage};
use api::{Quantity, Status, meta};
use futures::StreamExt;
use process::Shutdown;
use registry::Resource;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Changes gathered before a namespace is counted.
const GATHER: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_millis(500);
/// As Kubernetes' `--resource-quota-sync-period`.
const RESYNC: Duration = Duration::from_mins(5);

/// Follows the store until the server ends.
pub(crate) async fn run(server: Arc<Apiserver>, shutdown: Shutdown) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = async { tokio::join!(follow(&server), work(&server), again(&server)); } => {}
    }
}

/// Marks every namespace with quotas from time to time: of what only time changes there is no event.
async fn again(server: &Arc<Apiserver>) {
    loop {
        tokio::time::sleep(RESYNC).await;
        mark_all(server).await;
    }
}

async fn mark_all(server: &Arc<Apiserver>) {
    if let Ok(snapshot) = server.informed.latest().await {
        for quota in snapshot.all(informed::Kind::ResourceQuotas) {
            server.quotas.mark(meta::namespace(&quota.value));
        }
    }
}

/// Marks the namespaces that have quotas and have changed.
async fn follow(server: &Arc<Apiserver>) {
    loop {
        let revision = server.config.store.revision();
        mark_all(server).await;
        match server.config.store.watch("/registry/", revision) {
            Ok(mut events) => {
                while let Some(Ok(event)) = events.next().await {
                    let Some(namespace) = measure::namespace_of(&event.key) else { continue };
                    let Ok(snapshot) = server.informed.latest().await else { continue };
                    if snapshot.list(informed::Kind::ResourceQuotas, namespace).next().is_some() {
                        server.quotas.mark(namespace);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot watch for quotas"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn work(server: &Arc<Apiserver>) {
    loop {
        server.quotas.dirty.notified().await;
        tokio::time::sleep(GATHER).await;
        let dirty: BTreeSet<String> = std::mem::take(&mut server.quotas.lock().dirty);
        for namespace in dirty {
            if let Err(status) = recount(server, &namespace).await {
                tracing::warn!(%status, namespace, "cannot count for quotas");
                server.quotas.mark(&namespace);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Brings the status of the namespace's quotas up to date.
async fn recount(server: &Arc<Apiserver>, namespace: &str) -> Result<(), Status> {
    let snapshot = server.informed.latest().await?;
    for quota in snapshot.list(informed::Kind::ResourceQuotas, namespace) {
        let key = storage::core_key("resourcequotas", namespace, meta::name(&quota.value));
        // Read before counting: what is written in between is counted twice rather than not at all, and its release
        // marks the namespace again.
        let pending = server.quotas.reserved(&key);
        let revision = quota.revision;
        let mut used = count(server, &quota.value).await?;
        measure::add(&mut used, &pending);
        used.retain(|name, _| quota.value["spec"]["hard"].get(name).is_some());
        let status = json!({"hard": quota.value["spec"]["hard"], "used": measure::json(&used)});
        if quota.value["status"] == status {
            continue;
        }
        let store = &server.config.store;
        let Some(entry) = store.get(&key).await.map_err(storage::unavailable)? else { continue };
        if entry.modified != revision {
            // Somebody has reserved meanwhile: count again.
            server.quotas.mark(namespace);
            continue;
        }
        let mut value = storage::parse(&entry.value)?;
        value["status"] = status;
        let put = store::Op::Put(storage::write(&value));
        match store.commit(&key, store::Expect::Revision(revision), put).await {
            Ok(_) => {}
            Err(store::Error::Conflict { .. }) => server.quotas.mark(namespace),
            Err(error) => return Err(storage::unavailable(error)),
        }
    }
    Ok(())
}

/// What is used of a quota, by what the store holds. Every name of the quota is in the answer.
pub(super) async fn count(server: &Apiserver, quota: &Value) -> Result<Amounts, Status> {
    let hard = amounts(&quota["spec"]["hard"]);
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    let kinds = server.kinds.snapshot();
    let mut seen: BTreeSet<&(String, String)> = BTreeSet::new();
    for resource in &kinds.resources {
        let asked = hard.keys().any(|name| measure::concerns(name, resource));
        if !asked || !resource.namespaced || !seen.insert(&resource.storage) {
            continue;
        }
        count_kind(server, quota, resource, &mut used).await?;
    }
    Ok(used)
}

async fn count_kind(server: &Apiserver, quota: &Value, resource: &Resource, used: &mut Amounts) -> Result<(), Status> {
    let prefix = resource.prefix(meta::namespace(quota));
    let listing = server.config.store.list(&prefix, None, None, None).await.map_err(storage::unavailable)?;
    for entry in &listing.entries {
        let object = storage::parse(&entry.value)?;
        if !measure::is_counted(&object) || !measure::in_scope(quota, resource, &object) {
            continue;
        }
        let mut own = measure::usage(resource, &object, process::now());
        own.retain(|name, _| used.contains_key(name));
        measure::add(used, &own);
    }
    Ok(())
}
