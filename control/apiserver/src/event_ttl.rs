//! Removes events that last happened too long ago (an hour), a bounded number at a time.

use crate::{Apiserver, storage};
use api::{meta, time};
use jiff::{SignedDuration, Timestamp};
use process::Shutdown;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use store::{Entry, Expect, Op};

const INTERVAL: Duration = Duration::from_secs(60);
/// Events looked at in one go.
const PAGE: usize = 500;
/// Events removed in one round; the rest waits for the next.
const ROUND_LIMIT: usize = 5_000;

/// Sweeps once a minute, or as often as events expire.
pub(crate) async fn run(server: Arc<Apiserver>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL.min(server.config.event_ttl)) => {}
        }
        if let Err(error) = sweep(&server, process::now()).await {
            tracing::warn!(%error, "cannot remove expired events");
        }
    }
}

/// Removes what has expired at `now`; returns how many.
pub(crate) async fn sweep(server: &Apiserver, now: Timestamp) -> Result<usize, store::Error> {
    let (store, prefix) = (&server.config.store, storage::core_key("events", "", ""));
    let ttl = SignedDuration::try_from(server.config.event_ttl).unwrap_or(SignedDuration::MAX);
    let (mut start, mut removed): (Option<String>, usize) = (None, 0);
    loop {
        let listing = store.list(&prefix, start.as_deref(), Some(PAGE), None).await?;
        for entry in &listing.entries {
            start = Some(entry.key.to_string());
            if !is_expired(entry, now, ttl) {
                continue;
            }
            match store.commit(&entry.key, Expect::Revision(entry.modified), Op::Delete).await {
                Ok(_) => removed += 1,
                // Somebody has just counted it up: it lives on.
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if !listing.more || removed >= ROUND_LIMIT {
            return Ok(removed);
        }
    }
}

fn is_expired(entry: &Entry, now: Timestamp, ttl: SignedDuration) -> bool {
    let Ok(event) = serde_json::from_slice::<Value>(&entry.value) else { return false };
    let last = ["lastTimestamp", "eventTime", "firstTimestamp"]
        .into_iter()
        .filter_map(|field| event[field].as_str())
        .chain(event["series"]["lastObservedTime"].as_str())
        .chain(meta::creation_timestamp(&event))
        .filter_map(time::parse)
        // A clock that goes ahead does not keep an event.
        .filter(|time| *time <= now)
        .max();
    last.is_some_and(|last| now.duration_since(last) > ttl)
}

#[cfg(test)]
mod tests;
