//! Reading the log when the store is opened: one pass, every byte checked.
//!
//! A crash can damage only the frame that was being written: each is durable before the next is begun. So what does not
//! check out is cut off where it is the end of the file and nothing whole follows; anywhere else it is corruption, and
//! the file is not touched.

use std::sync::Arc;

use super::frame::{
    ALIGNMENT, FORMAT, HEAD_BYTES, HEADER_BYTES, Head, HeadError, Header, Kind, RECORDS_BYTES, Record, headers,
    record_bytes, take_record,
};
use super::storage::Storage;
use crate::entries::Entries;
use crate::error::Corruption;
use crate::{Entry, OpenError, Revision};

/// Read ahead at least this much.
const READ_BYTES: usize = 1024 * 1024;

/// Entries for which room is made before they are seen.
const MOST_RESERVED: usize = 1 << 20;

/// What the log holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) entries: Entries,
    pub(super) revision: Revision,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// See [`super::log::Log`].
    pub(super) live_bytes: u64,
}

/// Reads and checks everything, and cuts off what a crash left.
pub(super) fn load(storage: &Arc<dyn Storage>) -> Result<Loaded, OpenError> {
    let mut reader = Reader { storage: &**storage, len: storage.len()?, offset: 0, buffer: Vec::new(), start: 0 };
    let head = reader.head()?;
    let mut entries = load_base(&mut reader, head)?;
    let mut revision = head.revision;
    while reader.offset < reader.len {
        let Some((header, records)) = reader.frame()? else {
            cut_off(&mut reader, revision)?;
            break;
        };
        apply(&mut entries, &mut revision, &header, records).ok_or(OpenError::Corrupt(Corruption::Frame))?;
    }
    let live_bytes = entries.iter_from(b"").map(|entry| record_bytes(&entry.key, &entry.value)).sum();
    Ok(Loaded { entries, revision, end: reader.offset, live_bytes })
}

fn load_base(reader: &mut Reader<'_>, head: Head) -> Result<Entries, OpenError> {
    let damaged = || OpenError::Corrupt(Corruption::Frame);
    let expected = usize::try_from(head.entries).unwrap_or(usize::MAX).min(MOST_RESERVED);
    let mut entries: Vec<Entry> = Vec::with_capacity(expected);
    while (entries.len() as u64) < head.entries {
        let (header, mut records) = reader.frame()?.ok_or_else(damaged)?;
        if header.kind != Kind::Base || header.revision != head.revision {
            return Err(damaged());
        }
        for _ in 0..header.records {
            let Some(Record::Put(entry)) = take_record(&mut records) else { return Err(damaged()) };
            if entries.last().is_some_and(|last| last.key >= entry.key) {
                return Err(damaged());
            }
            entries.push(entry);
        }
        if !records.is_empty() || header.records == 0 {
            return Err(damaged());
        }
    }
    if entries.len() as u64 == head.entries { Ok(Entries::from_sorted(entries)) } else { Err(damaged()) }
}

/// Applies a frame that follows the base. `None`: it is not what must follow.
fn apply(entries: &mut Entries, revision: &mut Revision, header: &Header, mut records: &[u8]) -> Option<()> {
    let least = match header.kind {
        Kind::Base => return None,
        Kind::Writes => 1,
        Kind::Closed => 0,
    };
    for _ in 0..header.records {
        let next = Revision(revision.0 + 1);
        match take_record(&mut records)? {
            Record::Put(entry) if entry.modified == next => drop(entries.insert(entry)),
            Record::Deleted { key, revision } if revision == next => drop(entries.remove(&key)?),
            Record::Put(_) | Record::Deleted { .. } => return None,
        }
        *revision = next;
    }
    (header.records >= least && records.is_empty() && header.revision == *revision).then_some(())
}

/// Cuts the file off at the reader's place, if what follows can be a write that a crash interrupted.
fn cut_off(reader: &mut Reader<'_>, revision: Revision) -> Result<(), OpenError> {
    let rest = reader.len - reader.offset;
    if rest > (HEADER_BYTES + RECORDS_BYTES) as u64 {
        return Err(OpenError::Corrupt(Corruption::Frame));
    }
    let rest = usize::try_from(rest).expect("within a frame");
    reader.fill(rest)?;
    let after = reader.ahead(rest).get(ALIGNMENT..).unwrap_or_default();
    if headers(after).next().is_some() {
        return Err(OpenError::Corrupt(Corruption::Frame));
    }
    tracing::warn!(bytes = rest, revision = revision.0, "store: cut off a write that a crash interrupted");
    reader.storage.truncate(reader.offset)?;
    reader.storage.sync()?;
    Ok(())
}

/// Reads the file in order.
struct Reader<'a> {
    storage: &'a dyn Storage,
    len: u64,
    /// What was read and not taken, `buffer[start..]`, begins here in the file.
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
}

impl Reader<'_> {
    fn head(&mut self) -> Result<Head, OpenError> {
        let damaged = OpenError::Corrupt(Corruption::Head);
        if self.len < HEAD_BYTES as u64 {
            return Err(damaged);
        }
        self.fill(HEAD_BYTES)?;
        let head = Head::decode(self.ahead(HEAD_BYTES).first_chunk().expect("filled"));
        self.take(HEAD_BYTES);
        head.map_err(|error| match error {
            HeadError::Damaged => damaged,
            HeadError::Format(found) => OpenError::Format { found, known: FORMAT },
        })
    }

    /// Takes the next frame. `None`: what is there is no whole one.
    fn frame(&mut self) -> Result<Option<(Header, &[u8])>, OpenError> {
        let rest = self.len - self.offset;
        if rest < HEADER_BYTES as u64 {
            return Ok(None);
        }
        self.fill(HEADER_BYTES)?;
        let Some(header) = Header::decode(self.ahead(HEADER_BYTES)) else { return Ok(None) };
        let bytes = header.frame_bytes();
        if bytes as u64 > rest || header.records_bytes > RECORDS_BYTES {
            return Ok(None);
        }
        self.fill(bytes)?;
        if header.records(self.ahead(bytes)).is_none() {
            return Ok(None);
        }
        let at = self.take(bytes);
        Ok(Some((header, &self.buffer[at + HEADER_BYTES..at + HEADER_BYTES + header.records_bytes])))
    }

    /// Reads until `bytes` are ahead, which the file has.
    fn fill(&mut self, bytes: usize) -> Result<(), OpenError> {
        let have = self.buffer.len() - self.start;
        if have >= bytes {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let rest = self.len - self.offset - have as u64;
        let more = usize::try_from(rest).unwrap_or(usize::MAX).min(READ_BYTES.max(bytes - have));
        self.buffer.resize(have + more, 0);
        self.storage.read(self.offset + have as u64, &mut self.buffer[have..])?;
        Ok(())
    }

    fn ahead(&self, bytes: usize) -> &[u8] {
        &self.buffer[self.start..self.start + bytes]
    }

    /// Passes over bytes that are ahead. Returns where they are in the buffer.
    fn take(&mut self, bytes: usize) -> usize {
        let at = self.start;
        self.start += bytes;
        self.offset += bytes as u64;
        at
    }
}
