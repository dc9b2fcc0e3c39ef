//! The store: versioned bytes under string keys, with conditional writes and resumable watches. Below it there is no
//! HTTP and there are no object types. One [`Backend`] trait, one conformance suite, several engines:
//!
//! - [`memory`]: for tests and simulations; single-threaded and deterministic.
//! - [`embedded`]: durable, one file; an acknowledged write is on disk.
//! - [`etcd`]: durable, in an etcd cluster that several control planes may share.
//!
//! All keep the current state and a bounded window of events in memory ([`state`]); reads never touch the disk.
//!
//! Tasks of the etcd engine: `etcd-follower`, which applies etcd's watch to the state; `etcd-barrier`, which receives
//! reads from a bounded queue and answers as many as wait once the state is as new as etcd was when they were asked;
//! `etcd-compactor`, which forgets etcd's history of more than five minutes ago. They end when the engine is dropped.
//!
//! Threads of the embedded engine: `store-writer` (one), which receives every commit from a bounded queue, writes as
//! many as are waiting in one transaction with one fsync, publishes them to readers and watchers, then answers. A
//! failed transaction stops the engine for good: nothing is retried, every later call is [`Error::Stopped`].
//! `store-compactor` (at most one, at times): writes the entries to the file's successor, see `embedded/compaction.rs`;
//! the writer asks whether it has ended. `store-remover` (after a compaction) closes the file before.

mod backend;
mod embedded;
mod entries;
mod error;
mod etcd;
mod memory;
mod snapshot;
mod state;
mod types;
mod watch;

pub use api::Revision;
pub use backend::Backend;
pub use embedded::{embedded, embedded_with};
pub use error::{Error, OpenError, Part};
pub use etcd::{EtcdConfig, EtcdTls, etcd};
pub use memory::{memory, memory_with};
pub use snapshot::Snapshot;
pub use types::{Config, Entry, Event, Expect, Listing, MAX_KEY_BYTES, MAX_VALUE_BYTES, Op};
pub use watch::Watch;

#[cfg(test)]
mod conformance;
