//! The records behind the server. One writer replaces the zone; each query reads a snapshot.

use std::sync::{Arc, PoisonError, RwLock};

use wire::fabric::Service;

use crate::zone::Zone;

/// All names of the cluster. Shared by the server, which reads, and the node's fabric client, which writes.
#[derive(Debug)]
pub struct Table {
    zone: RwLock<Arc<Zone>>,
}

impl Table {
    /// An empty table for a cluster domain such as `cluster.local`.
    pub fn new(domain: &str) -> Table {
        Table { zone: RwLock::new(Arc::new(Zone::new(domain))) }
    }

    /// Replaces everything.
    pub fn replace<'a>(&self, services: impl IntoIterator<Item = &'a Service>) {
        let mut zone = self.snapshot().emptied();
        for service in services {
            zone.insert(service);
        }
        self.publish(zone);
    }

    /// Adds or replaces `upserts`, then removes `deleted` (`namespace/name` each), in one step.
    pub fn update<'a>(
        &self,
        upserts: impl IntoIterator<Item = &'a Service>,
        deleted: impl IntoIterator<Item = impl AsRef<str>>,
    ) {
        let mut zone = (*self.snapshot()).clone();
        for service in upserts {
            zone.insert(service);
        }
        for key in deleted {
            zone.remove(key.as_ref());
        }
        self.publish(zone);
    }

    pub(crate) fn snapshot(&self) -> Arc<Zone> {
        Arc::clone(&self.zone.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, zone: Zone) {
        *self.zone.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(zone);
    }
}
