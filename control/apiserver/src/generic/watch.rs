//! watch: events as they are written. Each watch reads its own bounded queue of the store; what an event becomes is
//! rendered once and shared by all watches. A reader that is too slow loses its queue, not anybody else's, and is told 410.

use super::{Context, encode::Style, revision, selection::Selection, writer::Source};
use crate::{
    Apiserver,
    custom::convert,
    http::{negotiate::Media, respond},
    metrics::OpenWatch,
    storage,
};
use api::{Revision, Status};
use bytes::Bytes;
use client::{Body, BodyError};
use futures::{FutureExt, Stream, StreamExt};
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use registry::Resource;
use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};
use store::Watch;
use tokio::time::{Instant, Sleep};

mod frames;
mod pace;
mod shared;

use frames::Encoder;
pub(crate) use pace::Busy;
use pace::Pace;
pub(crate) use shared::Recent;

/// Between bookmarks, for clients that want them.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// A watch without a timeout ends after this, and up to as much again.
const DEFAULT_TIMEOUT_S: u64 = 1800;
/// Longest a client may ask for.
const TIMEOUT_LIMIT_S: u64 = 24 * 3600;
/// Bytes of frames joined into one chunk when several events wait.
const CHUNK_LIMIT: usize = 64 << 10;

/// Where a watch starts.
enum Start {
    /// With the present state as ADDED events.
    State {
        /// Closed by a bookmark (`sendInitialEvents`).
        marked: bool,
        /// Not older than this.
        least: Revision,
    },
    /// With the first event after a revision.
    After(Revision),
}

pub(crate) async fn watch(context: &Context<'_>) -> Result<Response<Body>, Status> {
    let mut selection = Selection::of(&context.resource, &context.query)?;
    if !context.target.name.is_empty() {
        selection.require_name(&context.target.name);
    }
    let style = Style::of(context)?;
    let timeout_s = match context.query.number("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => u64::try_from(seconds).unwrap_or(1).min(TIMEOUT_LIMIT_S),
        Some(_) | None => DEFAULT_TIMEOUT_S + process::seed() % DEFAULT_TIMEOUT_S,
    };
    let store = &context.server.config.store;
    let prefix = storage::key(&context.resource, &context.target.namespace, "");
    let encoder = Encoder::new(context.resource.clone(), selection, style);
    let mut ready = VecDeque::new();
    let phase = match start(context)? {
        Start::State { marked, least } => {
            let snapshot = revision::snapshot(store.as_ref(), &prefix, least).await?;
            let revision = snapshot.revision();
            Phase::State { source: Source::Held { snapshot, after: None }, revision, marked }
        }
        Start::After(revision) => match store.watch(&prefix, revision.min(store.revision())) {
            Ok(events) => Phase::Events(events),
            Err(store::Error::Compacted { compacted }) => {
                ready.push_back(encoder.failure(&too_old(revision, compacted)));
                Phase::Ended
            }
            Err(error) => return Err(storage::unavailable(error)),
        },
    };
    let after = match &phase {
        Phase::State { revision, .. } => *revision,
        Phase::Events(_) | Phase::Ended => revision::wanted(context)?.unwrap_or_default(),
    };
    let now = process::instant();
    let (ends, next_bookmark) = (now + Duration::from_secs(timeout_s), now + BOOKMARK_INTERVAL);
    let bookmarks = context.query.flag("allowWatchBookmarks");
    let stream = frames(Watching {
        closing: Box::pin(closing(context.server.clone(), context.resource.clone())),
        server: context.server.clone(),
        resource: context.resource.clone(),
        prefix,
        encoder,
        ready,
        phase,
        after,
        bookmarks,
        next_bookmark,
        ends,
        alarm: Box::pin(tokio::time::sleep_until(if bookmarks { ends.min(next_bookmark) } else { ends })),
        pace: Pace::new(context.server.busy.clone()),
        _open: OpenWatch::new(),
    });
    let media = match context.accept.media {
        Media::Json | Media::Yaml => respond::JSON,
        Media::Protobuf => HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch"),
    };
    let mut response = respond::bytes_of(200, media, Bytes::new());
    *response.body_mut() = StreamBody::new(stream).boxed_unsync();
    Ok(response)
}

