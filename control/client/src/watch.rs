//! Self-healing list+watch as a stream. The states are an enum; each `step` makes one legal move:
//!
//! | from | when | to |
//! |---|---|---|
//! | Listing | a page came, more follow | Listing |
//! | Listing | the last page came | Opening, yields Restarted |
//! | Listing, Opening | failed | itself, after backoff |
//! | Opening | the server took the watch | Streaming |
//! | Opening, Streaming | 410 | Listing |
//! | Streaming | event, bookmark | Streaming, yields it |
//! | Streaming | end, break, silence | Opening at the last revision seen |

use crate::{Body, Client, Error, ListParams, body};
use api::{Gvr, Revision, Status};
use bytes::{Buf, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use http_body_util::BodyExt;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{borrow::Cow, time::Duration};

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum Watched<T> {
    /// The complete state at a revision: replaces everything told before.
    Restarted(Vec<T>, Revision),
    /// Created or changed.
    Applied(T),
    /// Gone; the object's last state.
    Deleted(T),
    /// Nothing that matters happened up to here.
    Bookmark(Revision),
}

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(10);
/// A server sends bookmarks about once a minute, so longer silence means a dead connection.
const SILENCE_LIMIT: Duration = Duration::from_secs(150);
/// A watch is asked to end after this and a bit, so that load spreads over replicas.
const WATCH_TIMEOUT_S: u64 = 290;
/// One event; the server accepts objects of 3 MiB.
const LINE_LIMIT: usize = 16 << 20;

pub(crate) fn watch<T: DeserializeOwned + Send + 'static>(
    client: Client,
    gvr: Gvr,
    namespace: &str,
    params: &ListParams,
    revision_of: fn(&T) -> Option<Revision>,
) -> BoxStream<'static, Watched<T>> {
    let watcher = Watcher {
        client,
        gvr,
        namespace: namespace.to_owned(),
        params: params.clone(),
        revision_of,
        state: State::Listing { items: Vec::new(), continue_token: None },
        failures: 0,
    };
    stream::unfold(watcher, |mut watcher| async move {
        loop {
            if let Some(item) = watcher.step().await {
                return Some((item, watcher));
            }
        }
    })
    .boxed()
}

struct Watcher<T> {
    client: Client,
    gvr: Gvr,
    namespace: String,
    params: ListParams,
    revision_of: fn(&T) -> Option<Revision>,
    state: State<T>,
    failures: u32,
}

enum State<T> {
    Listing { items: Vec<T>, continue_token: Option<String> },
    Opening { after: Revision },
    Streaming { after: Revision, lines: Lines, fruitful: bool },
}

impl<T: DeserializeOwned> Watcher<T> {
    async fn step(&mut self) -> Option<Watched<T>> {
        let state = std::mem::replace(&mut self.state, relist());
        match state {
            State::Listing { items, continue_token } => self.list(items, continue_token).await,
            State::Opening { after } => self.open(after).await,
            State::Streaming { after, lines, fruitful } => self.read(after, lines, fruitful).await,
        }
    }

    async fn list(&mut self, mut items: Vec<T>, continue_token: Option<String>) -> Option<Watched<T>> {
        let page = match self.client.page(&self.gvr, &self.namespace, &self.params, continue_token.as_deref()).await {
            Ok(page) => page,
            Err(error) => {
                self.back_off("list", &error).await;
                return None;
            }
        };
        for item in &page.items {
            match body::decode(item.get().as_bytes()) {
                Ok(item) => items.push(item),
                Err(error) => {
                    tracing::warn!(resource = %self.gvr.resource, %error, "an object cannot be read: skipped")
                }
            }
        }
        let revision = page.revision();
        if !page.metadata.continue_token.is_empty() {
            self.state = State::Listing { items, continue_token: Some(page.metadata.continue_token) };
            return None;
        }
        self.failures = 0;
        self.state = State::Opening { after: revision };
        Some(Watched::Restarted(items, revision))
    }

