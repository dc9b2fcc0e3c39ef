//! The resources that are served now: the built-in ones and those of custom resource definitions.

use api::meta;
use registry::Resource;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use tokio::sync::watch;

/// Every resource served, replaced as a whole when a definition comes or goes.
pub(crate) struct Kinds {
    now: RwLock<Arc<Snapshot>>,
    /// By the definition's name.
    custom: Mutex<BTreeMap<String, Installed>>,
    /// The generation, for those who wait for changes.
    changes: watch::Sender<u64>,
}

/// The resources at one moment.
pub(crate) struct Snapshot {
    /// Grows with every change; what is derived from a snapshot is cached by it.
    pub(crate) generation: u64,
    /// Built-in ones first, each part sorted by group, resource and version.
    pub(crate) resources: Vec<Arc<Resource>>,
    /// How many of them are built in.
    built_in: usize,
}

/// The resources of one definition, and what they were made of.
struct Installed {
    made_of: Value,
    /// The definition is being deleted: no object is created any more.
    terminating: bool,
    resources: Vec<Arc<Resource>>,
}

impl Kinds {
    /// The built-in resources.
    pub(crate) fn new() -> Self {
        let resources = registry::resources().to_vec();
        let built_in = resources.len();
        Self {
            now: RwLock::new(Arc::new(Snapshot { generation: 0, resources, built_in })),
            custom: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Resource>> {
        self.snapshot().find(group, version, resource).cloned()
    }

    /// Whether requests for the resource still go to this one: a definition that changed has made another.
    pub(crate) fn is_current(&self, resource: &Arc<Resource>) -> bool {
        !resource.is_custom()
            || self
                .snapshot()
                .find(&resource.group, &resource.version, &resource.resource)
                .is_some_and(|now| Arc::ptr_eq(now, resource))
    }

    /// Resolves when the resource is served no more, or is served otherwise.
    pub(crate) async fn outdated(&self, resource: &Arc<Resource>) {
        if !resource.is_custom() {
            return std::future::pending().await;
        }
        let mut changes = self.changes.subscribe();
        while self.is_current(resource) {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Serves what an established definition defines.
    pub(crate) fn install(&self, definition: &Value) {
        let made_of = json!({
            "uid": meta::uid(definition),
            "spec": definition["spec"],
            "names": definition["status"]["acceptedNames"],
        });
        let mut custom = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        let name = meta::name(definition);
        let terminating = meta::is_deleting(definition);
        if let Some(installed) = custom.get_mut(name).filter(|installed| installed.made_of == made_of) {
            installed.terminating = terminating;
            return;
        }
        let resources = registry::custom::resources(definition).into_iter().map(Arc::new).collect();
        custom.insert(name.to_owned(), Installed { made_of, terminating, resources });
        self.publish(&custom);
    }

    /// Whether the resource's definition is being deleted.
    pub(crate) fn is_terminating(&self, resource: &Resource) -> bool {
        let custom = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        custom.get(&format!("{}.{}", resource.resource, resource.group)).is_some_and(|one| one.terminating)
    }

    /// Serves a definition's resources no more.
    pub(crate) fn remove(&self, name: &str) {
        let mut custom = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        if custom.remove(name).is_some() {
            self.publish(&custom);
        }
    }

    fn publish(&self, custom: &BTreeMap<String, Installed>) {
        let mut resources = registry::resources().to_vec();
        let built_in = resources.len();
        resources.extend(custom.values().flat_map(|installed| installed.resources.iter().cloned()));
        registry::table::sort(&mut resources[built_in..]);
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let generation = now.generation + 1;
        *now = Arc::new(Snapshot { generation, resources, built_in });
        drop(now);
        self.changes.send_replace(generation);
    }
}

impl Snapshot {
    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<&Arc<Resource>> {
        let (built_in, custom) = self.resources.split_at(self.built_in);
        let find = |part| registry::table::find_in(part, group, version, resource);
        find(built_in).or_else(|| find(custom))
    }
}
