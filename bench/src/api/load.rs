//! Closed-loop load: each client has a connection and sends its next request when the last is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use super::connection::Connection;
use super::target::Target;

/// Connections that are opened at once: handshakes cost both sides.
const OPENING: usize = 32;

/// One request of a client.
pub struct Call {
    pub method: Method,
    pub path: String,
    pub body: Bytes,
}

/// What a client sends: given its number, the count of its requests so far and the last answer.
pub type Next = dyn Fn(usize, usize, &Bytes) -> Call + Send + Sync;

/// What came out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    pub clients: usize,
    pub requests: u64,
    pub errors: u64,
    pub seconds: f64,
    pub per_second: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
    /// What the first error said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
}

/// How long a load runs.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    /// By time.
    For(Duration),
    /// Until each client has had this many answers.
    Requests(usize),
}

/// Opens `count` connections.
///
/// # Errors
/// When one cannot be opened.
pub async fn connections(target: &Target, count: usize) -> anyhow::Result<Vec<Connection>> {
    use futures::{StreamExt as _, TryStreamExt as _};
    futures::stream::iter(0..count).map(|_| Connection::open(target)).buffered(OPENING).try_collect().await
}

/// Runs `clients` clients.
///
/// # Errors
/// When the connections cannot be opened; failed requests are counted instead.
pub async fn run(target: &Target, clients: usize, extent: Extent, next: Arc<Next>) -> anyhow::Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    let connections = connections(target, clients).await?;
    let started = process::instant();
    let tasks: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(client, connection)| {
            let (next, stop) = (next.clone(), stop.clone());
            let limit = if let Extent::Requests(limit) = extent { limit } else { usize::MAX };
            process::spawn("bench-client", one(target.clone(), client, connection, limit, next, stop))
        })
        .collect();
    if let Extent::For(time) = extent {
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
    }
    let mut times_us = Vec::new();
    let mut outcome = Outcome { clients, ..Outcome::default() };
    for task in tasks {
        let (times, errors, first) = task.await?;
        times_us.extend(times);
        outcome.errors += errors;
        outcome.first_error = outcome.first_error.or(first);
    }
    outcome.seconds = started.elapsed().as_secs_f64();
    outcome.requests = times_us.len() as u64;
    outcome.per_second = outcome.requests as f64 / outcome.seconds;
    (outcome.p50_us, outcome.p99_us, outcome.max_us) = percentiles(&mut times_us);
    Ok(outcome)
}

/// Median, 99th percentile, largest.
pub fn percentiles(values: &mut [u64]) -> (u64, u64, u64) {
    values.sort_unstable();
    let at = |percent: usize| values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied();
    (at(50).unwrap_or(0), at(99).unwrap_or(0), values.last().copied().unwrap_or(0))
}

async fn one(
    target: Target,
    client: usize,
    mut connection: Connection,
    limit: usize,
    next: Arc<Next>,
    stop: Arc<AtomicBool>,
) -> (Vec<u64>, u64, Option<String>) {
    let (mut times, mut errors, mut first) = (Vec::new(), 0, None);
    let mut last = Bytes::new();
    for count in 0..limit {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Call { method, path, body } = next(client, count, &last);
        let sent = process::instant();
        match connection.call(&method, &path, &body).await {
            Ok((status, answer)) if status.is_success() => {
                times.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
                last = answer;
            }
            Ok((status, answer)) => {
                errors += 1;
                first.get_or_insert(format!("{status}: {}", String::from_utf8_lossy(&answer)));
            }
            Err(error) => {
                errors += 1;
                first.get_or_insert(format!("{error:#}"));
                match Connection::open(&target).await {
                    Ok(opened) => connection = opened,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
    }
    (times, errors, first)
}
