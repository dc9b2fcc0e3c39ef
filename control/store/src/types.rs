//! What goes in and comes out.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Error, Part, Revision};

/// Longest key.
pub const MAX_KEY_BYTES: usize = 1024;
/// Largest value. Kubernetes' own limit for a request body is 3 MiB.
pub const MAX_VALUE_BYTES: usize = 3 * 1024 * 1024;

/// A key with its present value. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// The value, never changed in place.
    pub value: Bytes,
    /// The write that created the key (since it was last absent).
    pub created: Revision,
    /// The write that gave it this value.
    pub modified: Revision,
}

/// One write, as a watch sees it. Shared by all watches.
#[derive(Debug)]
pub struct Event {
    /// The key written.
    pub key: Arc<str>,
    /// The write's revision.
    pub revision: Revision,
    /// The new value; `None`: the key was deleted.
    pub value: Option<Bytes>,
    /// What was there before; `None`: the key was created.
    pub prev: Option<Entry>,
}

/// What a commit requires of the key's present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is there.
    Absent,
    /// It was last written at this revision.
    Revision(Revision),
    /// Nothing is required.
    Any,
}

/// What a commit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets the value.
    Put(Bytes),
    /// Removes the key.
    Delete,
}

/// One page of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In key order.
    pub entries: Vec<Entry>,
    /// The revision the page shows. Ask for the next page, or start the watch, at this one.
    pub revision: Revision,
    /// The page ended at its limit and there are more.
    pub more: bool,
    /// How many more.
    pub remaining: usize,
}

/// Bounds of the in-memory window.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Events kept for watches and older listings; the oldest go first.
    pub window_events: usize,
    /// Bytes of values those events may keep alive; the oldest go first, the newest stays.
    pub window_bytes: usize,
    /// Events that may wait in one watch before it is [`Error::Lagged`].
    pub queue_events: usize,
    /// Bytes that may wait in one watch before it is [`Error::Lagged`]; a single larger event passes.
    pub queue_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            window_events: 10_000,
            window_bytes: 64 * 1024 * 1024,
            queue_events: 2_000,
            queue_bytes: 32 * 1024 * 1024,
        }
    }
}

impl Event {
    /// An event that tells this.
    pub fn new(key: Arc<str>, revision: Revision, value: Option<Bytes>, prev: Option<Entry>) -> Event {
        Event { key, revision, value, prev }
    }

    /// Bytes of values this event keeps alive at most.
    pub(crate) fn size_bytes(&self) -> usize {
        let new = self.value.as_ref().map_or(0, Bytes::len);
        let old = self.prev.as_ref().map_or(0, |prev| prev.value.len());
        self.key.len() + new + old
    }
}

/// The write with a value of its own allocation, exactly as large as it is: what callers serialised into grows by
/// doubling, and would be kept whole for as long as the entry.
pub(crate) fn fitted(op: Op) -> Op {
    match op {
        Op::Put(value) => Op::Put(Bytes::copy_from_slice(&value)),
        Op::Delete => Op::Delete,
    }
}

/// Checks the limits of one write.
pub(crate) fn check_size(key: &str, op: &Op) -> Result<(), Error> {
    let value = match op {
        Op::Put(value) => value.len(),
        Op::Delete => 0,
    };
    for (part, size_bytes, limit_bytes) in
        [(Part::Key, key.len(), MAX_KEY_BYTES), (Part::Value, value, MAX_VALUE_BYTES)]
    {
        if size_bytes > limit_bytes {
            return Err(Error::TooLarge { part, size_bytes, limit_bytes });
        }
    }
    Ok(())
}
