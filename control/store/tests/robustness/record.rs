//! What happened, in an order that real time allows: a call is recorded before it is made and its answer after it came.

use std::io::Write as _;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// An entry as read: value and the revision that wrote it.
pub type Found = (String, u64);

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    Put { key: String, value: String, expect: Expected },
    Delete { key: String, expect: Expected },
    Get { key: String },
    List { prefix: String, at: Option<u64> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expected {
    Absent,
    Revision(u64),
    Any,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Written(u64),
    Conflict(Option<Found>),
    Entry(Option<Found>),
    Listing {
        revision: u64,
        entries: Vec<(String, Found)>,
    },
    Compacted,
    /// Nothing was done.
    Failed,
    /// A write may have been done, or may yet be.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The store as it was found.
    Opened {
        revision: u64,
        entries: Vec<(String, Found)>,
    },
    Called {
        id: u64,
        call: Call,
    },
    Answered {
        id: u64,
        answer: Answer,
    },
    Watching {
        watch: u64,
        prefix: String,
        after: u64,
    },
    Event {
        watch: u64,
        revision: u64,
        key: String,
        value: Option<String>,
        prev: Option<u64>,
    },
    /// Everything up to here was seen.
    Progress {
        watch: u64,
        revision: u64,
    },
    /// A watch that could not begin after this revision because of compaction up to another.
    Refused {
        after: u64,
        compacted: u64,
    },
}

/// Where records go.
#[derive(Debug)]
pub enum Log {
    /// To the process that will kill this one; the lock keeps lines whole.
    Stdout(Mutex<()>),
    Memory(Mutex<Vec<Record>>),
}

impl Log {
    pub fn add(&self, record: Record) {
        match self {
            Log::Stdout(lock) => {
                let mut line = serde_json::to_vec(&record).unwrap();
                line.push(b'\n');
                let _whole = lock.lock().unwrap();
                // The reader may have gone: then this process is about to be killed.
                let _ = std::io::stdout().write_all(&line).and_then(|()| std::io::stdout().flush());
            }
            Log::Memory(records) => records.lock().unwrap().push(record),
        }
    }

    /// The records of a log in memory.
    pub fn take(&self) -> Vec<Record> {
        match self {
            Log::Stdout(_) => Vec::new(),
            Log::Memory(records) => std::mem::take(&mut records.lock().unwrap()),
        }
    }
}

impl Record {
    pub fn parse(line: &str) -> Option<Record> {
        serde_json::from_str(line.get(line.find('{')?..)?).ok()
    }
}
