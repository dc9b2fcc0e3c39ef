//! ResourceQuota, last of all: what a request will use is written into the quotas' status before the object is, so that
//! no two requests can use the same rest. A write that does not happen gives it back.

mod measure;
pub(crate) mod recount;

use super::{Call, Operation, is};
use crate::{Apiserver, informed, informed::Snapshot, storage};
use api::{Quantity, Status, meta};
use measure::{Amounts, missing, usage};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};
use store::{Expect, Op};
use tokio::sync::Notify;

/// Attempts at a status that others keep writing.
const ATTEMPTS: usize = 64;

/// What is reserved by requests under way, and which namespaces must be counted again.
#[derive(Default)]
pub(crate) struct Quotas {
    pending: Mutex<Pending>,
    dirty: Notify,
}

#[derive(Default)]
struct Pending {
    /// By the quota's key.
    reserved: BTreeMap<String, Amounts>,
    dirty: BTreeSet<String>,
}

/// What one request has taken. Dropped, it is no longer pending, and the namespace is counted again.
#[must_use = "a write that does not happen must release it"]
pub(crate) struct Reserved {
    server: Arc<Apiserver>,
    namespace: String,
    /// By the quota's key.
    taken: Vec<(String, Amounts)>,
}

impl Quotas {
    fn mark(&self, namespace: &str) {
        self.lock().dirty.insert(namespace.to_owned());
        self.dirty.notify_one();
    }

    fn add(&self, key: &str, amounts: &Amounts) {
        let mut pending = self.lock();
        let reserved = pending.reserved.entry(key.to_owned()).or_default();
        measure::add(reserved, amounts);
    }

    fn remove(&self, key: &str, amounts: &Amounts) {
        let mut pending = self.lock();
        let Some(reserved) = pending.reserved.get_mut(key) else { return };
        measure::subtract(reserved, amounts);
        if reserved.values().all(Quantity::is_zero) {
            pending.reserved.remove(key);
        }
    }

