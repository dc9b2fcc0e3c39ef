//! The open log: appends transactions, and lets a smaller successor take over when most of it is history.

use std::io;
use std::sync::Arc;

use super::compaction::{Compaction, write_base};
use super::frame::{Frame, Kind, record_bytes};
use super::storage::Storage;
use crate::entries::Entries;
use crate::state::{FIRST, State};
use crate::{Event, Revision};

/// The log and where its next frame goes.
#[derive(Debug)]
pub(super) struct Log {
    storage: Arc<dyn Storage>,
    end: u64,
    /// Bytes of the file that a base of the present entries would take, headers aside.
    live_bytes: u64,
    /// What a file may have beyond twice what is live.
    slack_bytes: u64,
    /// No compaction before the file has this size: the last one failed.
    not_before_bytes: u64,
    compaction: Option<Compaction>,
    frame: Frame,
}

/// Writes an empty log.
pub(super) fn create(storage: &dyn Storage) -> io::Result<()> {
    write_base(storage, &Entries::new(), FIRST, || false)?;
    Ok(())
}

impl Log {
    /// The log in `storage`, whose last frame ends at `end`.
    pub(super) fn new(storage: Arc<dyn Storage>, end: u64, live_bytes: u64, slack_bytes: u64) -> Log {
        Log { storage, end, live_bytes, slack_bytes, not_before_bytes: 0, compaction: None, frame: Frame::new() }
    }

    /// Appends the events as one transaction; `revision` is that of the last. When it returns they are durable. After an
    /// error nothing may be appended any more.
    pub(super) fn append(&mut self, events: &[Event], revision: Revision) -> io::Result<()> {
        for event in events {
            if let Some(prev) = &event.prev {
                self.live_bytes -= record_bytes(&prev.key, &prev.value);
            }
            match &event.value {
                Some(value) => {
                    let created = event.prev.as_ref().map_or(event.revision, |prev| prev.created);
                    self.live_bytes += record_bytes(&event.key, value);
                    self.frame.put(&event.key, value, created, event.revision);
                }
                None => self.frame.delete(&event.key, event.revision),
            }
        }
        self.write_frame(Kind::Writes, revision)
    }

    /// Begins a compaction when most of the file is history, and ends one that is ready. All that was appended is in
    /// `state`. An error is one of [`Log::append`]'s.
    pub(super) fn tend(&mut self, state: &State) -> io::Result<()> {
        match self.compaction.take() {
            None if self.end > self.due_bytes() => {
                let Ok((entries, revision)) = state.snapshot() else { return Ok(()) };
                match Compaction::begin(&self.storage, self.end, entries, revision) {
                    Ok(begun) => self.compaction = Some(begun),
                    Err(error) => self.put_off(&error),
                }
            }
            None => {}
            Some(running) if !running.is_ready() => {
                running.advance(self.end);
                self.compaction = Some(running);
            }
            Some(ready) => match ready.finish(&self.storage, self.end) {
                Ok((storage, end)) => self.switch(storage, end)?,
                Err(error) => self.put_off(&error),
            },
        }
        Ok(())
    }

    /// Ends a compaction that is on its way, and waits for its thread.
    pub(super) fn give_up_compaction(&mut self) {
        if let Some(running) = self.compaction.take() {
            running.cancel();
            self.storage.discard();
        }
    }

    /// Marks the end of an orderly run: whatever is damaged before it is noticed.
    pub(super) fn close(mut self, revision: Revision) -> io::Result<()> {
        self.write_frame(Kind::Closed, revision)
    }

    fn write_frame(&mut self, kind: Kind, revision: Revision) -> io::Result<()> {
        let (storage, end) = (&self.storage, self.end);
        self.end += self.frame.finish(kind, revision, |frame| {
            storage.write(end, frame)?;
            Ok::<_, io::Error>(frame.len() as u64)
        })?;
        self.storage.sync()
    }

    /// The size from which on a compaction is worth it: it writes what is live once for at least as much history.
    fn due_bytes(&self) -> u64 {
        (2 * self.live_bytes + self.slack_bytes).max(self.not_before_bytes)
    }

    fn switch(&mut self, storage: Arc<dyn Storage>, end: u64) -> io::Result<()> {
        storage.succeed()?;
        tracing::info!(before_bytes = self.end, after_bytes = end, "store compacted");
        self.end = end;
        let old = std::mem::replace(&mut self.storage, storage);
        // The file system frees a large file's blocks when it is closed for the last time, which takes a while.
        if let Err(error) = process::spawn_thread("store-remover", move || drop(old)) {
            tracing::warn!(%error, "store: the file before compaction is closed in line");
        }
        Ok(())
    }

    /// The log goes on as it is; the next try comes when it has grown by half.
    fn put_off(&mut self, error: &io::Error) {
        tracing::warn!(%error, "store: compaction failed");
        self.storage.discard();
        self.not_before_bytes = self.end + self.end / 2;
    }
}
