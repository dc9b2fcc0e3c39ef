//! The durable engine: one file, a log that begins with a base and is replaced by a shorter one when most of it is
//! history; one writer thread, group commit. The entries are all in memory, so the disk is only ever appended to, and
//! read when the store is opened.

mod compaction;
mod frame;
mod load;
mod log;
mod old;
mod storage;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::state::State;
use crate::types::{check_size, fitted};
use crate::{Backend, Config, Entry, Error, Expect, Op, OpenError, Revision, Snapshot, Watch};
use log::Log;
use storage::Storage;
use writer::Request;

/// Commits that may wait for the writer; further callers wait for room.
const QUEUE_COMMITS: usize = 1024;
/// What the file may have beyond twice what is live: a small store is not rewritten all the time.
const SLACK_BYTES: u64 = 16 * 1024 * 1024;

/// Opens the store in the file at `path`, or creates it.
///
/// The whole state is read and checked, and kept in memory. The window of events starts empty: a restart costs watchers
/// one new list. A file of format 1 is replaced by one of the present format.
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
    Ok(Arc::new(Embedded::start(open_file(path)?, config, SLACK_BYTES)?))
}

/// Opens the file, if there is none makes one.
fn open_file(path: &Path) -> Result<Arc<dyn Storage>, OpenError> {
    if let Some(file) = storage::open(path)?
        && old::is_old(&file)?
    {
        old::replace(&file)?;
    }
    if !path.try_exists()? {
        storage::make(path, log::create)?;
    }
    let file = storage::open(path)?.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))?;
    Ok(Arc::new(file))
}

#[derive(Debug)]
struct Embedded {
    state: Arc<State>,
    /// `None` only while dropping.
    requests: Option<mpsc::Sender<Request>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    /// Starts the engine on what is in `storage`.
    fn start(storage: Arc<dyn Storage>, config: Config, slack_bytes: u64) -> Result<Embedded, OpenError> {
        let loaded = load::load(&storage)?;
        tracing::info!(revision = loaded.revision.0, entries = loaded.entries.len(), "store opened");
        let log = Log::new(storage, loaded.end, loaded.live_bytes, slack_bytes);
        let state = Arc::new(State::new(config, loaded.entries, loaded.revision));
        let (sender, receiver) = mpsc::channel(QUEUE_COMMITS);
        let writer = process::spawn_thread("store-writer", {
            let state = Arc::clone(&state);
            move || writer::run(log, &state, receiver)
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
