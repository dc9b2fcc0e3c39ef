//! Clients, watchers and a compactor on one store or on several replicas of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use store::{Backend, Entry, Error, Expect, Op, Revision};

use crate::Rng;
use crate::record::{Answer, Call, Expected, Found, Log, Record};

const CLIENTS: u64 = 8;
const WATCHERS: u64 = 4;
const KEYS: u64 = 10;
const PREFIXES: [&str; 3] = ["/", "/a/", "/b/"];
/// Between two calls of a client.
const PAUSE: Duration = Duration::from_millis(4);
const COMPACTION_INTERVAL: Duration = Duration::from_millis(200);
/// What a compaction leaves, so that older revisions can be asked for.
const COMPACTION_LEAVES: u64 = 60;

static NEXT: AtomicU64 = AtomicU64::new(0);

type Stores = Arc<[Arc<dyn Backend>]>;

/// Runs until `time` is over.
pub async fn run(stores: &[Arc<dyn Backend>], log: Arc<Log>, time: Duration) {
    let stores: Stores = stores.into();
    let found = loop {
        match stores[0].list("", None, None, None).await {
            Ok(found) => break found,
            Err(_) => pause(PAUSE).await,
        }
    };
    let entries = found.entries.iter().map(shown).collect();
    log.add(Record::Opened { revision: found.revision.0, entries });
    let mut tasks = Vec::new();
    for number in 0..CLIENTS {
        tasks.push(process::spawn("client", client(stores.clone(), log.clone(), number)));
    }
    for number in 0..WATCHERS {
        let store = stores[number as usize % stores.len()].clone();
        tasks.push(process::spawn("watcher", watcher(store, log.clone(), number, found.revision)));
    }
    tasks.push(process::spawn("compactor", compactor(stores)));
    if time == Duration::MAX {
        futures::future::pending::<()>().await;
    }
    pause(time).await;
    tasks.iter().for_each(process::JoinHandle::abort);
    futures::future::join_all(tasks).await;
}

/// The pace of the load itself: it waits for no condition, so it has no deadline.
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

fn found(entry: &Entry) -> Found {
    (String::from_utf8_lossy(&entry.value).into_owned(), entry.modified.0)
}

fn shown(entry: &Entry) -> (String, Found) {
    (entry.key.to_string(), found(entry))
}

async fn client(stores: Stores, log: Arc<Log>, number: u64) {
    let mut rng = Rng(process::seed() | 1);
    // What this client last knew of each key: its expectations are sometimes right.
    let mut known: Vec<Option<u64>> = vec![None; KEYS as usize];
    loop {
        let store = &stores[((number + rng.below(2)) % stores.len() as u64) as usize];
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let at = rng.below(KEYS);
        let key = format!("/{}/{at}", if at < KEYS / 2 { "a" } else { "b" });
        let expect = match (rng.below(4), known[at as usize]) {
            (0, _) => Expected::Any,
            (1, _) | (_, None) => Expected::Absent,
            (_, Some(revision)) => Expected::Revision(revision),
        };
        let call = match rng.below(12) {
            0..5 => Call::Put { key, value: format!("v{id}"), expect },
            5..7 => Call::Delete { key, expect: if expect == Expected::Absent { Expected::Any } else { expect } },
            7..10 => Call::Get { key },
            chance => {
                let prefix = PREFIXES[rng.below(3) as usize].to_owned();
                let back = rng.below(80);
                Call::List { prefix, at: (chance == 10).then(|| store.revision().0.saturating_sub(back).max(1)) }
            }
        };
        log.add(Record::Called { id, call: call.clone() });
        let answer = make(store.as_ref(), call).await;
        match &answer {
            Answer::Written(revision) => known[at as usize] = Some(*revision),
            Answer::Conflict(found) | Answer::Entry(found) => {
                known[at as usize] = found.as_ref().map(|(_, modified)| *modified);
            }
            Answer::Listing { .. } | Answer::Compacted | Answer::Failed | Answer::Unknown => {}
        }
        log.add(Record::Answered { id, answer });
        pause(PAUSE).await;
    }
}

