//! The promises, one function each.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};

use super::Make;
use crate::{Backend, Config, Entry, Error, Event, Expect, MAX_KEY_BYTES, MAX_VALUE_BYTES, Op, Part, Revision, Watch};

type Case = for<'a> fn(Make<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

pub(super) const CASES: &[(&str, Case)] = &[
    ("writes have revisions", |make| Box::pin(writes_have_revisions(make))),
    ("expectations hold", |make| Box::pin(expectations_hold(make))),
    ("lists are paged in key order", |make| Box::pin(lists_are_paged(make))),
    ("lists at older revisions are exact", |make| Box::pin(lists_at_older_revisions(make))),
    ("watches see every event once", |make| Box::pin(watches_see_everything(make))),
    ("watches resume", |make| Box::pin(watches_resume(make))),
    ("a list and its watch miss nothing", |make| Box::pin(list_then_watch(make))),
    ("slow watches lag alone", |make| Box::pin(slow_watches_lag(make))),
    ("large events lag by bytes", |make| Box::pin(large_events_lag(make))),
    ("compaction forgets", |make| Box::pin(compaction_forgets(make))),
    ("the window is bounded", |make| Box::pin(window_is_bounded(make))),
    ("sizes are limited", |make| Box::pin(sizes_are_limited(make))),
    ("progress waits for events", |make| Box::pin(progress_waits(make))),
    ("one of many writers wins", |make| Box::pin(one_writer_wins(make))),
];

pub(crate) async fn put(store: &dyn Backend, key: &str, value: &str) -> Revision {
    store.commit(key, Expect::Any, Op::Put(Bytes::copy_from_slice(value.as_bytes()))).await.unwrap()
}

async fn delete(store: &dyn Backend, key: &str) -> Revision {
    store.commit(key, Expect::Any, Op::Delete).await.unwrap()
}

/// What is ready in the watch now.
fn ready(watch: &mut Watch) -> Vec<Result<Arc<Event>, Error>> {
    std::iter::from_fn(|| watch.next().now_or_never().flatten()).collect()
}

fn show(event: &Event) -> String {
    let prev = event.prev.as_ref().map_or("-".to_owned(), |prev| text(&prev.value));
    let value = event.value.as_ref().map_or("-".to_owned(), text);
    format!("{} {} {prev}>{value}", event.revision, event.key)
}

fn shown(watch: &mut Watch) -> Vec<String> {
    ready(watch).iter().map(|event| show(event.as_ref().unwrap())).collect()
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn summary(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| format!("{}={}@{}/{}", entry.key, text(&entry.value), entry.created, entry.modified))
        .collect()
}

async fn writes_have_revisions(make: Make<'_>) {
    let store = make(Config::default());
    let first = store.revision();
    assert_eq!(first, Revision(1));
    assert_eq!(store.compacted(), first);
    assert_eq!(store.get("/a").await.unwrap(), None);
    assert_eq!(put(&*store, "/a", "1").await, Revision(2));
    assert_eq!(put(&*store, "/a", "2").await, Revision(3));
    assert_eq!(put(&*store, "/b", "1").await, Revision(4));
    assert_eq!(summary(&[store.get("/a").await.unwrap().unwrap()]), ["/a=2@2/3"]);
    assert_eq!(delete(&*store, "/a").await, Revision(5));
    assert_eq!(store.get("/a").await.unwrap(), None);
    assert_eq!(put(&*store, "/a", "3").await, Revision(6));
    assert_eq!(summary(&[store.get("/a").await.unwrap().unwrap()]), ["/a=3@6/6"]);
    assert_eq!(store.revision(), Revision(6));
}

