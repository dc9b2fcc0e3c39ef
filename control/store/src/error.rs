//! What can go wrong.

use crate::{Entry, Revision};

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The key is not in the expected state.
    #[error("conflict: {}", match current { Some(entry) => format!("present at revision {}", entry.modified), None => "absent".to_owned() })]
    Conflict {
        /// What is under the key.
        current: Option<Entry>,
    },
    /// The revision has left the window.
    #[error("revision is older than {compacted}, the oldest kept")]
    Compacted {
        /// The oldest revision kept.
        compacted: Revision,
    },
    /// The revision has not been reached; `current` is the last one.
    #[error("revision is newer than {current}, the last one")]
    Future {
        /// The last revision.
        current: Revision,
    },
    /// A key or value is over its limit.
    #[error("{part} of {size_bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge {
        /// What is too large.
        part: Part,
        /// Its size.
        size_bytes: usize,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// The reader of a watch was too slow: it must list again.
    #[error("the watch fell too far behind")]
    Lagged,
    /// The servers behind the store do not answer or have no leader. Nothing was written; try again later.
    #[error("the store is unavailable: its servers do not answer, or have no leader")]
    Unavailable,
    /// The servers did not answer a write in time: it may have happened or may yet happen. Read before trying again.
    #[error("the store did not answer in time: whether the write happened is unknown")]
    OutcomeUnknown,
    /// The servers' space quota is used up: only reads and deletions pass until an administrator compacts, defragments
    /// and disarms the alarm.
    #[error(
        "the store is out of space: etcd has raised its NOSPACE alarm; compact and defragment it, then disarm the alarm"
    )]
    NoSpace,
    /// A write to the disk failed, or the store was closed. It stays stopped until it is opened anew.
    #[error("the store has stopped")]
    Stopped,
}

/// A part of an entry that has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Key => "key",
            Part::Value => "value",
        })
    }
}

/// Why an engine could not open its store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The etcd servers cannot be reached, or their answers make no sense.
    #[error("opening the store in etcd at {endpoints}: {source}")]
    Etcd {
        /// Where they should be.
        endpoints: String,
        /// What the last attempt met.
        source: Box<etcd_client::Error>,
    },
    /// Another process has it open.
    #[error("the store is in use by another process")]
    InUse,
    /// The content does not match its checksums. Nothing was changed; restore a copy.
    #[error("the store is corrupt: {0}")]
    Corrupt(Corruption),
    /// Written by another version of Gannet.
    #[error("the store has format {found}, this version reads {known}")]
    Format {
        /// In the file.
        found: u32,
        /// What this version reads and writes.
        known: u32,
    },
    /// The database of an older version could not be read.
    #[error("opening the store of an older version: {0}")]
    Engine(#[from] redb::Error),
    /// The file system failed.
    #[error("opening the store: {0}")]
    Io(#[from] std::io::Error),
}

/// What does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// The head of the file.
    #[error("the head of the file is damaged")]
    Head,
    /// Some frame of the file, or the order of frames.
    #[error("a part of the file is damaged or missing")]
    Frame,
    /// A page of an older version's database.
    #[error("a page is damaged")]
    Page,
    /// The state record of an older version's database is absent or damaged.
    #[error("the state record is damaged")]
    State,
    /// An entry of an older version's database is too short to be one.
    #[error("an entry is damaged")]
    Entry,
    /// The entries of an older version's database are not those that its state record counts.
    #[error("the entries do not match their digest")]
    Digest,
}