    async fn open(&mut self, after: Revision) -> Option<Watched<T>> {
        let timeout_s = WATCH_TIMEOUT_S + process::seed() % 30;
        match self.client.open_watch(&self.gvr, &self.namespace, &self.params, after, timeout_s).await {
            Ok(body) => self.state = State::Streaming { after, lines: Lines::new(body), fruitful: false },
            Err(error) if error.is_expired() => self.state = relist(),
            Err(error) => {
                // A refusal (403, 404) may be about the revision's server, too: only transient trouble keeps the place.
                self.state = if error.is_transient() { State::Opening { after } } else { relist() };
                self.back_off("watch", &error).await;
            }
        }
        None
    }

    async fn read(&mut self, after: Revision, mut lines: Lines, fruitful: bool) -> Option<Watched<T>> {
        let line = match tokio::time::timeout(SILENCE_LIMIT, lines.next()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) if fruitful => {
                self.state = State::Opening { after };
                return None;
            }
            Ok(Ok(None)) => {
                self.state = State::Opening { after };
                self.wait().await;
                return None;
            }
            Ok(Err(error)) => {
                self.state = State::Opening { after };
                self.back_off("watch", &error).await;
                return None;
            }
            Err(_) => {
                self.state = State::Opening { after };
                self.back_off("watch", &Error::Timeout(SILENCE_LIMIT)).await;
                return None;
            }
        };
        self.failures = 0;
        match parse::<T>(&line, self.revision_of) {
            Ok((item, revision)) => {
                self.state = State::Streaming { after: revision.unwrap_or(after).max(after), lines, fruitful: true };
                item
            }
            Err(Error::Decode(error)) => {
                tracing::warn!(resource = %self.gvr.resource, %error, "an event cannot be read: relisting");
                self.wait().await;
                None
            }
            Err(error) => {
                if !error.is_expired() {
                    self.back_off("watch", &error).await;
                }
                None
            }
        }
    }

    async fn back_off(&mut self, what: &'static str, error: &Error) {
        if self.failures == 0 {
            tracing::warn!(resource = %self.gvr.resource, %error, "{what} failed: trying again");
        }
        self.wait().await;
    }

    async fn wait(&mut self) {
        let full = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(12)).min(BACKOFF_LAST);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(full.mul_f64(0.5 + (process::seed() % 512) as f64 / 1024.0)).await;
    }
}

fn relist<T>() -> State<T> {
    State::Listing { items: Vec::new(), continue_token: None }
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct BookmarkObject {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
struct BookmarkMeta {
    #[serde(rename = "resourceVersion")]
    resource_version: String,
}

type Parsed<T> = (Option<Watched<T>>, Option<Revision>);

fn parse<T: DeserializeOwned>(line: &[u8], revision_of: fn(&T) -> Option<Revision>) -> Result<Parsed<T>, Error> {
    let frame: Frame<'_> = serde_json::from_slice(line).map_err(Error::Decode)?;
    let object = frame.object.get();
    match frame.kind.as_ref() {
        "ADDED" | "MODIFIED" => {
            let object: T = body::decode(object.as_bytes())?;
            let revision = revision_of(&object);
            Ok((Some(Watched::Applied(object)), revision))
        }
        "DELETED" => {
            let object: T = body::decode(object.as_bytes())?;
            let revision = revision_of(&object);
            Ok((Some(Watched::Deleted(object)), revision))
        }
        "BOOKMARK" => {
            let bookmark: BookmarkObject = serde_json::from_str(object).map_err(Error::Decode)?;
            let revision = bookmark.metadata.resource_version.parse().ok();
            Ok((revision.map(Watched::Bookmark), revision))
        }
        _ => Err(serde_json::from_str::<Status>(object).map_err(Error::Decode)?.into()),
    }
}

/// Splits a body into lines.
struct Lines {
    body: Body,
    buffer: BytesMut,
    scanned: usize,
}

impl Lines {
    fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), scanned: 0 }
    }

    async fn next(&mut self) -> Result<Option<BytesMut>, Error> {
        loop {
            if let Some(end) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.scanned + end);
                self.buffer.advance(1);
                self.scanned = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.scanned = self.buffer.len();
            if self.buffer.len() > LINE_LIMIT {
                return Err(Error::TooLarge { limit: LINE_LIMIT });
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Error::Body(error)),
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.buffer.extend_from_slice(&chunk);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
