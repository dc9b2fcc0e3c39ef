//! The file's format: a head, then frames, each aligned to eight bytes. All numbers are little-endian.
//!
//! - Head: magic (8 bytes), format (u32), zero (u32), base revision (u64), base entries (u64), CRC-32 of these (u32), zero.
//! - Frame: header, records. Header: magic (4), kind (u32), bytes of records (u32), records (u32), revision (u64), CRC-32 of
//!   the records (u32), CRC-32 of the header (u32).
//! - Record: bytes of the key (u32), bytes of the value or `u32::MAX` for a deletion (u32), created (u64), modified (u64),
//!   key, value.
//!
//! The first frames are the base: all entries at the base revision in key order, as many as the head says. Then each
//! transaction is a frame, whose records are writes of consecutive revisions; the frame's revision is that of the last.
//! An orderly end leaves an empty frame.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Entry, Revision};

/// Newest format, and the only one of this layout. Format 1 was a redb database, see `old`.
pub(super) const FORMAT: u32 = 2;
pub(super) const HEAD_BYTES: usize = 40;
pub(super) const HEADER_BYTES: usize = 32;
/// Bytes of records in one frame at most: a full batch and its largest value and keys fit.
pub(super) const RECORDS_BYTES: usize = 16 * 1024 * 1024;
/// A base's frame takes no further record from here on.
pub(super) const BASE_FRAME_BYTES: usize = 256 * 1024;

const MAGIC: [u8; 8] = *b"\xffGannet\n";
/// Not valid in UTF-8, so that no stored text looks like a frame.
const FRAME_MAGIC: [u8; 4] = *b"\xffGnt";
const RECORD_BYTES: usize = 24;
const DELETED: u32 = u32::MAX;
/// Frames start at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
/// Allocation that a frame keeps for the next.
const KEPT_BYTES: usize = 1024 * 1024;

/// What the file starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) revision: Revision,
    pub(super) entries: u64,
}

/// Why a head is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadError {
    Damaged,
    Format(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Entries of the base.
    Base,
    /// The writes of one transaction.
    Writes,
    /// The store was closed.
    Closed,
}

/// What a frame starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) records_bytes: usize,
    pub(super) records: u32,
    pub(super) revision: Revision,
    checksum: u32,
}

/// One write, or one entry of the base.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Put(Entry),
    Deleted { key: Arc<str>, revision: Revision },
}

/// A frame in the making. Reused, to keep its allocation.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    records: u32,
}

impl Head {
    pub(super) fn encode(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.revision.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.entries.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..32]);
        bytes[32..36].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Head, HeadError> {
        let whole = crc32fast::hash(&bytes[..32]) == u32_at(bytes, 32);
        if bytes[..8] != MAGIC || !whole || bytes[36..] != [0; 4] {
            return Err(HeadError::Damaged);
        }
        match u32_at(bytes, 8) {
            FORMAT => Ok(Head { revision: Revision(u64_at(bytes, 16)), entries: u64_at(bytes, 24) }),
            other => Err(HeadError::Format(other)),
        }
    }
}

impl Header {
    /// `None`: these bytes are not the header of a frame.
    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        if bytes[..4] != FRAME_MAGIC || crc32fast::hash(&bytes[..28]) != u32_at(bytes, 28) {
            return None;
        }
        let kind = match u32_at(bytes, 4) {
            0 => Kind::Base,
            1 => Kind::Writes,
            2 => Kind::Closed,
            _ => return None,
        };
        Some(Header {
            kind,
            records_bytes: u32_at(bytes, 8) as usize,
            records: u32_at(bytes, 12),
            revision: Revision(u64_at(bytes, 16)),
            checksum: u32_at(bytes, 24),
        })
    }

    /// From the start of the frame to the next.
    pub(super) fn frame_bytes(&self) -> usize {
        (HEADER_BYTES + self.records_bytes).next_multiple_of(ALIGNMENT)
    }

    /// The records of `frame`, which starts with this header; `None`: it is damaged.
    pub(super) fn records<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let records = frame.get(HEADER_BYTES..HEADER_BYTES + self.records_bytes)?;
        (crc32fast::hash(records) == self.checksum).then_some(records)
    }
}

