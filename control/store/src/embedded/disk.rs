//! The file. Two tables:
//!
//! - `entries`: key -> created (u64 LE), modified (u64 LE), value.
//! - `state`: one row, `state` -> format (u32 LE), revision (u64 LE), digest (u64 LE), and a checksum of these.
//!
//! The digest is the sum of a hash of every entry: cheap to keep up with each write, checked against all entries when
//! the file is opened, so that a damaged, missing or resurrected entry is noticed. Whole transactions are atomic by
//! redb's checksummed double header.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Builder, Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use sha2::{Digest as _, Sha256};

use crate::entries::Entries;
use crate::error::Corruption;
use crate::state::FIRST;
use crate::{Entry, Event, OpenError, Revision};

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
const STATE_KEY: &str = "state";
const FORMAT: u32 = 1;
/// redb's page cache. Reads are served from our own memory, so it only helps writes.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Sum of the hashes of all entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest(u64);

/// The open file.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
}

/// What the file holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) entries: Entries,
    pub(super) revision: Revision,
    pub(super) digest: Digest,
}

impl Disk {
    /// Opens the file; if there is none, makes one readable by its owner only. It gets its name when it is whole, so a
    /// crash meanwhile leaves nothing that looks like a store.
    pub(super) fn open_file(path: &Path) -> Result<Disk, OpenError> {
        if !path.try_exists()? {
            make_file(path)?;
        }
        let file = File::options().read(true).write(true).open(path)?;
        Disk::open(|builder| builder.create_file(file))
    }

    /// Opens a database; an empty one gets its first state.
    pub(super) fn open(
        create: impl FnOnce(&mut Builder) -> Result<Database, redb::DatabaseError>,
    ) -> Result<Disk, OpenError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        builder.set_repair_callback(|repair| {
            tracing::warn!(progress = repair.progress(), "store: recovering after a crash")
        });
        let database = guarded(|| create(&mut builder).map_err(redb::Error::from))?;
        let disk = Disk { database };
        guarded(|| disk.initialize())?;
        Ok(disk)
    }

    fn initialize(&self) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
        {
            let entries = transaction.open_table(ENTRIES)?;
            let mut state = transaction.open_table(STATE)?;
            if state.get(STATE_KEY)?.is_some() || entries.first()?.is_some() {
                return Ok(());
            }
            state.insert(STATE_KEY, encode_state(FIRST, Digest(0)).as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Reads and verifies everything.
    pub(super) fn load(&self) -> Result<Loaded, OpenError> {
        let mut rows: Vec<(Arc<str>, Bytes)> = Vec::new();
        let mut state = None;
        guarded(|| {
            let transaction = self.database.begin_read()?;
            for row in transaction.open_table(ENTRIES)?.iter()? {
                let (key, record) = row?;
                rows.push((Arc::from(key.value()), Bytes::copy_from_slice(record.value())));
            }
            state = transaction.open_table(STATE)?.get(STATE_KEY)?.map(|row| row.value().to_vec());
            Ok(())
        })?;
        let (revision, digest) = decode_state(&state.ok_or(OpenError::Corrupt(Corruption::State))?)?;
        let mut entries = Vec::with_capacity(rows.len());
        let mut sum = Digest(0);
        for (key, record) in rows {
            sum.add(&key, &record);
            let entry = decode_entry(key, &record).ok_or(OpenError::Corrupt(Corruption::Entry))?;
            entries.push(entry);
        }
        if sum != digest {
            return Err(OpenError::Corrupt(Corruption::Digest));
        }
        Ok(Loaded { entries: Entries::from_sorted(entries), revision, digest })
    }

    /// Writes the events in one durable transaction; `revision` is that of the last. Returns the new digest.
    pub(super) fn write(
        &self,
        events: &[Event],
        revision: Revision,
        mut digest: Digest,
    ) -> Result<Digest, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            for event in events {
                if let Some(prev) = &event.prev {
                    digest.remove(&prev.key, &encode_entry(prev.created, prev.modified, &prev.value));
                }
                match &event.value {
                    Some(value) => {
                        let created = event.prev.as_ref().map_or(event.revision, |prev| prev.created);
                        let record = encode_entry(created, event.revision, value);
                        digest.add(&event.key, &record);
                        entries.insert(&*event.key, record.as_slice())?;
                    }
                    None => {
                        entries.remove(&*event.key)?;
                    }
                }
            }
            transaction.open_table(STATE)?.insert(STATE_KEY, encode_state(revision, digest).as_slice())?;
        }
        transaction.commit()?;
        Ok(digest)
    }
}

impl Digest {
    fn add(&mut self, key: &str, record: &[u8]) {
        self.0 = self.0.wrapping_add(hash(key, record));
    }

    fn remove(&mut self, key: &str, record: &[u8]) {
        self.0 = self.0.wrapping_sub(hash(key, record));
    }
}

/// Makes an empty store at `path`, durably. If another process made it meanwhile, that one stays.
fn make_file(path: &Path) -> Result<(), OpenError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    let file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    drop(Disk::open(|builder| builder.create_file(file))?);
    File::open(&new)?.sync_all()?;
    let linked = std::fs::hard_link(&new, path);
    std::fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()?;
    Ok(())
}

/// Runs engine code on content that may be damaged: redb reports most damage as an error, some as a panic.
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
fn hash(key: &str, record: &[u8]) -> u64 {
    let length = u64::try_from(key.len()).expect("keys are short").to_le_bytes();
    let sum = Sha256::new().chain_update(length).chain_update(key).chain_update(record).finalize();
    u64_at(&sum, 0).expect("SHA-256 has 32 bytes")
}

fn encode_entry(created: Revision, modified: Revision, value: &[u8]) -> Vec<u8> {
    [&created.0.to_le_bytes(), &modified.0.to_le_bytes(), value].concat()
}

fn decode_entry(key: Arc<str>, record: &Bytes) -> Option<Entry> {
    let (created, modified) = (u64_at(record, 0)?, u64_at(record, 8)?);
    Some(Entry { key, value: record.slice(16..), created: Revision(created), modified: Revision(modified) })
}

fn encode_state(revision: Revision, digest: Digest) -> Vec<u8> {
    let mut record = FORMAT.to_le_bytes().to_vec();
    record.extend(revision.0.to_le_bytes());
    record.extend(digest.0.to_le_bytes());
    let check = hash(STATE_KEY, &record);
    record.extend(check.to_le_bytes());
    record
}

fn decode_state(record: &[u8]) -> Result<(Revision, Digest), OpenError> {
    let damaged = OpenError::Corrupt(Corruption::State);
    let Some((format, _)) = record.split_first_chunk::<4>() else { return Err(damaged) };
    let found = u32::from_le_bytes(*format);
    if found != FORMAT {
        return Err(OpenError::Format { found, known: FORMAT });
    }
    let (Some(revision), Some(digest), Some(check)) = (u64_at(record, 4), u64_at(record, 12), u64_at(record, 20))
    else {
        return Err(damaged);
    };
    if record.len() != 28 || check != hash(STATE_KEY, &record[..20]) {
        return Err(damaged);
    }
    Ok((Revision(revision), Digest(digest)))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk::<8>()?))
}
