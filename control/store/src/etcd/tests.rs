//! The engine against etcd servers of our own, one and three, their failures, and other users of theirs.

pub(crate) mod servers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;

use super::etcd;
use crate::{Backend, Config, Entry, Error, Expect, Op, Revision, Snapshot, Watch, conformance};
use servers::{Servers, Valve, block_on};

fn value(text: &str) -> Op {
    Op::Put(Bytes::copy_from_slice(text.as_bytes()))
}

async fn open(servers: &Servers) -> Arc<dyn Backend> {
    etcd(servers.config(), Config::default()).await.unwrap()
}

/// The suite, each store on a fresh cluster.
fn conforms(members: usize, random_cases: u32) {
    conformance::check(
        &|config| {
            let servers = Servers::start(members, &[]);
            let place = servers.config();
            // Suites run on a runtime of their own, which ends before the store does.
            let store = std::thread::spawn(move || block_on(etcd(place, config)).unwrap()).join().unwrap();
            Arc::new(Owned { store, _servers: servers })
        },
        random_cases,
    );
}

/// A store with the servers that end with it.
struct Owned {
    store: Arc<dyn Backend>,
    _servers: Servers,
}

#[async_trait::async_trait]
impl Backend for Owned {
    fn revision(&self) -> Revision {
        self.store.revision()
    }

    fn compacted(&self) -> Revision {
        self.store.compacted()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.store.get(key).await
    }

    async fn snapshot(&self, prefix: &str, at: Option<Revision>) -> Result<Snapshot, Error> {
        self.store.snapshot(prefix, at).await
    }

    async fn commit(&self, key: &str, expect: Expect, op: Op) -> Result<Revision, Error> {
        self.store.commit(key, expect, op).await
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.store.watch(prefix, after)
    }

    async fn compact(&self, upto: Revision) -> Result<(), Error> {
        self.store.compact(upto).await
    }
}

#[test]
fn one_member_conforms() {
    conforms(1, 12);
}

#[test]
fn three_members_conform() {
    conforms(3, 2);
}

/// The next event, as `key=value@revision`.
async fn next(watch: &mut Watch) -> String {
    let event = watch.next().await.unwrap().unwrap();
    let value = event.value.as_ref().map_or("-".into(), |value| String::from_utf8_lossy(value).into_owned());
    format!("{}={value}@{}", event.key, event.revision)
}

#[test]
fn replicas_see_each_others_writes() {
    let servers = Servers::start(1, &[]);
    block_on(async {
        let (one, other) = (open(&servers).await, open(&servers).await);
        let mut watch = other.watch("/", other.revision()).unwrap();
        for count in 0..100 {
            let key = format!("/{count}");
            let at = one.commit(&key, Expect::Absent, value("1")).await.unwrap();
            let seen = other.get(&key).await.unwrap().expect("an acknowledged write is visible");
            assert_eq!((seen.created, seen.modified), (at, at));
            assert!(other.list("/", None, None, None).await.unwrap().revision >= at);
            let again = other.commit(&key, Expect::Revision(at), value("2")).await.unwrap();
            let conflict = one.commit(&key, Expect::Revision(at), value("3")).await;
            assert!(matches!(conflict, Err(Error::Conflict { current: Some(found) }) if found.modified == again));
            assert_eq!(next(&mut watch).await, format!("{key}=1@{at}"));
            assert_eq!(next(&mut watch).await, format!("{key}=2@{again}"));
        }
        let (listed, listed_by_other) =
            (one.list("", None, None, None).await.unwrap(), other.list("", None, None, None).await.unwrap());
        assert_eq!(listed.entries, listed_by_other.entries);
    });
}

