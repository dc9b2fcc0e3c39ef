//! Parsed copies in memory of the few kinds that every decision about a request reads: namespaces, quotas,
//! webhook configurations, classes and the like. Never of kinds that grow with the workload.
//!
//! Fed by watches of the store that are drained by whoever reads: the store queues an event before its revision shows,
//! so that [`Informed::latest`] has every write that was answered before it was called. No task of its own.

use crate::storage;
use api::{Key, Revision, Status, meta};
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};
use store::{Backend, Entry, Watch};

/// The kinds held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Namespaces,
    LimitRanges,
    ResourceQuotas,
    ServiceAccounts,
    MutatingWebhooks,
    ValidatingWebhooks,
    PriorityClasses,
    StorageClasses,
    IngressClasses,
    RuntimeClasses,
    ServiceCidrs,
}

/// One object, parsed, without its managedFields and resourceVersion.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) value: Value,
    /// The write that made it so.
    pub(crate) revision: Revision,
}

/// All kinds at one revision.
#[derive(Clone)]
pub(crate) struct Snapshot {
    tables: Vec<Table>,
}

#[derive(Clone, Default)]
struct Table {
    objects: imbl::OrdMap<Key, Arc<Object>>,
    /// The last change of the kind: what is derived from its objects is cached by it.
    changed: Revision,
}

/// See the module.
pub(crate) struct Informed {
    store: Arc<dyn Backend>,
    now: RwLock<Arc<Snapshot>>,
    /// Every write up to this revision is in `now`. Most writes are of other kinds and change nothing but this.
    upto: AtomicU64,
    /// One a kind; `None` after it was lost.
    watches: tokio::sync::Mutex<Vec<Option<Watch>>>,
}

impl Kind {
    const ALL: [Kind; 11] = [
        Kind::Namespaces,
        Kind::LimitRanges,
        Kind::ResourceQuotas,
        Kind::ServiceAccounts,
        Kind::MutatingWebhooks,
        Kind::ValidatingWebhooks,
        Kind::PriorityClasses,
        Kind::StorageClasses,
        Kind::IngressClasses,
        Kind::RuntimeClasses,
        Kind::ServiceCidrs,
    ];

    fn prefix(self) -> &'static str {
        match self {
            Kind::Namespaces => "/registry/core/namespaces/",
            Kind::LimitRanges => "/registry/core/limitranges/",
            Kind::ResourceQuotas => "/registry/core/resourcequotas/",
            Kind::ServiceAccounts => "/registry/core/serviceaccounts/",
            Kind::MutatingWebhooks => "/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/",
            Kind::ValidatingWebhooks => "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/",
            Kind::PriorityClasses => "/registry/scheduling.k8s.io/priorityclasses/",
            Kind::StorageClasses => "/registry/storage.k8s.io/storageclasses/",
            Kind::IngressClasses => "/registry/networking.k8s.io/ingressclasses/",
            Kind::RuntimeClasses => "/registry/node.k8s.io/runtimeclasses/",
            Kind::ServiceCidrs => "/registry/networking.k8s.io/servicecidrs/",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Snapshot {
    /// An object; the namespace is empty for cluster-scoped kinds.
    pub(crate) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.tables[kind.index()].objects.get(&Key::new(namespace, name))
    }

    /// Every object of a kind, by namespace and name.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.tables[kind.index()].objects.values()
    }

