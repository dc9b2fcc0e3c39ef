//! Cluster DNS, answered on every node from the fabric: no packet leaves the node for a cluster name.
//!
//! [`zone`] holds the records (pure), [`answer`] turns a query into a reply or says that it must be forwarded (pure),
//! [`server`] owns the sockets. Names follow the Kubernetes DNS specification, version 1.1.0.
//!
//! hickory provides the wire format. The sockets are ours because a forwarded query and its reply pass through byte
//! for byte, which a server framework that decodes and re-encodes messages does not offer.
//!
//! Tasks: `dns-udp` and `dns-tcp`, one each a listening address, answer cluster names themselves; `dns-forward` and
//! `dns-connection` are short-lived, their number is bounded by [`server::MAX_FORWARDS`] and
//! [`server::MAX_CONNECTIONS`]. They share [`Table`] and end with the shutdown token.

pub mod answer;
pub mod forward;
pub mod server;
pub mod zone;

use std::sync::{PoisonError, RwLock};

pub use server::{Error, Server};

/// The records of the cluster behind a lock that is held for one lookup or one Service's update.
#[derive(Debug)]
pub struct Table {
    zone: RwLock<zone::Zone>,
}

impl Table {
    /// An empty table for a cluster domain such as `cluster.local`.
    pub fn new(domain: &str) -> Table {
        Table { zone: RwLock::new(zone::Zone::new(domain)) }
    }

    /// Replaces every record by those of `services`.
    pub fn replace<'a>(&self, services: impl IntoIterator<Item = &'a wire::fabric::Service>) {
        let domain = self.read(|zone| zone.domain().to_owned());
        let mut fresh = zone::Zone::new(&domain);
        for service in services {
            fresh.upsert(service);
        }
        *self.zone.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// Adds or replaces the records of one Service.
    pub fn upsert(&self, service: &wire::fabric::Service) {
        self.zone.write().unwrap_or_else(PoisonError::into_inner).upsert(service);
    }

    /// Removes the records of the Service with this key (`namespace/name`).
    pub fn remove(&self, key: &str) {
        self.zone.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Runs `look` on the current records.
    pub fn read<T>(&self, look: impl FnOnce(&zone::Zone) -> T) -> T {
        look(&self.zone.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
