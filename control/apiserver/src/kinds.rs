//! The resources that are served now: the built-in ones and those of custom resource definitions.

use registry::Resource;
use std::sync::{Arc, PoisonError, RwLock};

/// Every resource served, replaced as a whole when a definition comes or goes.
pub(crate) struct Kinds {
    now: RwLock<Arc<Snapshot>>,
}

/// The resources at one moment.
pub(crate) struct Snapshot {
    /// Grows with every change; what is derived from a snapshot is cached by it.
    pub(crate) generation: u64,
    /// Built-in ones first, each part sorted by group, resource and version.
    pub(crate) resources: Vec<Arc<Resource>>,
}

impl Kinds {
    /// The built-in resources.
    pub(crate) fn new() -> Self {
        let resources = registry::resources().to_vec();
        Self { now: RwLock::new(Arc::new(Snapshot { generation: 0, resources })) }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Resource>> {
        self.snapshot().find(group, version, resource).cloned()
    }
}

impl Snapshot {
    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|one| one.resource == resource && one.group == group && one.version == version)
    }
}
