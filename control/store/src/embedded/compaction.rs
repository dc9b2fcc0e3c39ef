//! Compaction: a thread writes the present entries to a successor of the file, then what was appended meanwhile, while
//! the writer goes on. The writer stops only to copy the last piece and to give the successor the name.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::frame::{BASE_FRAME_BYTES, Frame, HEAD_BYTES, Head, Kind};
use super::storage::Storage;
use crate::Revision;
use crate::entries::Entries;

/// Bytes written between two syncs: the writer's own sync waits for no more than about this.
const SYNC_BYTES: u64 = 4 * 1024 * 1024;
/// What the writer may have to copy itself.
const REST_BYTES: u64 = 1024 * 1024;
/// Rounds of catching up with the writer before it has to copy the rest, however much.
const ROUNDS: usize = 16;
const COPY_BYTES: u64 = 1024 * 1024;

/// A compaction on its way.
#[derive(Debug)]
pub(super) struct Compaction {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<Successor>>,
}

#[derive(Debug)]
struct Shared {
    /// Up to where the old file is durable. Stored by the writer.
    end: AtomicU64,
    cancelled: AtomicBool,
}

/// A durable successor, with where it ends and how much of the old file it has.
#[derive(Debug)]
struct Successor {
    storage: Arc<dyn Storage>,
    end: u64,
    from: u64,
}

impl Compaction {
    /// Begins to write `entries`, which are those at `revision`, where `old` ends at `end`.
    pub(super) fn begin(
        old: &Arc<dyn Storage>,
        end: u64,
        entries: Entries,
        revision: Revision,
    ) -> io::Result<Compaction> {
        let storage = old.successor()?;
        let shared = Arc::new(Shared { end: AtomicU64::new(end), cancelled: AtomicBool::new(false) });
        let thread = process::spawn_thread("store-compactor", {
            let (old, shared) = (Arc::clone(old), Arc::clone(&shared));
            move || {
                let cancelled = || shared.cancelled.load(Ordering::Relaxed);
                let base = write_base(&*storage, &entries, revision, cancelled)?;
                drop(entries);
                let mut successor = Successor { storage, end: base, from: end };
                for _ in 0..ROUNDS {
                    let end = shared.end.load(Ordering::Acquire);
                    if end - successor.from <= REST_BYTES {
                        break;
                    }
                    successor.catch_up(&*old, end, cancelled)?;
                }
                Ok(successor)
            }
        })?;
        Ok(Compaction { shared, thread })
    }

    /// The old file is durable up to `end`.
    pub(super) fn advance(&self, end: u64) {
        self.shared.end.store(end, Ordering::Release);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.thread.is_finished()
    }

    /// Completes the successor with what `old` has up to `end`. Returns it, durable, and its own end.
    pub(super) fn finish(self, old: &Arc<dyn Storage>, end: u64) -> io::Result<(Arc<dyn Storage>, u64)> {
        let mut successor = self.thread.join().map_err(|_| io::Error::other("the compactor panicked"))??;
        if successor.from < end {
            successor.catch_up(&**old, end, || false)?;
        }
        Ok((successor.storage, successor.end))
    }

    /// Stops it and waits until it has stopped.
    pub(super) fn cancel(self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the store's compactor panicked");
        }
    }
}

impl Successor {
    /// Copies the frames of `old` up to `end`, and makes them durable.
    fn catch_up(&mut self, old: &dyn Storage, end: u64, cancelled: impl Fn() -> bool) -> io::Result<()> {
        let mut pace = Pace::new(&*self.storage, cancelled);
        let mut piece = Vec::new();
        while self.from < end {
            let bytes = COPY_BYTES.min(end - self.from);
            piece.resize(usize::try_from(bytes).expect("a piece is small"), 0);
            old.read(self.from, &mut piece)?;
            pace.write(self.end, &piece)?;
            self.from += bytes;
            self.end += bytes;
        }
        self.storage.sync()
    }
}

/// Writes a log that begins with `entries`, the state at `revision`, and makes it durable. Returns where it ends.
pub(super) fn write_base(
    storage: &dyn Storage,
    entries: &Entries,
    revision: Revision,
    cancelled: impl Fn() -> bool,
) -> io::Result<u64> {
    let mut pace = Pace::new(storage, cancelled);
    let head = Head { revision, entries: entries.len() as u64 };
    pace.write(0, &head.encode())?;
    let mut end = HEAD_BYTES as u64;
    let mut frame = Frame::new();
    let mut rest = entries.iter_from(b"").peekable();
    while let Some(entry) = rest.next() {
        frame.put(&entry.key, &entry.value, entry.created, entry.modified);
        if frame.records_bytes() >= BASE_FRAME_BYTES || rest.peek().is_none() {
            end += frame.finish(Kind::Base, revision, |bytes| pace.write(end, bytes).map(|()| bytes.len() as u64))?;
        }
    }
    storage.sync()?;
    Ok(end)
}

/// Writes with a sync now and then.
struct Pace<'a, C> {
    storage: &'a dyn Storage,
    cancelled: C,
    unsynced_bytes: u64,
}

impl<'a, C: Fn() -> bool> Pace<'a, C> {
    fn new(storage: &'a dyn Storage, cancelled: C) -> Self {
        Pace { storage, cancelled, unsynced_bytes: 0 }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if (self.cancelled)() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.storage.write(offset, bytes)?;
        self.unsynced_bytes += bytes.len() as u64;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.storage.sync()?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }
}
