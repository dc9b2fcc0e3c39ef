//! Follows etcd: one list, then one watch whose events are applied in order; after a broken connection the watch goes
//! on where it was; if etcd has forgotten that place, everything is listed anew and all our watches are told to, too.

use std::sync::Arc;

use etcd_client::{Error as EtcdError, EventType, GetOptions, WatchResponse};
use tokio::sync::watch;

use super::client::{Endpoints, FIRST_REST, from_etcd, rest, revision_of};
use crate::entries::Entries;
use crate::snapshot::prefix_end;
use crate::state::State;
use crate::{Entry, Error, Event, OpenError, Revision};

/// Entries asked for at once.
const PAGE: i64 = 500;
/// Attempts to read everything when the store is opened; each has the time of a call.
const OPEN_ATTEMPTS: usize = 2;

/// Why a watch ended.
enum Lost {
    /// etcd has forgotten where it would go on.
    Compacted,
    /// Anything else: it can go on, maybe with another server.
    Broken(EtcdError),
}

/// Reads everything for the first time.
pub(super) async fn open(endpoints: &Endpoints) -> Result<(Entries, Revision), OpenError> {
    let mut last = None;
    for _ in 0..OPEN_ATTEMPTS {
        match load(endpoints).await {
            Ok(loaded) => return Ok(loaded),
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map_or_else(String::new, |error| error.to_string());
    Err(OpenError::Etcd { endpoints: endpoints.names().to_owned(), source: Box::new(EtcdError::EndpointError(reason)) })
}

/// Everything below our prefix at one revision.
async fn load(endpoints: &Endpoints) -> Result<(Entries, Revision), Error> {
    'anew: loop {
        let mut entries = Vec::new();
        // A zero byte is etcd's mark of "to the end".
        let end = prefix_end(&endpoints.key("")).unwrap_or_else(|| vec![0]);
        let mut start = endpoints.key("");
        let mut revision = Revision(0);
        loop {
            let mut options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
            if revision.0 > 0 {
                options = options.with_revision(super::client::to_etcd(revision));
            }
            let mut page = match endpoints.read(start.clone(), options).await {
                Ok(page) => page,
                // Somebody compacts faster than we read.
                Err(Error::Compacted { .. }) => continue 'anew,
                Err(error) => return Err(error),
            };
            if revision.0 == 0 {
                revision = revision_of(page.header());
            }
            let more = page.more();
            for kv in page.take_kvs() {
                start = [kv.key(), &[0]].concat();
                if let Some(entry) = endpoints.entry(kv) {
                    entries.push(entry);
                }
            }
            if !more {
                return Ok((Entries::from_sorted(entries), revision));
            }
        }
    }
}

/// Follows until the engine is dropped.
pub(super) async fn run(endpoints: Arc<Endpoints>, state: Arc<State>, reached: watch::Sender<Revision>) {
    let mut pause = FIRST_REST;
    loop {
        let before = state.revision();
        match follow(&endpoints, &state, &reached).await {
            Lost::Broken(error) => {
                tracing::warn!(%error, revision = state.revision().0, "lost etcd's watch; watching again");
                endpoints.leave_current();
            }
            Lost::Compacted => {
                tracing::warn!(revision = before.0, "etcd has forgotten what was not seen yet; listing anew");
                match load(&endpoints).await {
                    Ok((entries, revision)) => {
                        state.replace(entries, revision);
                        reached.send_replace(revision);
                    }
                    Err(error) => tracing::warn!(%error, "cannot list etcd"),
                }
            }
        }
        if state.revision() > before {
            pause = FIRST_REST;
        }
        pause = rest(pause).await;
    }
}

/// One watch, from the state's revision to its end.
async fn follow(endpoints: &Endpoints, state: &State, reached: &watch::Sender<Revision>) -> Lost {
    let mut stream = match endpoints.watch(Revision(state.revision().0 + 1)).await {
        Ok(stream) => stream,
        Err(error) => return Lost::Broken(error),
    };
    loop {
        let response = match stream.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return Lost::Broken(EtcdError::WatchError("it ended".to_owned())),
            Err(error) => return Lost::Broken(error),
        };
        if response.canceled() {
            if response.compact_revision() > 0 {
                return Lost::Compacted;
            }
            return Lost::Broken(EtcdError::WatchError(response.cancel_reason().to_owned()));
        }
        match apply(endpoints, state, &response) {
            Ok(Some(revision)) => {
                reached.send_replace(revision);
            }
            Ok(None) => {}
            Err(error) => return Lost::Broken(EtcdError::WatchError(error.to_string())),
        }
    }
}

/// Applies the events of one answer, which holds whole revisions. Returns the last.
fn apply(endpoints: &Endpoints, state: &State, response: &WatchResponse) -> Result<Option<Revision>, Error> {
    let (mut entries, mut revision) = state.snapshot()?;
    let before = revision;
    let mut events = Vec::new();
    for event in response.events() {
        let Some(kv) = event.kv() else { continue };
        let modified = from_etcd(kv.mod_revision());
        if modified <= before {
            continue;
        }
        revision = modified;
        let Some(key) = endpoints.own_key(kv.key()) else { continue };
        match event.event_type() {
            EventType::Put => {
                let value = bytes::Bytes::copy_from_slice(kv.value());
                let entry = Entry {
                    key: Arc::clone(&key),
                    value: value.clone(),
                    created: from_etcd(kv.create_revision()),
                    modified,
                };
                let prev = entries.insert(entry);
                events.push(Event::new(key, modified, Some(value), prev));
            }
            EventType::Delete => {
                if let Some(prev) = entries.remove(&key) {
                    events.push(Event::new(key, modified, None, Some(prev)));
                }
            }
        }
    }
    if revision == before {
        return Ok(None);
    }
    state.publish(entries, events, revision);
    Ok(Some(revision))
}