/// Where the watch starts; 400 for combinations that mean nothing.
fn start(context: &Context<'_>) -> Result<Start, Status> {
    let query = &context.query;
    let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
    let rule = query.get("resourceVersionMatch");
    match (initial, rule) {
        (Some(_), None) => {
            return Err(Status::bad_request(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        (Some(_), Some(other)) if other != "NotOlderThan" => {
            return Err(Status::bad_request(format!(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, \
                 got {other:?}"
            )));
        }
        (None, Some(_)) => {
            return Err(Status::bad_request(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        (Some(true), _) if !query.flag("allowWatchBookmarks") => {
            return Err(Status::bad_request(
                "sendInitialEvents: Forbidden: sendInitialEvents requires setting allowWatchBookmarks to true",
            ));
        }
        (Some(_) | None, _) => {}
    }
    let least = revision::wanted(context)?.unwrap_or_default();
    Ok(match initial {
        Some(true) => Start::State { marked: true, least },
        Some(false) if least.0 == 0 => Start::After(context.server.config.store.revision()),
        None if least.0 == 0 => Start::State { marked: false, least },
        Some(false) | None => Start::After(least),
    })
}

fn too_old(after: Revision, compacted: Revision) -> Status {
    Status::expired(format!("too old resource version: {after} ({compacted})"))
}

fn lagged() -> Status {
    Status::expired("the watch fell too far behind: list again")
}

/// State -> Events -> Ended.
enum Phase {
    /// The present state is being sent.
    State {
        source: Source,
        revision: Revision,
        marked: bool,
    },
    Events(Watch),
    /// Nothing more comes once what is ready has been sent.
    Ended,
}

/// One open watch.
struct Watching {
    server: Arc<Apiserver>,
    resource: Arc<Resource>,
    prefix: String,
    encoder: Encoder,
    /// Frames to be sent before the next event is read.
    ready: VecDeque<Bytes>,
    phase: Phase,
    /// Events up to here are not sent: the client has them, or asked for a later start.
    after: Revision,
    bookmarks: bool,
    next_bookmark: Instant,
    ends: Instant,
    /// At `ends` or `next_bookmark`, whichever is sooner.
    alarm: Pin<Box<Sleep>>,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    pace: Pace,
    _open: OpenWatch,
}

/// Resolves when the watch has to end for the server's sake.
async fn closing(server: Arc<Apiserver>, resource: Arc<Resource>) {
    tokio::select! {
        () = server.ending() => {}
        // The definition has changed: the client lists again and sees what the objects are now.
        () = server.kinds.outdated(&resource) => {}
    }
}

fn frames(watching: Watching) -> impl Stream<Item = Result<Frame<Bytes>, BodyError>> + Send {
    futures::stream::unfold(watching, |mut watching| async move {
        let chunk = watching.next().await?;
        Some((Ok(Frame::data(chunk)), watching))
    })
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.ready.is_empty() {
                return Some(self.chunk().await);
            }
            match &mut self.phase {
                Phase::Ended => return None,
                Phase::State { .. } => {
                    self.more_state().await;
                    tokio::task::yield_now().await;
                }
                Phase::Events(events) => {
                    // A watch that is never quiet ends, too.
                    tokio::select! {
                        biased;
                        () = &mut self.closing => {
                            self.finish(None);
                            continue;
                        }
                        () = self.pace.turn() => {}
                    }
                    if let Some(event) = events.next().now_or_never() {
                        self.take(event).await;
                    } else {
                        self.pace.rest();
                        tokio::select! {
                            biased;
                            event = events.next() => self.take(event).await,
                            () = &mut self.closing => self.finish(None),
                            () = &mut self.alarm => self.ring(),
                        }
                    }
                }
            }
        }
    }

    /// The watch's time is over, or that of a bookmark has come.
    fn ring(&mut self) {
        let Phase::Events(events) = &self.phase else { return };
        let over = process::instant() >= self.ends;
        let progress = events.progress().filter(|_| self.bookmarks);
        let bookmark = progress.map(|revision| self.encoder.bookmark(revision.max(self.after), false));
        if over {
            return self.finish(bookmark);
        }
        self.ready.extend(bookmark);
        self.next_bookmark += BOOKMARK_INTERVAL;
        self.alarm.as_mut().reset(self.ends.min(self.next_bookmark));
    }

    /// What is ready, joined with the events that wait behind it.
    async fn chunk(&mut self) -> Bytes {
        let first = self.ready.pop_front().unwrap_or_default();
        let mut joined = Vec::new();
        let mut length = first.len();
        while length < CHUNK_LIMIT {
            if let Some(frame) = self.ready.pop_front() {
                if joined.is_empty() {
                    joined.reserve((first.len() + frame.len()).max(CHUNK_LIMIT >> 3));
                    joined.extend_from_slice(&first);
                }
                joined.extend_from_slice(&frame);
                length = joined.len();
                continue;
            }
            let Phase::Events(events) = &mut self.phase else { break };
            match events.next().now_or_never() {
                Some(event) => self.take(event).await,
                None => break,
            }
        }
        if matches!(self.phase, Phase::Events(_)) {
            self.pace.sent();
            if process::instant() >= self.ends {
                self.ring();
            }
        }
        if joined.is_empty() { first } else { joined.into() }
    }

    /// Frames of some more objects of the present state; the events follow when all have been sent.
    async fn more_state(&mut self) {
        let Phase::State { source, revision, marked } = &mut self.phase else { return };
        let (revision, marked) = (*revision, *marked);
        let mut batch = source.batch();
        if let Err(status) = convert::entries(&self.server, &self.resource, &mut batch).await {
            return self.finish_with(&status);
        }
        let ended = batch.is_empty();
        for entry in batch {
            match self.encoder.entry(&entry) {
                Ok(frame) => self.ready.extend(frame),
                Err(status) => return self.finish_with(&status),
            }
        }
        if !ended {
            return;
        }
        if marked {
            let bookmark = self.encoder.bookmark(revision, true);
            self.ready.push_back(bookmark);
        }
        match self.server.config.store.watch(&self.prefix, revision) {
            Ok(events) => self.phase = Phase::Events(events),
            Err(store::Error::Compacted { compacted }) => self.finish_with(&too_old(revision, compacted)),
            Err(error) => self.finish_with(&storage::unavailable(error)),
        }
    }

    /// What the queue gave.
    async fn take(&mut self, event: Option<Result<Arc<store::Event>, store::Error>>) {
        match event {
            Some(Ok(event)) if event.revision <= self.after => {}
            Some(Ok(event)) => {
                let frame = match convert::event(&self.server, &self.resource, event).await {
                    Ok(event) => self.encoder.event(&self.server.recent, &event),
                    Err(status) => Err(status),
                };
                match frame {
                    Ok(frame) => self.ready.extend(frame),
                    Err(status) => self.finish_with(&status),
                }
            }
            Some(Err(store::Error::Lagged)) => self.finish_with(&lagged()),
            Some(Err(store::Error::Compacted { compacted })) => self.finish_with(&too_old(self.after, compacted)),
            Some(Err(error)) => self.finish_with(&storage::unavailable(error)),
            None => self.finish(None),
        }
    }

    fn finish_with(&mut self, status: &Status) {
        let frame = self.encoder.failure(status);
        self.finish(Some(frame));
    }

    fn finish(&mut self, last: Option<Bytes>) {
        self.phase = Phase::Ended;
        self.ready.extend(last);
    }
}