#[test]
fn others_may_use_the_same_etcd() {
    let servers = Servers::start(1, &[]);
    block_on(async {
        let mut foreign = servers.client().await;
        foreign.put("/elsewhere/a", "1", None).await.unwrap();
        foreign.put([b"/test/".as_slice(), &[0xff, 0xfe]].concat(), "no text", None).await.unwrap();
        let store = open(&servers).await;
        assert_eq!(store.revision(), Revision(3), "the revision is etcd's");
        assert_eq!(store.list("", None, None, None).await.unwrap().entries, []);
        let mut watch = store.watch("", store.revision()).unwrap();
        for _ in 0..5 {
            foreign.put("/elsewhere/a", "2", None).await.unwrap();
        }
        assert_eq!(
            store.list("", None, None, None).await.unwrap().revision,
            Revision(8),
            "it moves without our writes"
        );
        assert_eq!(watch.progress(), Some(Revision(8)));
        assert_eq!(store.commit("/a", Expect::Absent, value("x")).await.unwrap(), Revision(9));
        // A transaction of somebody else on two of our keys: one revision, two events.
        let both = etcd_client::Txn::new()
            .and_then([etcd_client::TxnOp::put("/test/b", "y", None), etcd_client::TxnOp::put("/test/c", "z", None)]);
        foreign.txn(both).await.unwrap();
        assert_eq!(store.list("/", None, None, None).await.unwrap().entries.len(), 3);
        assert_eq!([next(&mut watch).await, next(&mut watch).await], ["/a=x@9", "/b=y@10"]);
        assert_eq!(next(&mut watch).await, "/c=z@10");
        assert_eq!(store.list("/", None, None, Some(Revision(9))).await.unwrap().entries.len(), 1);
        store.compact(Revision(9)).await.unwrap();
        assert_eq!(next(&mut store.watch("/", Revision(9)).unwrap()).await, "/b=y@10");
    });
}

#[test]
fn compaction_under_our_feet_makes_watches_list_again() {
    let servers = Servers::start(1, &[]);
    block_on(async {
        let valve = Valve::open(servers.addresses()[0]).await;
        let mut through = servers.config();
        through.endpoints = vec![valve.address().to_string()];
        let store = etcd(through, Config::default()).await.unwrap();
        let direct = open(&servers).await;
        direct.commit("/gone", Expect::Any, value("1")).await.unwrap();
        let seen = store.get("/gone").await.unwrap().unwrap().modified;
        let mut watch = store.watch("/", seen).unwrap();
        // Compaction alone harms nobody who keeps up.
        direct.commit("/a", Expect::Any, value("0")).await.unwrap();
        direct.compact(direct.revision()).await.unwrap();
        assert!(next(&mut watch).await.starts_with("/a=0"));
        // A broken connection goes on where it was.
        valve.close().await;
        let missed = direct.commit("/a", Expect::Any, value("1")).await.unwrap();
        valve.reopen();
        assert_eq!(next(&mut watch).await, format!("/a=1@{missed}"));
        // Behind a broken connection history is lost.
        valve.close().await;
        direct.commit("/gone", Expect::Any, Op::Delete).await.unwrap();
        let last = direct.commit("/a", Expect::Any, value("2")).await.unwrap();
        direct.compact(last).await.unwrap();
        valve.reopen();
        let end = watch.next().await;
        assert!(matches!(end, Some(Err(Error::Compacted { compacted })) if compacted >= last), "{end:?}");
        assert!(watch.next().await.is_none());
        let listing = store.list("/", None, None, None).await.unwrap();
        assert_eq!((listing.entries.len(), listing.revision), (1, last));
        let old = store.watch("/", seen).map(drop);
        assert!(matches!(old, Err(Error::Compacted { .. })), "{old:?}");
        let mut watch = store.watch("/", listing.revision).unwrap();
        let at = store.commit("/a", Expect::Revision(last), value("3")).await.unwrap();
        assert_eq!(next(&mut watch).await, format!("/a=3@{at}"));
    });
}

