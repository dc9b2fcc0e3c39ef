//! The contract of every engine.

use async_trait::async_trait;

use crate::{Entry, Error, Expect, Listing, Op, Revision, Snapshot, Watch};

/// A store of versioned entries. One counter, the revision, grows with every write: by one in the engines that have
/// the store to themselves; an etcd that others write to has steps that are not ours.
///
/// A write that was answered is durable and visible to every later read, through whichever process. A call whose future
/// is dropped before it is answered may or may not have written. Every call may fail with [`Error::Unavailable`] when
/// the store is on other machines; nothing was done then.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The revision of the last visible write. Every event up to it is already in the queue of every watch.
    fn revision(&self) -> Revision;

    /// The oldest revision that can still be listed, and after which a watch can still start.
    fn compacted(&self) -> Revision;

    /// The entry under `key`, if any.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// The entries whose key begins with `prefix` as they were at revision `at` (default: now), to be read page by page
    /// for as long as it is held. Nothing is copied.
    ///
    /// # Errors
    /// [`Error::Compacted`] when `at` has left the window, [`Error::Future`] when it is still to come,
    /// [`Error::Stopped`].
    async fn snapshot(&self, prefix: &str, at: Option<Revision>) -> Result<Snapshot, Error>;

    /// One page of a [`Backend::snapshot`]: entries in key order, only those after `start_after`, at most `limit`.
    ///
    /// # Errors
    /// As [`Backend::snapshot`].
    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
        at: Option<Revision>,
    ) -> Result<Listing, Error> {
        Ok(self.snapshot(prefix, at).await?.page(start_after, limit))
    }

    /// Writes one key if its present state is as expected, and returns the write's revision.
    ///
    /// # Errors
    /// [`Error::Conflict`] with the present entry when `expect` does not hold, or when there is nothing to delete;
    /// [`Error::TooLarge`]; [`Error::NoSpace`]; [`Error::OutcomeUnknown`] or [`Error::Stopped`], after which the write may
    /// or may not survive.
    async fn commit(&self, key: &str, expect: Expect, op: Op) -> Result<Revision, Error>;

    /// Every event after revision `after` on keys that begin with `prefix`: each once, in order, no gap. A watch that
    /// starts at a listing's revision misses nothing.
    ///
    /// # Errors
    /// [`Error::Compacted`] when events after `after` have left the window, [`Error::Future`] when `after` is still to
    /// come, [`Error::Stopped`]. The stream itself ends with [`Error::Lagged`], [`Error::Stopped`], or, when the engine
    /// lost sight of its servers for too long, [`Error::Compacted`].
    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error>;

    /// Forgets the events up to and including `upto`. Does nothing if they are forgotten already.
    ///
    /// # Errors
    /// [`Error::Future`] when `upto` is still to come, [`Error::Stopped`].
    async fn compact(&self, upto: Revision) -> Result<(), Error>;
}