    fn reserved(&self, key: &str) -> Amounts {
        self.lock().reserved.get(key).cloned().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// The write did not happen: takes back what was written into the quotas.
    pub(crate) async fn release(self) {
        for (key, amounts) in &self.taken {
            let undone = change(&self.server, key, |quota| {
                let mut used = super::limit_ranger::amounts(&quota["status"]["used"]);
                measure::subtract(&mut used, amounts);
                quota["status"]["used"] = measure::json(&used);
                Ok(true)
            });
            if let Err(status) = undone.await {
                tracing::debug!(%status, key, "a quota is not given back at once");
            }
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        for (key, amounts) in &self.taken {
            self.server.quotas.remove(key, amounts);
        }
        if !self.taken.is_empty() {
            self.server.quotas.mark(&self.namespace);
        }
    }
}

/// Takes what the request uses more than before out of every quota that counts it, or refuses.
pub(super) async fn reserve(call: &Call<'_>, snapshot: &Snapshot, object: &Value) -> Result<Reserved, Status> {
    let write = call.write;
    let server = write.server;
    let mut reserved = Reserved { server: server.clone(), namespace: write.namespace.to_owned(), taken: Vec::new() };
    let is_pod = is(write.resource, "", "pods");
    let counted = write.resource.namespaced
        && match (call.operation, call.subresource) {
            (Operation::Create, "") => true,
            // What is left of a pod's updates changes nothing but its scope, which is the recount's to see.
            (Operation::Update, "") => !is_pod,
            (Operation::Update, "resize") => is_pod,
            (Operation::Create | Operation::Update | Operation::Delete | Operation::Connect, _) => false,
        };
    if !counted {
        return Ok(reserved);
    }
    for quota in snapshot.list(informed::Kind::ResourceQuotas, write.namespace) {
        let key = storage::core_key("resourcequotas", write.namespace, meta::name(&quota.value));
        match take(call, &key, &quota.value, object).await {
            Ok(Some(amounts)) => reserved.taken.push((key, amounts)),
            Ok(None) => {}
            Err(status) => {
                reserved.release().await;
                return Err(status);
            }
        }
    }
    Ok(reserved)
}

/// Takes the request's part out of one quota. `None`: the quota does not count it.
async fn take(call: &Call<'_>, key: &str, quota: &Value, object: &Value) -> Result<Option<Amounts>, Status> {
    let write = call.write;
    let resource = write.resource;
    if !measure::in_scope(quota, resource, object) {
        return Ok(None);
    }
    let name = meta::name(quota).to_owned();
    let forbid = |what: String| Status::forbidden(&resource.gvr(), meta::name(object), &what);
    let hard = super::limit_ranger::amounts(&quota["spec"]["hard"]);
    if is(resource, "", "pods")
        && call.operation == Operation::Create
        && let Some(missing) = missing(object, &hard)
    {
        return Err(forbid(format!("failed quota: {name}: must specify {missing}")));
    }
    let now = process::now();
    let mut delta = usage(resource, object, now);
    if let Some(old) = call.old.filter(|old| measure::in_scope(quota, resource, old)) {
        measure::subtract(&mut delta, &usage(resource, old, now));
    }
    delta.retain(|name, amount| hard.contains_key(name) && !amount.is_zero() && !amount.is_negative());
    if delta.is_empty() {
        return Ok(None);
    }
    let counted = match delta.keys().all(|name| quota["status"]["used"].get(name).is_some()) {
        true => None,
        false => Some(recount::count(write.server, quota).await?),
    };
    let check = |quota: &mut Value| {
        let hard = super::limit_ranger::amounts(&quota["spec"]["hard"]);
        let mut used = counted.clone().unwrap_or_default();
        used.extend(super::limit_ranger::amounts(&quota["status"]["used"]));
        let exceeded: Vec<&String> = delta
            .iter()
            .filter(|(name, amount)| {
                let used = used.get(*name).copied().unwrap_or(Quantity::ZERO);
                hard.get(*name).is_some_and(|hard| hard.sub(used.add(**amount)).is_negative())
            })
            .map(|(name, _)| name)
            .collect();
        if !exceeded.is_empty() {
            let show = |amounts: &Amounts| {
                let shown = exceeded
                    .iter()
                    .map(|name| format!("{name}={}", amounts.get(*name).copied().unwrap_or(Quantity::ZERO)));
                shown.collect::<Vec<_>>().join(",")
            };
            return Err(forbid(format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                show(&delta),
                show(&used),
                show(&hard)
            )));
        }
        measure::add(&mut used, &delta);
        used.retain(|name, _| hard.contains_key(name));
        quota["status"] = json!({"hard": quota["spec"]["hard"], "used": measure::json(&used)});
        Ok(!write.dry_run)
    };
    if write.dry_run {
        change(write.server, key, check).await?;
        return Ok(None);
    }
    write.server.quotas.add(key, &delta);
    match change(write.server, key, check).await {
        Ok(true) => Ok(Some(delta)),
        Ok(false) => {
            write.server.quotas.remove(key, &delta);
            Ok(None)
        }
        Err(status) => {
            write.server.quotas.remove(key, &delta);
            Err(status)
        }
    }
}

/// Changes a stored quota; `edit` says whether there is something to write. False if the quota is gone.
async fn change(
    server: &Apiserver,
    key: &str,
    mut edit: impl FnMut(&mut Value) -> Result<bool, Status>,
) -> Result<bool, Status> {
    let store = &server.config.store;
    for _ in 0..ATTEMPTS {
        let Some(entry) = store.get(key).await.map_err(storage::unavailable)? else { return Ok(false) };
        let mut quota = storage::parse(&entry.value)?;
        if !edit(&mut quota)? {
            return Ok(true);
        }
        match store.commit(key, Expect::Revision(entry.modified), Op::Put(storage::write(&quota))).await {
            Ok(_) => return Ok(true),
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(storage::unavailable(error)),
        }
    }
    Err(Status::internal("a quota's status is written too often"))
}