async fn expectations_hold(make: Make<'_>) {
    let store = make(Config::default());
    let value = || Op::Put(Bytes::from_static(b"x"));
    let conflict = |result: Result<Revision, Error>| match result {
        Err(Error::Conflict { current }) => current.map(|entry| entry.modified),
        other => panic!("no conflict: {other:?}"),
    };
    assert_eq!(conflict(store.commit("/a", Expect::Revision(Revision(1)), value()).await), None);
    assert_eq!(conflict(store.commit("/a", Expect::Any, Op::Delete).await), None);
    assert_eq!(conflict(store.commit("/a", Expect::Absent, Op::Delete).await), None);
    let at = store.commit("/a", Expect::Absent, value()).await.unwrap();
    assert_eq!(conflict(store.commit("/a", Expect::Absent, value()).await), Some(at));
    assert_eq!(conflict(store.commit("/a", Expect::Revision(Revision(at.0 + 1)), value()).await), Some(at));
    assert_eq!(conflict(store.commit("/a", Expect::Revision(Revision(at.0 - 1)), Op::Delete).await), Some(at));
    assert_eq!(store.revision(), at, "a conflict writes nothing");
    let at = store.commit("/a", Expect::Revision(at), value()).await.unwrap();
    store.commit("/a", Expect::Revision(at), Op::Delete).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap(), None);
}

async fn lists_are_paged(make: Make<'_>) {
    let store = make(Config::default());
    for key in ["/p/c", "/p/a", "/q", "/p/b", "/o", "/p", "/p/d"] {
        put(&*store, key, "v").await;
    }
    let keys = |entries: &[Entry]| entries.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>();
    let all = store.list("/p/", None, None, None).await.unwrap();
    assert_eq!(keys(&all.entries), ["/p/a", "/p/b", "/p/c", "/p/d"]);
    assert_eq!((all.more, all.remaining, all.revision), (false, 0, store.revision()));
    let page = store.list("/p/", None, Some(3), None).await.unwrap();
    assert_eq!(keys(&page.entries), ["/p/a", "/p/b", "/p/c"]);
    assert_eq!((page.more, page.remaining), (true, 1));
    put(&*store, "/p/bb", "later").await;
    delete(&*store, "/p/d").await;
    let rest = store.list("/p/", Some("/p/c"), Some(3), Some(page.revision)).await.unwrap();
    assert_eq!(keys(&rest.entries), ["/p/d"], "the second page is of the first page's revision");
    assert_eq!((rest.more, rest.remaining, rest.revision), (false, 0, page.revision));
    let after_missing = store.list("/p/", Some("/p/aa"), Some(1), None).await.unwrap();
    assert_eq!(keys(&after_missing.entries), ["/p/b"]);
    let before_prefix = store.list("/p/", Some("/a"), Some(1), None).await.unwrap();
    assert_eq!(keys(&before_prefix.entries), ["/p/a"]);
    assert_eq!(store.list("/p/", Some("/z"), None, None).await.unwrap().entries, []);
    assert_eq!(store.list("", None, None, None).await.unwrap().entries.len(), 7);
    assert_eq!(store.list("/p/", None, Some(0), None).await.unwrap().remaining, 4);
}

async fn lists_at_older_revisions(make: Make<'_>) {
    let store = make(Config::default());
    put(&*store, "/a", "1").await; // 2
    put(&*store, "/b", "1").await; // 3
    put(&*store, "/a", "2").await; // 4
    delete(&*store, "/b").await; // 5
    put(&*store, "/b", "2").await; // 6
    let at = async |revision| {
        summary(&store.list("/", None, None, Some(Revision(revision))).await.unwrap().entries).join(" ")
    };
    assert_eq!(at(1).await, "");
    assert_eq!(at(2).await, "/a=1@2/2");
    assert_eq!(at(3).await, "/a=1@2/2 /b=1@3/3");
    assert_eq!(at(4).await, "/a=2@2/4 /b=1@3/3");
    assert_eq!(at(5).await, "/a=2@2/4");
    assert_eq!(at(6).await, "/a=2@2/4 /b=2@6/6");
    let future = store.list("/", None, None, Some(Revision(7))).await;
    assert!(matches!(future, Err(Error::Future { current: Revision(6) })), "{future:?}");
}

async fn watches_see_everything(make: Make<'_>) {
    let store = make(Config::default());
    let mut watch = store.watch("/a/", store.revision()).unwrap();
    assert_eq!(shown(&mut watch), [""; 0]);
    put(&*store, "/a/1", "x").await;
    put(&*store, "/b/1", "x").await;
    put(&*store, "/a/1", "y").await;
    put(&*store, "/a/2", "x").await;
    delete(&*store, "/a/1").await;
    assert_eq!(shown(&mut watch), ["2 /a/1 ->x", "4 /a/1 x>y", "5 /a/2 ->x", "6 /a/1 y>-"]);
    assert_eq!(shown(&mut watch), [""; 0]);
}