impl Frame {
    pub(super) fn new() -> Frame {
        Frame { bytes: vec![0; HEADER_BYTES], records: 0 }
    }

    /// Bytes of records so far.
    pub(super) fn records_bytes(&self) -> usize {
        self.bytes.len() - HEADER_BYTES
    }

    pub(super) fn put(&mut self, key: &str, value: &[u8], created: Revision, modified: Revision) {
        self.record(key, u32::try_from(value.len()).expect("values have a limit"), created, modified);
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn delete(&mut self, key: &str, revision: Revision) {
        self.record(key, DELETED, revision, revision);
    }

    /// Completes the frame and passes it to `write`; then it is empty again.
    pub(super) fn finish<T>(&mut self, kind: Kind, revision: Revision, write: impl FnOnce(&[u8]) -> T) -> T {
        assert!(self.records_bytes() <= RECORDS_BYTES, "a batch and its values have limits");
        let records_bytes = u32::try_from(self.records_bytes()).expect("within the limit");
        let kind: u32 = match kind {
            Kind::Base => 0,
            Kind::Writes => 1,
            Kind::Closed => 2,
        };
        let checksum = crc32fast::hash(&self.bytes[HEADER_BYTES..]);
        let header = &mut self.bytes[..HEADER_BYTES];
        header[..4].copy_from_slice(&FRAME_MAGIC);
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[8..12].copy_from_slice(&records_bytes.to_le_bytes());
        header[12..16].copy_from_slice(&self.records.to_le_bytes());
        header[16..24].copy_from_slice(&revision.0.to_le_bytes());
        header[24..28].copy_from_slice(&checksum.to_le_bytes());
        let checksum = crc32fast::hash(&header[..28]);
        header[28..].copy_from_slice(&checksum.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let written = write(&self.bytes);
        self.bytes.truncate(HEADER_BYTES);
        self.bytes.shrink_to(KEPT_BYTES);
        self.records = 0;
        written
    }

    fn record(&mut self, key: &str, value_bytes: u32, created: Revision, modified: Revision) {
        let key_bytes = u32::try_from(key.len()).expect("keys have a limit");
        self.records += 1;
        for part in [&key_bytes.to_le_bytes()[..], &value_bytes.to_le_bytes()] {
            self.bytes.extend_from_slice(part);
        }
        for part in [created, modified] {
            self.bytes.extend_from_slice(&part.0.to_le_bytes());
        }
        self.bytes.extend_from_slice(key.as_bytes());
    }
}

/// Bytes that an entry takes in the file.
pub(super) fn record_bytes(key: &str, value: &[u8]) -> u64 {
    (RECORD_BYTES + key.len() + value.len()) as u64
}

/// Takes the first record off `bytes`; `None`: there is none, or it is damaged.
pub(super) fn take_record(bytes: &mut &[u8]) -> Option<Record> {
    let (fixed, rest) = bytes.split_first_chunk::<RECORD_BYTES>()?;
    let (key, rest) = rest.split_at_checked(u32_at(fixed, 0) as usize)?;
    let key: Arc<str> = std::str::from_utf8(key).ok()?.into();
    let (created, modified) = (Revision(u64_at(fixed, 8)), Revision(u64_at(fixed, 16)));
    match u32_at(fixed, 4) {
        DELETED => {
            *bytes = rest;
            Some(Record::Deleted { key, revision: modified })
        }
        value_bytes => {
            let (value, rest) = rest.split_at_checked(value_bytes as usize)?;
            *bytes = rest;
            Some(Record::Put(Entry { key, value: Bytes::copy_from_slice(value), created, modified }))
        }
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(*bytes[offset..].first_chunk().expect("a fixed place in a fixed size"))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(*bytes[offset..].first_chunk().expect("a fixed place in a fixed size"))
}

/// The headers that are whole in `bytes`, which begin where a frame may start.
pub(super) fn headers(bytes: &[u8]) -> impl Iterator<Item = Header> {
    (0..bytes.len()).step_by(ALIGNMENT).filter_map(|at| Header::decode(&bytes[at..]))
}