#[test]
fn a_killed_leader_loses_nothing_acknowledged() {
    let mut servers = Servers::start(3, &[]);
    block_on(async {
        let store = open(&servers).await;
        let mut watch = store.watch("/", store.revision()).unwrap();
        let mut acknowledged = Vec::new();
        let mut failed = 0;
        for count in 0..300 {
            if count == 100 {
                servers.kill_leader().await;
            }
            let key = format!("/{count}");
            match store.commit(&key, Expect::Absent, value("x")).await {
                Ok(revision) => acknowledged.push((key, revision)),
                Err(Error::OutcomeUnknown | Error::Unavailable) => failed += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(acknowledged.len() >= 290, "{failed} of 300 writes failed");
        for (key, revision) in &acknowledged {
            let entry = store.get(key).await.unwrap().unwrap_or_else(|| panic!("{key} is lost"));
            assert_eq!(entry.modified, *revision);
        }
        let mut last = Revision(0);
        for _ in 0..store.list("/", None, None, None).await.unwrap().entries.len() {
            let event = watch.next().await.unwrap().unwrap();
            assert!(event.revision > last, "in order, none twice");
            last = event.revision;
        }
        eprintln!("300 writes over a killed leader: {failed} with an error, 0 acknowledged lost");
    });
}

#[test]
fn without_a_quorum_calls_end_with_an_error() {
    let mut servers = Servers::start(3, &[]);
    block_on(async {
        let store = open(&servers).await;
        store.commit("/a", Expect::Absent, value("1")).await.unwrap();
        servers.kill(0);
        servers.kill(1);
        let written = store.commit("/b", Expect::Absent, value("1"));
        let (written, read) = futures::join!(written, store.get("/a"));
        assert!(matches!(written, Err(Error::OutcomeUnknown | Error::Unavailable)), "{written:?}");
        assert!(matches!(read, Err(Error::Unavailable)), "{read:?}");
        servers.restart(0);
        let entry = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                if let Ok(entry) = store.get("/a").await {
                    return entry;
                }
            }
        });
        assert!(entry.await.expect("two of three are enough").is_some());
    });
}

#[test]
fn a_full_etcd_is_named_and_still_reads_and_deletes() {
    let servers = Servers::start(1, &["--quota-backend-bytes=4194304"]);
    block_on(async {
        let store = open(&servers).await;
        let large = || Op::Put(Bytes::from(vec![b'x'; 512 * 1024]));
        let mut count = 0;
        let error = loop {
            match store.commit(&format!("/{count}"), Expect::Absent, large()).await {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
            assert!(count < 40, "the quota has no effect");
        };
        assert!(matches!(error, Error::NoSpace), "{error:?}");
        assert!(error.to_string().contains("NOSPACE"));
        assert!(store.get("/0").await.unwrap().is_some());
        store.commit("/0", Expect::Any, Op::Delete).await.expect("deletions make room");
        assert!(matches!(store.commit("/x", Expect::Any, large()).await, Err(Error::NoSpace)));
    });
}

#[test]
fn a_request_over_etcds_limit_is_too_large() {
    let servers = Servers::start(1, &["--max-request-bytes=65536"]);
    block_on(async {
        let store = open(&servers).await;
        let put = store.commit("/a", Expect::Any, Op::Put(Bytes::from(vec![b'x'; 200_000]))).await;
        assert!(matches!(put, Err(Error::TooLarge { size_bytes: 200_000, .. })), "{put:?}");
    });
}

#[test]
fn tls_takes_our_certificate_and_no_other() {
    let (servers, stranger) = Servers::start_tls();
    block_on(async {
        let store = open(&servers).await;
        store.commit("/a", Expect::Absent, value("1")).await.unwrap();
        assert!(store.get("/a").await.unwrap().is_some());
        let mut config = servers.config();
        config.tls = Some(stranger);
        let opened = tokio::time::timeout(Duration::from_secs(3), etcd(config, Config::default())).await;
        assert!(opened.is_err() || opened.unwrap().is_err(), "a stranger is not let in");
    });
}