async fn watches_resume(make: Make<'_>) {
    let store = make(Config::default());
    for value in ["1", "2", "3"] {
        put(&*store, "/a", value).await;
    }
    let mut watch = store.watch("/", Revision(2)).unwrap();
    put(&*store, "/a", "4").await;
    assert_eq!(shown(&mut watch), ["3 /a 1>2", "4 /a 2>3", "5 /a 3>4"]);
    assert_eq!(shown(&mut store.watch("/", Revision(1)).unwrap()).len(), 4);
    assert_eq!(shown(&mut store.watch("/b", Revision(1)).unwrap()).len(), 0);
    let future = store.watch("/", Revision(6)).map(drop);
    assert!(matches!(future, Err(Error::Future { current: Revision(5) })), "{future:?}");
}

async fn list_then_watch(make: Make<'_>) {
    let store = make(Config::default());
    let writes = async {
        for count in 0..200 {
            put(&*store, &format!("/k/{}", count % 7), &count.to_string()).await;
            tokio::task::yield_now().await;
        }
    };
    let reads = async {
        for _ in 0..20 {
            let listing = store.list("/k/", None, None, None).await.unwrap();
            let mut watch = store.watch("/k/", listing.revision).unwrap();
            tokio::task::yield_now().await;
            let mut state: std::collections::BTreeMap<Arc<str>, Entry> =
                listing.entries.into_iter().map(|entry| (Arc::clone(&entry.key), entry)).collect();
            let mut revision = listing.revision;
            for event in ready(&mut watch) {
                let event = event.unwrap();
                assert_eq!(event.revision.0, revision.0 + 1, "no gap, no repetition");
                revision = event.revision;
                assert_eq!(event.prev.as_ref(), state.get(&event.key));
                let created = event.prev.as_ref().map_or(revision, |prev| prev.created);
                let (key, value) = (Arc::clone(&event.key), event.value.clone().unwrap());
                state.insert(Arc::clone(&key), Entry { key, value, created, modified: revision });
            }
            let now = store.list("/k/", None, None, Some(revision)).await.unwrap();
            assert_eq!(now.entries, state.into_values().collect::<Vec<_>>());
        }
    };
    futures::join!(writes, reads);
}

async fn slow_watches_lag(make: Make<'_>) {
    let store = make(Config { queue_events: 4, ..Config::default() });
    let mut slow = store.watch("/", store.revision()).unwrap();
    let mut fast = store.watch("/", store.revision()).unwrap();
    let mut other = store.watch("/other", store.revision()).unwrap();
    for count in 0..6 {
        put(&*store, "/a", &count.to_string()).await;
        assert_eq!(ready(&mut fast).len(), 1);
    }
    let told = ready(&mut slow);
    assert!(matches!(told[..], [Err(Error::Lagged)]), "{told:?}");
    assert!(slow.next().await.is_none(), "it ends after the error");
    assert_eq!(slow.progress(), None);
    assert_eq!(ready(&mut other).len(), 0);
    assert_eq!(shown(&mut store.watch("/", Revision(1)).unwrap()).len(), 6, "a new watch takes the whole window");
}

async fn large_events_lag(make: Make<'_>) {
    let store = make(Config { queue_bytes: 1000, ..Config::default() });
    let mut watch = store.watch("/", store.revision()).unwrap();
    put(&*store, "/a", &"x".repeat(5000)).await;
    assert_eq!(ready(&mut watch).len(), 1, "one event passes, however large");
    put(&*store, "/b", "1").await;
    put(&*store, "/c", &"x".repeat(5000)).await;
    assert!(matches!(ready(&mut watch)[..], [Err(Error::Lagged)]));
}

