//! The durable engine: one redb file, one writer thread, group commit.

mod disk;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::state::State;
use crate::types::{check_size, fitted};
use crate::{Backend, Config, Entry, Error, Expect, Op, OpenError, Revision, Snapshot, Watch};
use disk::Disk;
use writer::Request;

/// Commits that may wait for the writer; further callers wait for room.
const QUEUE_COMMITS: usize = 1024;

/// Opens the store in the file at `path`, or creates it.
///
/// The whole state is read and verified against its digest, and kept in memory. The window of events starts empty: a
/// restart costs watchers one new list.
///
/// # Errors
/// See [`OpenError`]. Nothing is written when the content is not accepted.
pub fn embedded(path: &Path) -> Result<Arc<dyn Backend>, OpenError> {
    embedded_with(path, Config::default())
}

/// The same with other bounds.
///
/// # Errors
/// As [`embedded`].
pub fn embedded_with(path: &Path, config: Config) -> Result<Arc<dyn Backend>, OpenError> {
    Ok(Arc::new(Embedded::start(Disk::open_file(path)?, config)?))
}

#[derive(Debug)]
struct Embedded {
    state: Arc<State>,
    /// `None` only while dropping.
    requests: Option<mpsc::Sender<Request>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    /// Starts the engine on an open disk.
    fn start(disk: Disk, config: Config) -> Result<Embedded, OpenError> {
        let loaded = disk.load()?;
        tracing::info!(revision = loaded.revision.0, entries = loaded.entries.len(), "store opened");
        let state = Arc::new(State::new(config, loaded.entries, loaded.revision));
        let (sender, receiver) = mpsc::channel(QUEUE_COMMITS);
        let writer = process::spawn_thread("store-writer", {
            let state = Arc::clone(&state);
            move || writer::run(disk, loaded.digest, &state, receiver)
        })?;
        Ok(Embedded { state, requests: Some(sender), writer: Mutex::new(Some(writer)) })
    }
}

impl Drop for Embedded {
    /// Waits for the writer, so that the file is closed when this returns.
    fn drop(&mut self) {
        self.requests = None;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the store's writer panicked");
        }
    }
}

#[async_trait]
impl Backend for Embedded {
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
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().expect("present until drop");
        let request = Request { key: key.into(), expect, op: fitted(op), answer };
        requests.send(request).await.map_err(|_| Error::Stopped)?;
        answered.await.unwrap_or(Err(Error::Stopped))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.state.watch(prefix, after)
    }

    async fn compact(&self, upto: Revision) -> Result<(), Error> {
        self.state.compact(upto)
    }
}

#[cfg(test)]
mod tests;
