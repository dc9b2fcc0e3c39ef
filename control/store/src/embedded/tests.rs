//! The durable engine against the outside world: restarts, power cuts, failing disks, bit rot.

mod compaction;
mod old;
mod storage;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;

use super::{Embedded, embedded, log};
use crate::error::Corruption;
use crate::{Backend, Config, Error, Expect, Op, OpenError, Revision};
use storage::{Fault, Image, Recording, Rng};

/// Value by key, at each revision.
type States = BTreeMap<u64, BTreeMap<String, String>>;

/// So little that tests see many compactions.
const SLACK_BYTES: u64 = 4096;

fn open(storage: Recording) -> Result<Embedded, OpenError> {
    Embedded::start(Arc::new(storage), Config::default(), SLACK_BYTES)
}

/// A disk with an empty store.
fn made() -> Recording {
    let storage = Recording::new(Image::default());
    log::create(&storage).unwrap();
    storage
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn contents(store: &dyn Backend) -> BTreeMap<String, String> {
    let entries = store.list("", None, None, None).await.unwrap().entries;
    entries.into_iter().map(|entry| (entry.key.to_string(), String::from_utf8(entry.value.to_vec()).unwrap())).collect()
}

/// Random puts and deletes, some concurrent so that they share a transaction. Returns the state at each revision and,
/// for each acknowledged revision, how long the recording was by then.
async fn workload(store: &dyn Backend, storage: &Recording, seed: u64) -> (States, Vec<(u64, usize)>) {
    let mut rng = Rng(seed);
    let mut acknowledged = Vec::new();
    let first = store.revision();
    let mut states = States::from([(first.0, contents(store).await)]);
    let mut watch = store.watch("", first).unwrap();
    for _ in 0..40 {
        let commits = (0..1 + rng.below(4)).map(|_| {
            let key = format!("/key/{}", rng.below(12));
            let op = if rng.below(4) == 0 {
                Op::Delete
            } else {
                Op::Put(Bytes::from(format!("{:x}", rng.next()).repeat(1 + rng.below(90))))
            };
            async move { store.commit(&key, Expect::Any, op).await }
        });
        for result in futures::future::join_all(commits).await {
            match result {
                Ok(revision) => acknowledged.push((revision.0, storage.steps())),
                Err(Error::Conflict { current: None }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
    let mut state = states[&first.0].clone();
    while watch.progress().is_none() {
        let event = watch.next().await.unwrap().unwrap();
        match &event.value {
            Some(value) => state.insert(event.key.to_string(), String::from_utf8(value.to_vec()).unwrap()),
            None => state.remove(&*event.key),
        };
        states.insert(event.revision.0, state.clone());
    }
    (states, acknowledged)
}

#[test]
fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    block_on(async {
        let store = embedded(&path).unwrap();
        store.commit("/a", Expect::Absent, Op::Put(Bytes::from_static(b"1"))).await.unwrap();
        store.commit("/b", Expect::Absent, Op::Put(Bytes::from_static(b"1"))).await.unwrap();
        store.commit("/a", Expect::Any, Op::Put(Bytes::from_static(b"2"))).await.unwrap();
        store.commit("/b", Expect::Any, Op::Delete).await.unwrap();
        drop(store);
        let store = embedded(&path).unwrap();
        let entry = store.get("/a").await.unwrap().unwrap();
        assert_eq!((entry.value.as_ref(), entry.created, entry.modified), (&b"2"[..], Revision(2), Revision(4)));
        assert_eq!(store.get("/b").await.unwrap(), None);
        assert_eq!((store.revision(), store.compacted()), (Revision(5), Revision(5)));
        let old = store.watch("/", Revision(4)).map(drop);
        assert!(matches!(old, Err(Error::Compacted { .. })), "watchers list again after a restart: {old:?}");
        assert_eq!(store.commit("/c", Expect::Absent, Op::Put(Bytes::new())).await.unwrap(), Revision(6));
    });
}

#[test]
fn a_second_opener_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = embedded(&path).unwrap();
    let second = embedded(&path).map(drop);
    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
    drop(store);
    assert!(embedded(&path).is_ok());
}

#[test]
fn a_file_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    std::fs::write(&path, "apiVersion: v1\n".repeat(1000)).unwrap();
    assert!(embedded(&path).map(drop).is_err());
    assert!(std::fs::read(&path).unwrap().starts_with(b"apiVersion"), "nothing was written");
}

#[test]
fn power_cuts_lose_nothing_acknowledged() {
    let (mut images, mut successions) = (0, 0);
    for seed in 1..=3 {
        let storage = made();
        let whole = storage.steps();
        let (states, acknowledged) =
            block_on(async { workload(&open(storage.clone()).unwrap(), &storage, seed).await });
        successions += storage.successions();
        let mut rng = Rng(seed);
        // Before it is whole the file does not have its name, see `a_half_made_file_is_not_opened`.
        for cut in whole..=storage.steps() {
            for _ in 0..5 {
                let image = storage.image_after_power_cut(cut, &mut rng);
                let last = acknowledged.iter().filter(|(_, at)| *at <= cut).map(|(revision, _)| *revision).max();
                let store =
                    open(Recording::new(image)).unwrap_or_else(|error| panic!("seed {seed} cut {cut}: {error}"));
                let revision = store.revision().0;
                assert!(revision >= last.unwrap_or(1), "seed {seed} cut {cut}: {revision} lost {last:?}");
                assert_eq!(block_on(contents(&store)), states[&revision], "seed {seed} cut {cut}");
                images += 1;
            }
        }
    }
    eprintln!("{images} images, {successions} compactions, 0 failures");
    assert!(images > 1000 && successions > 3);
}

#[test]
fn a_half_made_file_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    // What a process leaves that was killed while it made the file.
    std::fs::write(dir.path().join(format!("store.redb.new-{}", std::process::id())), [0; 5000]).unwrap();
    drop(embedded(&path).unwrap());
    drop(embedded(&path).unwrap());
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store.redb"]);
}

#[test]
fn a_failed_write_stops_the_store_for_good() {
    for fault in [Fault::Write, Fault::Sync] {
        let storage = made();
        block_on(async {
            let store = open(storage.clone()).unwrap();
            let put = |key: &'static str| store.commit(key, Expect::Any, Op::Put(Bytes::from_static(b"1")));
            put("/a").await.unwrap();
            let mut watch = store.watch("", store.revision()).unwrap();
            storage.fail(fault);
            assert!(matches!(put("/b").await, Err(Error::Stopped)));
            storage.heal();
            assert!(matches!(put("/c").await, Err(Error::Stopped)), "it is not retried");
            assert!(matches!(store.get("/a").await, Err(Error::Stopped)));
            assert!(matches!(store.list("", None, None, None).await, Err(Error::Stopped)));
            assert!(matches!(store.watch("", Revision(2)).map(drop), Err(Error::Stopped)));
            assert!(matches!(watch.next().await, Some(Err(Error::Stopped))));
            assert!(watch.next().await.is_none());
        });
        let store = open(Recording::new(storage.image())).unwrap();
        assert_eq!(block_on(contents(&store)).get("/a").map(String::as_str), Some("1"), "{fault:?}");
    }
}

#[test]
fn rotten_bits_are_noticed() {
    let storage = made();
    let states = block_on(async {
        let store = open(storage.clone()).unwrap();
        workload(&store, &storage, 7).await.0
    });
    let (revision, wanted) = states.last_key_value().unwrap();
    let clean = storage.image();
    let mut rng = Rng(11);
    let mut noticed = 0;
    for _ in 0..600 {
        let mut image = clean.clone();
        let bit = image.bit(&mut rng);
        image.flip(bit);
        match open(Recording::new(image)) {
            // The bit fills a frame up, or marked the orderly end.
            Ok(store) => {
                let found = (store.revision().0, block_on(contents(&store)));
                assert_eq!(found, (*revision, wanted.clone()), "bit {bit}");
            }
            Err(OpenError::Corrupt(_)) => noticed += 1,
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    eprintln!("600 flips, {noticed} noticed, the others hit bytes without meaning");
    assert!(noticed > 500, "{noticed}");
}

#[test]
fn a_missing_transaction_is_noticed() {
    let storage = made();
    block_on(async {
        let store = open(storage.clone()).unwrap();
        for key in ["/a", "/b", "/c"] {
            store.commit(key, Expect::Any, Op::Put(Bytes::from_static(b"1"))).await.unwrap();
        }
    });
    let mut image = storage.image();
    // Each of the frames is as long: a header and a padded record.
    let (one, other) = (image.find(b"/a1").unwrap(), image.find(b"/b1").unwrap());
    image.cut_out(one..other);
    let opened = open(Recording::new(image)).map(drop);
    assert!(matches!(opened, Err(OpenError::Corrupt(Corruption::Frame))), "{opened:?}");
}

#[test]
fn a_base_cut_short_is_noticed() {
    let storage = made();
    block_on(async {
        let store = open(storage.clone()).unwrap();
        for count in 0..2000 {
            let key = format!("/{}", count % 100);
            store.commit(&key, Expect::Any, Op::Put(Bytes::from_static(b"some value"))).await.unwrap();
        }
    });
    assert!(storage.successions() > 3, "the file has a base with entries");
    let image = storage.image();
    for len in [0, 1, 39, 40, 41, 100, 1000, 3000] {
        let mut image = image.clone();
        image.cut_out(len..image.len());
        let opened = open(Recording::new(image)).map(drop);
        assert!(matches!(opened, Err(OpenError::Corrupt(_))), "{len}: {opened:?}");
    }
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    drop(embedded(&path).unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 3;
    let checksum = crc32fast::hash(&bytes[..32]);
    bytes[32..36].copy_from_slice(&checksum.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let opened = embedded(&path).map(drop);
    assert!(matches!(opened, Err(OpenError::Format { found: 3, known: 2 })), "{opened:?}");
}

#[test]
fn many_writers_share_a_transaction() {
    let storage = made();
    block_on(async {
        let store = Arc::new(open(storage.clone()).unwrap());
        let before = storage.syncs();
        let commits = (0..200).map(|count| {
            let store = Arc::clone(&store);
            async move { store.commit(&format!("/{count}"), Expect::Absent, Op::Put(Bytes::new())).await.unwrap() }
        });
        futures::future::join_all(commits).await;
        let syncs = storage.syncs() - before;
        assert!(syncs < 200, "{syncs} syncs for 200 commits");
        assert_eq!(store.revision(), Revision(201));
    });
}
