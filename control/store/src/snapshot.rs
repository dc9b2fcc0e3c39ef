//! The entries under a prefix at one revision.

use std::ops::Range;

use crate::entries::Entries;
use crate::{Entry, Listing, Revision};

/// The entries under a prefix at one revision, for as long as it is held: it shares what it shows with the store, and
/// keeps alive what has been changed since. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    entries: Entries,
    prefix: Box<str>,
    /// Ranks in `entries` of what the prefix covers.
    covered: Range<usize>,
    revision: Revision,
}

impl Snapshot {
    /// Of `entries`, whatever of them is under `prefix`.
    pub(crate) fn new(entries: Entries, prefix: &str, revision: Revision) -> Snapshot {
        let end = prefix_end(prefix.as_bytes()).map_or(entries.len(), |end| entries.rank(&end));
        let covered = entries.rank(prefix.as_bytes())..end;
        Snapshot { entries, prefix: prefix.into(), covered, revision }
    }

    /// The revision it shows. A watch that starts here misses nothing.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many entries there are. Known without counting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.covered.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.covered.is_empty()
    }

    /// The entries after `start_after` (default: all), in key order, without a copy.
    pub fn after(&self, start_after: Option<&str>) -> impl Iterator<Item = &Entry> {
        let (from, count) = self.from(start_after);
        self.entries.iter_from(&from).take(count)
    }

    /// One page: the entries after `start_after`, at most `limit`. What remains is not walked.
    #[must_use]
    pub fn page(&self, start_after: Option<&str>, limit: Option<usize>) -> Listing {
        let (from, total) = self.from(start_after);
        let count = total.min(limit.unwrap_or(usize::MAX));
        let entries: Vec<Entry> = self.entries.iter_from(&from).take(count).cloned().collect();
        let remaining = total - count;
        Listing { entries, revision: self.revision, more: remaining > 0, remaining }
    }

    /// Where the entries after `start_after` begin, and how many they are.
    fn from(&self, start_after: Option<&str>) -> (Vec<u8>, usize) {
        match start_after.filter(|key| *key >= &*self.prefix) {
            None => (self.prefix.as_bytes().to_vec(), self.covered.len()),
            // The lowest key after another is it with a zero byte at its end.
            Some(key) => {
                let from = [key.as_bytes(), &[0]].concat();
                let count = self.covered.end.saturating_sub(self.entries.rank(&from));
                (from, count)
            }
        }
    }
}

/// The lowest key after all that begin with `prefix`; `None`: there is no such key.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