async fn make(store: &dyn Backend, call: Call) -> Answer {
    let expect = |expected| match expected {
        Expected::Absent => Expect::Absent,
        Expected::Revision(revision) => Expect::Revision(Revision(revision)),
        Expected::Any => Expect::Any,
    };
    let written = |result: Result<Revision, Error>| match result {
        Ok(revision) => Answer::Written(revision.0),
        Err(Error::Conflict { current }) => Answer::Conflict(current.as_ref().map(found)),
        Err(Error::Unavailable) => Answer::Failed,
        Err(Error::OutcomeUnknown | Error::Stopped) => Answer::Unknown,
        Err(other) => panic!("{other}"),
    };
    match call {
        Call::Put { key, value, expect: expected } => {
            written(store.commit(&key, expect(expected), Op::Put(Bytes::from(value))).await)
        }
        Call::Delete { key, expect: expected } => written(store.commit(&key, expect(expected), Op::Delete).await),
        Call::Get { key } => match store.get(&key).await {
            Ok(entry) => Answer::Entry(entry.as_ref().map(found)),
            Err(_) => Answer::Failed,
        },
        Call::List { prefix, at } => match store.list(&prefix, None, None, at.map(Revision)).await {
            Ok(listing) => {
                Answer::Listing { revision: listing.revision.0, entries: listing.entries.iter().map(shown).collect() }
            }
            Err(Error::Compacted { .. }) => Answer::Compacted,
            Err(_) => Answer::Failed,
        },
    }
}

/// Watches, is slow at times, gives up and resumes where it was.
async fn watcher(store: Arc<dyn Backend>, log: Arc<Log>, number: u64, start: Revision) {
    let mut rng = Rng(process::seed() | 1);
    let mut after = start;
    let prefix = PREFIXES[number as usize % PREFIXES.len()];
    loop {
        let watch = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut events = match store.watch(prefix, after) {
            Ok(events) => events,
            Err(Error::Compacted { compacted }) => {
                log.add(Record::Refused { after: after.0, compacted: compacted.0 });
                after = store.revision();
                continue;
            }
            Err(_) => {
                pause(PAUSE).await;
                continue;
            }
        };
        log.add(Record::Watching { watch, prefix: prefix.to_owned(), after: after.0 });
        // The first watcher never gives up: it is the witness of most writes.
        let until = if number == 0 { u64::MAX } else { 5 + rng.below(200) };
        for _ in 0..until {
            match tokio::time::timeout(Duration::from_millis(20), events.next()).await {
                Ok(Some(Ok(event))) => {
                    after = event.revision;
                    log.add(Record::Event {
                        watch,
                        revision: event.revision.0,
                        key: event.key.to_string(),
                        value: event.value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned()),
                        prev: event.prev.as_ref().map(|prev| prev.modified.0),
                    });
                }
                Ok(Some(Err(Error::Compacted { .. }))) => {
                    after = store.revision();
                    break;
                }
                Ok(Some(Err(_)) | None) => break,
                Err(_) => {}
            }
            if rng.below(4) == 0
                && let Some(revision) = events.progress()
            {
                after = after.max(revision);
                log.add(Record::Progress { watch, revision: revision.0 });
            }
            if number > 0 && rng.below(50) == 0 {
                pause(Duration::from_millis(rng.below(60))).await;
            }
        }
    }
}

async fn compactor(stores: Stores) {
    for turn in 0.. {
        pause(COMPACTION_INTERVAL).await;
        let store = &stores[turn % stores.len()];
        let upto = Revision(store.revision().0.saturating_sub(COMPACTION_LEAVES).max(1));
        // Etcd may be without a leader.
        let _ = store.compact(upto).await;
    }
}