async fn compaction_forgets(make: Make<'_>) {
    let store = make(Config::default());
    for value in ["1", "2", "3", "4"] {
        put(&*store, "/a", value).await;
    }
    let mut running = store.watch("/", Revision(1)).unwrap();
    store.compact(Revision(3)).await.unwrap();
    store.compact(Revision(2)).await.unwrap();
    assert_eq!(store.compacted(), Revision(3));
    let watch = store.watch("/", Revision(2)).map(drop);
    assert!(matches!(watch, Err(Error::Compacted { compacted: Revision(3) })), "{watch:?}");
    let list = store.list("/", None, None, Some(Revision(2))).await;
    assert!(matches!(list, Err(Error::Compacted { compacted: Revision(3) })), "{list:?}");
    assert_eq!(summary(&store.list("/", None, None, Some(Revision(3))).await.unwrap().entries), ["/a=2@2/3"]);
    assert_eq!(shown(&mut store.watch("/", Revision(3)).unwrap()), ["4 /a 2>3", "5 /a 3>4"]);
    assert_eq!(ready(&mut running).len(), 4, "a running watch keeps what it has");
    let future = store.compact(Revision(6)).await;
    assert!(matches!(future, Err(Error::Future { current: Revision(5) })), "{future:?}");
    store.compact(Revision(5)).await.unwrap();
    assert_eq!(summary(&store.list("/", None, None, None).await.unwrap().entries), ["/a=4@2/5"]);
}

async fn window_is_bounded(make: Make<'_>) {
    let store = make(Config { window_events: 3, ..Config::default() });
    for count in 0..10 {
        put(&*store, "/a", &count.to_string()).await;
    }
    assert_eq!(store.compacted(), Revision(8));
    assert_eq!(shown(&mut store.watch("/", Revision(8)).unwrap()).len(), 3);
    let store = make(Config { window_bytes: 10_000, ..Config::default() });
    for _ in 0..10 {
        put(&*store, "/a", &"x".repeat(2000)).await;
    }
    assert_eq!(store.compacted(), Revision(9), "each event keeps two values alive");
    put(&*store, "/a", &"x".repeat(50_000)).await;
    assert_eq!(store.compacted(), Revision(11), "the newest stays");
}

async fn sizes_are_limited(make: Make<'_>) {
    let store = make(Config::default());
    let put = async |key: usize, value: usize| {
        store.commit(&"k".repeat(key), Expect::Any, Op::Put(Bytes::from(vec![b'v'; value]))).await
    };
    assert!(put(MAX_KEY_BYTES, MAX_VALUE_BYTES).await.is_ok());
    let long = put(MAX_KEY_BYTES + 1, 1).await;
    assert!(matches!(long, Err(Error::TooLarge { part: Part::Key, .. })), "{long:?}");
    let large = put(1, MAX_VALUE_BYTES + 1).await;
    assert!(matches!(large, Err(Error::TooLarge { part: Part::Value, .. })), "{large:?}");
    assert!(put(0, 0).await.is_ok(), "nothing is a key and a value too");
    assert_eq!(store.revision(), Revision(3));
}

async fn progress_waits(make: Make<'_>) {
    let store = make(Config::default());
    let mut watch = store.watch("/a", store.revision()).unwrap();
    assert_eq!(watch.progress(), Some(Revision(1)));
    put(&*store, "/b", "1").await;
    assert_eq!(watch.progress(), Some(Revision(2)), "events of others count as seen");
    put(&*store, "/a", "1").await;
    assert_eq!(watch.progress(), None);
    assert_eq!(ready(&mut watch).len(), 1);
    assert_eq!(watch.progress(), Some(Revision(3)));
}

async fn one_writer_wins(make: Make<'_>) {
    let store = make(Config::default());
    put(&*store, "/counter", "0").await;
    let increments = (0..20).map(async |_| {
        let mut tries = 0;
        loop {
            let entry = store.get("/counter").await.unwrap().unwrap();
            tokio::task::yield_now().await;
            let next = text(&entry.value).parse::<u32>().unwrap() + 1;
            let op = Op::Put(Bytes::from(next.to_string()));
            match store.commit("/counter", Expect::Revision(entry.modified), op).await {
                Ok(_) => return tries,
                Err(Error::Conflict { current }) => assert!(current.unwrap().modified > entry.modified),
                Err(other) => panic!("{other}"),
            }
            tries += 1;
        }
    });
    let tries: Vec<u32> = futures::future::join_all(increments).await;
    assert!(tries.iter().any(|tries| *tries > 0), "they did compete");
    assert_eq!(text(&store.get("/counter").await.unwrap().unwrap().value), "20");
    assert_eq!(store.revision(), Revision(22), "a lost race writes nothing");
}
