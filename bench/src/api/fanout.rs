//! Watch fan-out: many watchers, many updates; each watcher must see every update once, in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::BytesMut;
use futures::StreamExt as _;
use http::Method;
use memchr::memmem;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::connection::Connection;
use super::load::{connections, percentiles};
use super::target::Target;

/// Objects that the updates go round.
const OBJECTS: usize = 50;
/// All deliveries must have come by then.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct FanOut {
    pub watchers: usize,
    pub updates: usize,
    /// Updates a second that were asked for; absent: as fast as they go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paced_per_second: Option<usize>,
    pub deliveries: u64,
    pub seconds: f64,
    pub deliveries_per_second: f64,
    /// From before the update is sent until a watcher has read its event.
    pub lag_p50_us: u64,
    pub lag_p99_us: u64,
    /// Watchers that saw a gap, a repetition or another order, or were cut off.
    pub wrong: usize,
}

/// Runs it in namespace `namespace`, which exists.
///
/// # Errors
/// When the server refuses, or deliveries do not come.
pub async fn run(
    target: &Target,
    namespace: &str,
    watchers: usize,
    updates: usize,
    paced: Option<usize>,
) -> anyhow::Result<FanOut> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let mut writers = connections(target, OBJECTS).await?;
    for (at, writer) in writers.iter_mut().enumerate() {
        let object = json!({"metadata": {"name": format!("o{at}")}, "data": {"sent": "0"}});
        let (status, _) = writer.call(&Method::POST, &path, object.to_string().as_bytes()).await?;
        ensure!(status.is_success() || status == 409, "cannot create: {status}");
    }
    let listed: Value = serde_json::from_slice(&writers[0].must(&Method::GET, &path, &[]).await?)?;
    let revision = listed["metadata"]["resourceVersion"].as_str().context("a list has a resourceVersion")?.to_owned();
    let epoch = process::instant();
    let watch = format!("{path}?watch=1&resourceVersion={revision}&timeoutSeconds=600");
    let mut watching = Vec::new();
    for mut connection in connections(target, watchers).await? {
        let status = connection.send(&Method::GET, &watch, &[]).await?;
        ensure!(status.is_success(), "cannot watch: {status}");
        watching.push(process::spawn("bench-watcher", watcher(connection, epoch, updates)));
    }
    let started = process::instant();
    let path = Arc::new(path);
    let writing = futures::stream::iter(writers.into_iter().enumerate()).map(|(at, connection)| {
        let mine = (at..updates).step_by(OBJECTS).collect::<Vec<_>>();
        process::spawn("bench-writer", writer(connection, path.clone(), at, mine, epoch, started, paced))
    });
    let mut written: Vec<u64> = Vec::new();
    for task in writing.collect::<Vec<_>>().await {
        written.extend(task.await??);
    }
    written.sort_unstable();
    let (mut wrong, mut deliveries) = (0, 0);
    let mut lags_us = Vec::new();
    for task in watching {
        let (seen, lags) = tokio::time::timeout(TIMEOUT, task).await.context("deliveries are missing")??;
        deliveries += seen.len() as u64;
        wrong += usize::from(seen != written);
        lags_us.extend(lags);
    }
    let seconds = started.elapsed().as_secs_f64();
    let (lag_p50_us, lag_p99_us, _) = percentiles(&mut lags_us);
    Ok(FanOut {
        watchers,
        updates,
        paced_per_second: paced,
        deliveries,
        seconds,
        deliveries_per_second: deliveries as f64 / seconds,
        lag_p50_us,
        lag_p99_us,
        wrong,
    })
}

/// Sends its updates, each with the time it was sent. Returns their revisions.
async fn writer(
    mut connection: Connection,
    path: Arc<String>,
    object: usize,
    mine: Vec<usize>,
    epoch: Instant,
    started: Instant,
    paced: Option<usize>,
) -> anyhow::Result<Vec<u64>> {
    let mut revisions = Vec::new();
    for number in mine {
        if let Some(per_second) = paced {
            tokio::time::sleep_until(started + Duration::from_secs_f64(number as f64 / per_second as f64)).await;
        }
        let sent = epoch.elapsed().as_micros();
        let update = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("o{object}")},
            "data": {"sent": sent.to_string(), "number": number.to_string()}});
        let answer = connection.must(&Method::PUT, &format!("{path}/o{object}"), update.to_string().as_bytes()).await?;
        revisions.push(number_after(&answer, b"\"resourceVersion\":\"").context("an object has a resourceVersion")?);
    }
    Ok(revisions)
}

/// Reads until `updates` events are there or the stream ends. Returns their revisions and how late they came.
async fn watcher(mut connection: Connection, epoch: Instant, updates: usize) -> (Vec<u64>, Vec<u64>) {
    let (mut seen, mut lags) = (Vec::with_capacity(updates), Vec::with_capacity(updates));
    let mut rest = BytesMut::new();
    while seen.len() < updates {
        let Ok(Some(piece)) = connection.piece().await else { break };
        rest.extend_from_slice(&piece);
        let now = u64::try_from(epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        while let Some(end) = memchr::memchr(b'\n', &rest) {
            let line = rest.split_to(end + 1);
            match event(&line) {
                Ok((revision, sent)) => {
                    seen.push(revision);
                    lags.push(now.saturating_sub(sent));
                }
                Err(_) => return (seen, lags),
            }
        }
    }
    (seen, lags)
}

/// Revision and time of an event's frame.
fn event(line: &[u8]) -> anyhow::Result<(u64, u64)> {
    if !line.starts_with(br#"{"type":"MODIFIED""#) {
        bail!("unexpected event: {}", String::from_utf8_lossy(line));
    }
    let revision = number_after(line, b"\"resourceVersion\":\"").context("no resourceVersion")?;
    Ok((revision, number_after(line, b"\"sent\":\"").context("no time")?))
}

fn number_after(text: &[u8], mark: &[u8]) -> Option<u64> {
    let digits = text.get(memmem::find(text, mark)? + mark.len()..)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}
