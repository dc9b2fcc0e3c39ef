//! The file stays small, and nothing is lost while it is replaced, whatever fails.

use super::storage::{Fault, Rng};
use super::{Recording, block_on, contents, made, open};
use crate::embedded::embedded;
use crate::{Backend, Error, Expect, Op};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Rewrites a few keys many times. Returns what was acknowledged, and the one write whose fate is unknown.
async fn rewrite(store: &dyn Backend, rounds: usize) -> (BTreeMap<String, String>, Option<(String, String)>) {
    let mut acknowledged = BTreeMap::new();
    for round in 0..rounds {
        let (key, value) = (format!("/{}", round % 10), format!("{round} ").repeat(40));
        match store.commit(&key, Expect::Any, Op::Put(Bytes::from(value.clone()))).await {
            Ok(_) => drop(acknowledged.insert(key, value)),
            Err(Error::Stopped) => return (acknowledged, Some((key, value))),
            Err(other) => panic!("{other}"),
        }
    }
    (acknowledged, None)
}

#[test]
fn the_file_stays_small() {
    let storage = made();
    let (wanted, _) = block_on(async { rewrite(&open(storage.clone()).unwrap(), 3000).await });
    assert!(storage.successions() > 5, "{}", storage.successions());
    let len = storage.image().len();
    // A compaction runs beside the writes, so on a busy machine some come after it has begun; without any it would be
    // more than 600,000.
    assert!(len < 400_000, "{len} bytes after 3,000 writes of 100 to 200 bytes to ten keys");
    assert_eq!(block_on(contents(&open(Recording::new(storage.image())).unwrap())), wanted);
}

#[test]
fn a_compaction_is_followed_by_power_cuts() {
    let storage = made();
    let whole = storage.steps();
    block_on(async { rewrite(&open(storage.clone()).unwrap(), 250).await });
    assert!(storage.successions() > 0);
    let mut rng = Rng(5);
    let mut before = 0;
    for cut in whole..=storage.steps() {
        let store = open(Recording::new(storage.image_after_power_cut(cut, &mut rng))).unwrap();
        // Each round is one write.
        let revision = store.revision().0;
        assert!(revision >= before, "cut {cut}: {revision} after {before}");
        let rounds = revision as usize - 1;
        let found = block_on(contents(&store));
        for round in rounds.saturating_sub(10)..rounds {
            assert_eq!(found[&format!("/{}", round % 10)], format!("{round} ").repeat(40), "cut {cut}");
        }
        before = revision.saturating_sub(1);
    }
}

#[test]
fn whatever_call_fails_nothing_acknowledged_is_lost() {
    let (mut stopped, mut went_on) = (0, 0);
    for calls in 0..400 {
        let storage = made();
        let (mut wanted, unknown) = block_on(async {
            let store = open(storage.clone()).unwrap();
            storage.fail(Fault::Once(calls));
            rewrite(&store, 150).await
        });
        match &unknown {
            Some(_) => stopped += 1,
            None => went_on += 1,
        }
        storage.heal();
        let store = open(Recording::new(storage.image())).unwrap_or_else(|error| panic!("call {calls}: {error}"));
        let found = block_on(contents(&store));
        if let Some((key, value)) = unknown.filter(|(key, value)| found.get(key) == Some(value)) {
            wanted.insert(key, value);
        }
        assert_eq!(found, wanted, "call {calls}");
    }
    eprintln!("400 calls failed: {stopped} stores stopped, {went_on} went on");
    assert!(stopped > 200 && went_on > 10, "{stopped} {went_on}");
}

#[test]
fn a_file_is_compacted_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let value = Bytes::from(vec![b'x'; 1 << 20]);
    block_on(async {
        let store = embedded(&path).unwrap();
        for _ in 0..100 {
            store.commit("/large", Expect::Any, Op::Put(value.clone())).await.unwrap();
        }
        store.commit("/small", Expect::Any, Op::Put(Bytes::from_static(b"1"))).await.unwrap();
    });
    let len = std::fs::metadata(&path).unwrap().len();
    assert!(len < 80 << 20, "{len} bytes after 100 writes of 1 MiB to one key");
    // A process that was killed meanwhile leaves its successor.
    std::fs::write(dir.path().join("store.redb.next"), [0; 5000]).unwrap();
    let store = embedded(&path).unwrap();
    assert!(embedded(&path).is_err(), "the file that took the name is locked, too");
    assert_eq!(block_on(store.get("/large")).unwrap().unwrap().value, value);
    assert_eq!(store.revision().0, 102);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store.redb"]);
}
