//! The layer-4 balancer as data: what should stand in, what stands beside it, and ordered writes out.
//!
//! [`Standing`] is what the tables hold, recovered from them at a start and kept by its own writes. [`Standing::plan`] compares it
//! with the services that should be ([`Desired`]) and returns [`Write`]s after each of which every reader has the old
//! answer or the new one: a backend stands before a slot names it, slots before a row names them, and nothing is used
//! again before a [`Write::Barrier`].
//!
//! A flow keeps its backend over changes. A slot that changes remembers whom flows had before the first change since it
//! was last quiet; who came later has a record in the flow table. The backends that slots or records name keep their numbers
//! until the service has been quiet for the drain time, when slots forget and records are deleted.

mod free;
mod plan;
pub mod rows;
mod standing;

pub use plan::{Fault, Plan, Write};
pub use rows::{Full, Rows, VipKey, vip};
pub use standing::{Content, Placed, Standing};

use std::collections::BTreeMap;

use abi::Addr;

/// What should stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Source of outer IPv4 headers.
    pub source4: Addr,
    pub services: BTreeMap<VipKey, Service>,
}

/// One virtual address and port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// All flows of a client have one backend.
    pub by_client: bool,
    pub servers: Vec<Server>,
}

/// A backend of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    pub addr: Addr,
    /// Its share in proportion to the others'; 0 gets no new flows.
    pub weight: u32,
    /// Whether its check passes. Where no check of a service does, all of its servers count as healthy: that says more
    /// about the check than about them.
    pub healthy: bool,
}

#[cfg(test)]
mod tests;