    /// The objects of a namespace, by name.
    pub(crate) fn list(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Arc<Object>> {
        let namespace = namespace.to_owned();
        let first = Key::new(&namespace, "");
        let range = self.tables[kind.index()].objects.range(first..);
        range.take_while(move |(key, _)| key.namespace == namespace).map(|(_, object)| object)
    }

    /// Whether there is none of a kind.
    pub(crate) fn is_empty(&self, kind: Kind) -> bool {
        self.tables[kind.index()].objects.is_empty()
    }

    /// The last change of a kind.
    pub(crate) fn changed(&self, kind: Kind) -> Revision {
        self.tables[kind.index()].changed
    }
}

impl Informed {
    /// Reads what is there and starts to follow.
    pub(crate) async fn start(store: Arc<dyn Backend>) -> Result<Self, store::Error> {
        let upto = AtomicU64::new(store.revision().0);
        let mut snapshot = Snapshot { tables: vec![Table::default(); Kind::ALL.len()] };
        let mut watches = Vec::new();
        for kind in Kind::ALL {
            watches.push(Some(restart(store.as_ref(), kind, &mut snapshot).await?));
        }
        Ok(Self { store, now: RwLock::new(Arc::new(snapshot)), upto, watches: tokio::sync::Mutex::new(watches) })
    }

    /// A snapshot with every write that was answered before this call.
    pub(crate) async fn latest(&self) -> Result<Arc<Snapshot>, Status> {
        if self.has(self.store.revision()) {
            return Ok(self.current());
        }
        let mut watches = self.watches.lock().await;
        // Somebody else may have read on meanwhile.
        let written = self.store.revision();
        if self.has(written) {
            return Ok(self.current());
        }
        let mut next = self.current();
        let mut changed = false;
        for (kind, slot) in Kind::ALL.into_iter().zip(watches.iter_mut()) {
            if slot.as_mut().is_some_and(|watch| !drain(watch, kind, &mut next, &mut changed)) {
                *slot = None;
            }
        }
        if changed {
            // Kept before waiting: a caller that goes away must not take what was drained with it.
            self.publish(&next);
        }
        for (kind, slot) in Kind::ALL.into_iter().zip(watches.iter_mut()).filter(|(_, slot)| slot.is_none()) {
            let watch =
                restart(self.store.as_ref(), kind, Arc::make_mut(&mut next)).await.map_err(storage::unavailable)?;
            self.publish(&next);
            *slot = Some(watch);
        }
        // After the snapshot: who sees the revision finds it there.
        self.upto.store(written.0, Ordering::Release);
        Ok(next)
    }

    fn has(&self, revision: Revision) -> bool {
        self.upto.load(Ordering::Acquire) >= revision.0
    }

    fn publish(&self, next: &Arc<Snapshot>) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = next.clone();
    }

    /// The snapshot read last: cheap, and perhaps behind.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Folds in what waits, and says so in `changed`. False: the watch is lost.
fn drain(watch: &mut Watch, kind: Kind, snapshot: &mut Arc<Snapshot>, changed: &mut bool) -> bool {
    while let Some(event) = watch.next().now_or_never() {
        let Some(Ok(event)) = event else { return false };
        let Some(key) = key(kind, &event.key) else { continue };
        *changed = true;
        let table = &mut Arc::make_mut(snapshot).tables[kind.index()];
        match event.value.as_ref().and_then(|value| parse(value)) {
            Some(value) => table.objects.insert(key, Arc::new(Object { value, revision: event.revision })),
            None => table.objects.remove(&key),
        };
        table.changed = event.revision;
    }
    true
}

/// Lists a kind anew and follows it from there.
async fn restart(store: &dyn Backend, kind: Kind, snapshot: &mut Snapshot) -> Result<Watch, store::Error> {
    let listing = store.list(kind.prefix(), None, None, None).await?;
    let object = |entry: &Entry| {
        Some((key(kind, &entry.key)?, Arc::new(Object { value: parse(&entry.value)?, revision: entry.modified })))
    };
    let objects = listing.entries.iter().filter_map(object).collect();
    snapshot.tables[kind.index()] = Table { objects, changed: listing.revision };
    store.watch(kind.prefix(), listing.revision)
}

fn key(kind: Kind, stored: &str) -> Option<Key> {
    let rest = stored.strip_prefix(kind.prefix())?;
    let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
    Some(Key::new(namespace, name))
}

fn parse(bytes: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    meta::remove(&mut value, "managedFields");
    Some(value)
}

#[cfg(test)]
mod tests;
