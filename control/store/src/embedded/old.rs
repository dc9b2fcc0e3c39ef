//! Format 1, read once to write the log that takes its place: a redb database with two tables.
//!
//! - `entries`: key -> created (u64 LE), modified (u64 LE), value.
//! - `state`: one row, `state` -> format (u32 LE), revision (u64 LE), digest (u64 LE), and a checksum of these. The digest
//!   is the sum of a hash of every entry.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use sha2::{Digest as _, Sha256};

use super::compaction::write_base;
use super::frame::FORMAT;
use super::storage::{Locked, Storage};
use crate::entries::Entries;
use crate::error::Corruption;
use crate::{Entry, OpenError, Revision};

const MAGIC: [u8; 4] = *b"redb";
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
const STATE_KEY: &str = "state";
const STATE_BYTES: usize = 28;
const OLD_FORMAT: u32 = 1;

/// Whether the file is a redb database.
pub(super) fn is_old(file: &Locked) -> Result<bool, OpenError> {
    let mut magic = [0; 4];
    Ok(file.len()? >= magic.len() as u64 && {
        file.read(0, &mut magic)?;
        magic == MAGIC
    })
}

/// Lets a log with the same content take the place of an old file. After an error or a crash the name has one of the
/// two, whole.
pub(super) fn replace(file: &Locked) -> Result<(), OpenError> {
    let (entries, revision) = read(file.file()?)?;
    // redb has its own lock on the file, and has given it up.
    if !file.lock()? {
        return Err(OpenError::InUse);
    }
    let successor = file.successor()?;
    let written = write_base(&*successor, &entries, revision, || false);
    if let Err(error) = written.and_then(|_| successor.succeed()) {
        file.discard();
        return Err(error.into());
    }
    tracing::info!(entries = entries.len(), "store: the file has the format {FORMAT} now");
    Ok(())
}

fn read(file: File) -> Result<(Entries, Revision), OpenError> {
    let mut rows: Vec<(Arc<str>, Bytes)> = Vec::new();
    let mut state = None;
    guarded(|| {
        let database = Database::builder().create_file(file)?;
        let transaction = database.begin_read()?;
        for row in transaction.open_table(ENTRIES)?.iter()? {
            let (key, record) = row?;
            rows.push((Arc::from(key.value()), Bytes::copy_from_slice(record.value())));
        }
        state = transaction.open_table(STATE)?.get(STATE_KEY)?.map(|row| row.value().to_vec());
        Ok(())
    })?;
    let (revision, digest) = decode_state(&state.ok_or(OpenError::Corrupt(Corruption::State))?)?;
    let mut entries = Vec::with_capacity(rows.len());
    let mut sum = 0_u64;
    for (key, record) in rows {
        sum = sum.wrapping_add(hash(&key, &record));
        entries.push(decode_entry(key, &record).ok_or(OpenError::Corrupt(Corruption::Entry))?);
    }
    if sum != digest {
        return Err(OpenError::Corrupt(Corruption::Digest));
    }
    Ok((Entries::from_sorted(entries), revision))
}

/// Runs redb on content that may be damaged: it reports most damage as an error, some as a panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, OpenError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => Err(OpenError::InUse),
        Ok(Err(redb::Error::Corrupted(reason))) => {
            tracing::error!(reason, "store: damaged page");
            Err(OpenError::Corrupt(Corruption::Page))
        }
        Ok(Err(error)) => Err(OpenError::Engine(error)),
        Err(_) => Err(OpenError::Corrupt(Corruption::Page)),
    }
}

/// First eight bytes of SHA-256 over the key, its length and the record.
pub(super) fn hash(key: &str, record: &[u8]) -> u64 {
    let length = u64::try_from(key.len()).expect("keys are short").to_le_bytes();
    let sum = Sha256::new().chain_update(length).chain_update(key).chain_update(record).finalize();
    u64_at(&sum, 0).expect("SHA-256 has 32 bytes")
}

fn decode_entry(key: Arc<str>, record: &Bytes) -> Option<Entry> {
    let (created, modified) = (u64_at(record, 0)?, u64_at(record, 8)?);
    Some(Entry { key, value: record.slice(16..), created: Revision(created), modified: Revision(modified) })
}

fn decode_state(record: &[u8]) -> Result<(Revision, u64), OpenError> {
    let damaged = OpenError::Corrupt(Corruption::State);
    let Some((format, _)) = record.split_first_chunk::<4>() else { return Err(damaged) };
    let found = u32::from_le_bytes(*format);
    if found != OLD_FORMAT {
        return Err(OpenError::Format { found, known: FORMAT });
    }
    let (Some(revision), Some(digest), Some(check)) = (u64_at(record, 4), u64_at(record, 12), u64_at(record, 20))
    else {
        return Err(damaged);
    };
    if record.len() != STATE_BYTES || check != hash(STATE_KEY, &record[..STATE_BYTES - 8]) {
        return Err(damaged);
    }
    Ok((Revision(revision), digest))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk::<8>()?))
}
