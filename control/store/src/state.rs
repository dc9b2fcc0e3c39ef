//! What every engine keeps in memory: the current entries as a persistent tree (a snapshot is one clone of its root), the
//! window of recent events, the watches. One writer publishes; readers take snapshots.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use crate::entries::Entries;
use crate::watch::{Queue, Watch};
use crate::{Config, Entry, Error, Event, Expect, Op, Revision, Snapshot};

/// The revision of an empty store. Not 0: that means "any" in the Kubernetes API.
pub(crate) const FIRST: Revision = Revision(1);

/// The shared state of an engine.
#[derive(Debug)]
pub(crate) struct State {
    config: Config,
    published: RwLock<Published>,
}

#[derive(Debug)]
struct Published {
    entries: Entries,
    revision: Revision,
    /// The events of the revisions after `compacted` up to `revision`, in order. The engines that count writes
    /// themselves have one a revision; a shared etcd has gaps, and several where a transaction wrote several keys.
    window: VecDeque<Arc<Event>>,
    window_bytes: usize,
    compacted: Revision,
    watches: Vec<Registered>,
    stopped: bool,
}

#[derive(Debug)]
struct Registered {
    prefix: Box<str>,
    queue: Weak<Queue>,
}

/// The event that a commit makes of `entries`, which are changed accordingly.
///
/// # Errors
/// [`Error::Conflict`]; nothing is changed.
pub(crate) fn stage(
    entries: &mut Entries,
    revision: Revision,
    key: &str,
    expect: Expect,
    op: Op,
) -> Result<Event, Error> {
    let current = entries.get(key).cloned();
    let holds = match (expect, &current) {
        (Expect::Any, _) | (Expect::Absent, None) => true,
        (Expect::Revision(revision), Some(entry)) => entry.modified == revision,
        (Expect::Absent, Some(_)) | (Expect::Revision(_), None) => false,
    };
    match (holds, op, current) {
        (true, Op::Put(value), current) => {
            let key = current.as_ref().map_or_else(|| Arc::from(key), |entry| Arc::clone(&entry.key));
            let created = current.as_ref().map_or(revision, |entry| entry.created);
            let entry = Entry { key: Arc::clone(&key), value: value.clone(), created, modified: revision };
            entries.insert(entry);
            Ok(Event::new(key, revision, Some(value), current))
        }
        (true, Op::Delete, Some(entry)) => {
            entries.remove(key);
            Ok(Event::new(Arc::clone(&entry.key), revision, None, Some(entry)))
        }
        (_, _, current) => Err(Error::Conflict { current }),
    }
}

impl State {
    pub(crate) fn new(config: Config, entries: Entries, revision: Revision) -> State {
        let published = Published {
            entries,
            revision,
            window: VecDeque::new(),
            window_bytes: 0,
            compacted: revision,
            watches: Vec::new(),
            stopped: false,
        };
        State { config, published: RwLock::new(published) }
    }

    /// The entries and the revision to build the next writes on.
    pub(crate) fn snapshot(&self) -> Result<(Entries, Revision), Error> {
        let published = self.running()?;
        Ok((published.entries.clone(), published.revision))
    }

    pub(crate) fn revision(&self) -> Revision {
        self.read().revision
    }

    pub(crate) fn compacted(&self) -> Revision {
        self.read().compacted
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.running()?.entries.get(key).cloned())
    }

    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Watch, Error> {
        let mut published = self.write();
        let backlog = published.since(after)?.filter(|event| event.key.starts_with(prefix)).cloned().collect();
        let queue = Arc::new(Queue::new(backlog));
        published.watches.retain(|watch| watch.queue.strong_count() > 0);
        published.watches.push(Registered { prefix: prefix.into(), queue: Arc::downgrade(&queue) });
        Ok(Watch::new(Arc::clone(self), queue))
    }

    pub(crate) fn compact(&self, upto: Revision) -> Result<(), Error> {
        let mut published = self.write();
        if published.stopped {
            return Err(Error::Stopped);
        }
        if upto > published.revision {
            return Err(Error::Future { current: published.revision });
        }
        while published.window.front().is_some_and(|event| event.revision <= upto) {
            published.forget_oldest();
        }
        published.compacted = published.compacted.max(upto);
        Ok(())
    }

    /// Makes writes visible, and `revision` the last one: to watches first, then to readers.
    pub(crate) fn publish(&self, entries: Entries, events: Vec<Event>, revision: Revision) {
        let mut published = self.write();
        for event in events {
            let event = Arc::new(event);
            assert!(event.revision >= published.revision, "writes are published in order");
            let config = &self.config;
            published.watches.retain(|watch| match watch.queue.upgrade() {
                Some(queue) if event.key.starts_with(&*watch.prefix) => queue.push(&event, config),
                Some(_) => true,
                None => false,
            });
            published.revision = event.revision;
            published.window_bytes += event.size_bytes();
            published.window.push_back(event);
        }
        published.entries = entries;
        published.revision = revision;
        while published.window.len() > self.config.window_events
            || (published.window.len() > 1 && published.window_bytes > self.config.window_bytes)
        {
            published.forget_oldest();
        }
    }

    /// Replaces everything by what a new list showed, when the events between are lost: all watches end with
    /// [`Error::Compacted`], and the window starts anew.
    pub(crate) fn replace(&self, entries: Entries, revision: Revision) {
        let mut published = self.write();
        published.entries = entries;
        published.revision = revision;
        published.compacted = revision;
        published.window = VecDeque::new();
        published.window_bytes = 0;
        for queue in published.watches.drain(..).filter_map(|watch| watch.queue.upgrade()) {
            queue.compact(revision);
        }
    }

    /// Ends all watches and refuses every later call.
    pub(crate) fn stop(&self) {
        let mut published = self.write();
        published.stopped = true;
        for queue in published.watches.drain(..).filter_map(|watch| watch.queue.upgrade()) {
            queue.stop();
        }
    }

    /// The entries under `prefix` as they were at `at`.
    pub(crate) fn snapshot_at(&self, prefix: &str, at: Option<Revision>) -> Result<Snapshot, Error> {
        let published = self.running()?;
        let at = at.unwrap_or(published.revision);
        let undo: Vec<Arc<Event>> =
            published.since(at)?.filter(|event| event.key.starts_with(prefix)).cloned().collect();
        let mut entries = published.entries.clone();
        drop(published);
        for event in undo.into_iter().rev() {
            match &event.prev {
                Some(prev) => entries.insert(prev.clone()),
                None => entries.remove(&event.key),
            };
        }
        Ok(Snapshot::new(entries, prefix, at))
    }

    fn running(&self) -> Result<RwLockReadGuard<'_, Published>, Error> {
        let published = self.read();
        if published.stopped { Err(Error::Stopped) } else { Ok(published) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Published {
    /// The events after `after`.
    fn since(&self, after: Revision) -> Result<impl Iterator<Item = &Arc<Event>>, Error> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        if after < self.compacted {
            return Err(Error::Compacted { compacted: self.compacted });
        }
        if after > self.revision {
            return Err(Error::Future { current: self.revision });
        }
        let skip = self.window.partition_point(|event| event.revision <= after);
        Ok(self.window.range(skip..))
    }

    /// Forgets the oldest revision of the window, with all its events.
    fn forget_oldest(&mut self) {
        let Some(oldest) = self.window.front().map(|event| event.revision) else { return };
        while let Some(event) = self.window.pop_front_if(|event| event.revision == oldest) {
            self.window_bytes -= event.size_bytes();
        }
        self.compacted = oldest;
    }
}
