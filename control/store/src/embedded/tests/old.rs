//! Files of format 1.

use std::path::Path;

use redb::{Database, TableDefinition};

use super::{block_on, contents};
use crate::embedded::{embedded, old};
use crate::error::Corruption;
use crate::{OpenError, Revision};

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// Writes a store as versions with format 1 did, with the keys `/0`, `/1` and so on created in this order.
fn write(path: &Path, count: u64) -> Database {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut digest = 0_u64;
    for at in 0..count {
        let (key, value) = (format!("/{at}"), format!("value {at}"));
        let record = [&at.to_le_bytes()[..], &(at + 2).to_le_bytes(), value.as_bytes()].concat();
        digest = digest.wrapping_add(old::hash(&key, &record));
        transaction.open_table(ENTRIES).unwrap().insert(key.as_str(), record.as_slice()).unwrap();
    }
    let mut state = [&1_u32.to_le_bytes()[..], &(count + 1).to_le_bytes(), &digest.to_le_bytes()].concat();
    state.extend(old::hash("state", &state).to_le_bytes());
    transaction.open_table(STATE).unwrap().insert("state", state.as_slice()).unwrap();
    transaction.commit().unwrap();
    database
}

#[test]
fn a_file_of_format_1_becomes_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    drop(write(&path, 100));
    for _ in 0..2 {
        let store = embedded(&path).unwrap();
        assert_eq!(store.revision(), Revision(101));
        let found = block_on(contents(&*store));
        assert_eq!(found.len(), 100);
        let entry = block_on(store.get("/7")).unwrap().unwrap();
        assert_eq!((&*entry.value, entry.created, entry.modified), (&b"value 7"[..], Revision(7), Revision(9)));
        assert!(!std::fs::read(&path).unwrap().starts_with(b"redb"), "replaced");
    }
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store.redb"]);
}

#[test]
fn a_file_of_format_1_that_was_not_closed_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let (running, path) = (dir.path().join("running.redb"), dir.path().join("store.redb"));
    let database = write(&running, 100);
    std::fs::copy(&running, &path).unwrap();
    drop(database);
    assert_eq!(block_on(contents(&*embedded(&path).unwrap())).len(), 100);
}

#[test]
fn a_file_of_format_1_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let database = write(&path, 3);
    let opened = embedded(&path).map(drop);
    assert!(matches!(opened, Err(OpenError::InUse)), "{opened:?}");
    drop(database);
    assert!(embedded(&path).is_ok());
}

#[test]
fn a_missing_entry_of_format_1_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let database = write(&path, 3);
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ENTRIES).unwrap().remove("/1").unwrap();
    transaction.commit().unwrap();
    drop(database);
    let opened = embedded(&path).map(drop);
    assert!(matches!(opened, Err(OpenError::Corrupt(Corruption::Digest))), "{opened:?}");
    assert!(std::fs::read(&path).unwrap().starts_with(b"redb"), "left as it was");
}
