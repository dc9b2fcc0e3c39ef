//! The engine without a disk.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::entries::Entries;
use crate::state::{FIRST, State, stage};
use crate::types::{check_size, fitted};
use crate::{Backend, Config, Entry, Error, Expect, Op, Revision, Snapshot, Watch};

/// An empty store in memory, gone with its last reference. No thread, no clock: what it does depends on the calls
/// alone.
pub fn memory() -> Arc<dyn Backend> {
    memory_with(Config::default())
}

/// The same with other bounds.
pub fn memory_with(config: Config) -> Arc<dyn Backend> {
    Arc::new(Memory { state: Arc::new(State::new(config, Entries::new(), FIRST)), writing: Mutex::new(()) })
}

#[derive(Debug)]
struct Memory {
    state: Arc<State>,
    /// Held from the snapshot to its publication: one writer at a time.
    writing: Mutex<()>,
}

#[async_trait]
impl Backend for Memory {
    fn revision(&self) -> Revision {
        self.state.revision()
    }

    fn compacted(&self) -> Revision {
        self.state.compacted()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.state.get(key)
    }

    async fn snapshot(&self, prefix: &str, at: Option<Revision>) -> Result<Snapshot, Error> {
        self.state.snapshot_at(prefix, at)
    }

    async fn commit(&self, key: &str, expect: Expect, op: Op) -> Result<Revision, Error> {
        check_size(key, &op)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut entries, revision) = self.state.snapshot()?;
        let revision = Revision(revision.0 + 1);
        let event = stage(&mut entries, revision, key, expect, fitted(op))?;
        self.state.publish(entries, vec![event], revision);
        Ok(revision)
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.state.watch(prefix, after)
    }

    async fn compact(&self, upto: Revision) -> Result<(), Error> {
        self.state.compact(upto)
    }
}
