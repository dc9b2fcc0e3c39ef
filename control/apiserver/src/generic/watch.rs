//! watch: events as they are written. Each watch reads its own bounded queue of the store; the bytes of an event are
//! encoded once and shared. A reader that is too slow loses its queue, not anybody else's, and is told 410.

use super::{Context, encode, selection::Selection, table};
use crate::{
    Apiserver,
    http::{
        negotiate::{Form, Media},
        respond,
    },
    metrics::OpenWatch,
    storage,
};
use api::{Revision, Status};
use bytes::Bytes;
use client::{Body, BodyError};
use futures::{Stream, StreamExt};
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use registry::Resource;
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use store::{Event, Watch};
use tokio::time::Instant;

/// Between bookmarks, for clients that want them.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(30);
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
    },
    /// With the first event after a revision.
    After(Revision),
}

pub(crate) async fn watch(context: &Context<'_>) -> Result<Response<Body>, Status> {
    let mut selection = Selection::of(&context.resource, &context.query)?;
    if !context.target.name.is_empty() {
        selection.require_name(&context.target.name);
    }
    if context.accept.media == Media::Yaml {
        return Err(Status::not_acceptable(&["application/json"]));
    }
    let timeout_s = match context.query.number("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => u64::try_from(seconds).unwrap_or(1).min(TIMEOUT_LIMIT_S),
        Some(_) | None => DEFAULT_TIMEOUT_S + process::seed() % DEFAULT_TIMEOUT_S,
    };
    let store = &context.server.config.store;
    let start = start(context)?;
    let prefix = storage::key(&context.resource, &context.target.namespace, "");
    let mut encoder = Encoder {
        resource: context.resource.clone(),
        selection,
        form: context.accept.form,
        include: table::Include::of(&context.query)?,
        columns_sent: false,
    };
    let mut ready = VecDeque::new();
    let (after, opened) = match start {
        Start::State { marked } => {
            let listing = store.list(&prefix, None, None, None).await.map_err(storage::unavailable)?;
            for entry in &listing.entries {
                if encoder.selection.matches_bytes(&context.resource, &entry.value) {
                    ready.push_back(encoder.object("ADDED", &entry.value, entry.modified, None)?);
                }
            }
            if marked {
                ready.push_back(encoder.bookmark(listing.revision, true));
            }
            (listing.revision, store.watch(&prefix, listing.revision))
        }
        Start::After(revision) => (revision, store.watch(&prefix, revision.min(store.revision()))),
    };
    let events = match opened {
        Ok(events) => Some(events),
        Err(store::Error::Compacted { compacted }) => {
            ready.push_back(failure(&too_old(after, compacted)));
            None
        }
        Err(error) => return Err(storage::unavailable(error)),
    };
    let now = process::instant();
    let stream = frames(Watching {
        server: context.server.clone(),
        encoder,
        ready,
        events,
        after,
        bookmarks: context.query.flag("allowWatchBookmarks"),
        next_bookmark: now + BOOKMARK_INTERVAL,
        ends: now + Duration::from_secs(timeout_s),
        _open: OpenWatch::new(),
    });
    let mut response = respond::json_bytes(200, Bytes::new());
    *response.body_mut() = StreamBody::new(stream).boxed_unsync();
    if context.accept.form == Form::Table {
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json;stream=watch"));
    }
    Ok(response)
}

/// Where the watch starts; 400 for combinations that mean nothing.
fn start(context: &Context<'_>) -> Result<Start, Status> {
    let query = &context.query;
    let revision = query.get("resourceVersion").unwrap_or_default();
    let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
    let rule = query.get("resourceVersionMatch");
    match (initial, rule) {
        (Some(_), rule) if rule != Some("NotOlderThan") => {
            return Err(Status::bad_request(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
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
    let parsed: Revision = match revision {
        "" => Revision(0),
        text => text.parse().map_err(|_| Status::bad_request(format!("invalid resource version: {text:?}")))?,
    };
    let current = context.server.config.store.revision();
    match initial {
        Some(true) if parsed > current => Err(Status::too_large_resource_version(parsed.0, current.0)),
        Some(true) => Ok(Start::State { marked: true }),
        Some(false) if parsed.0 == 0 => Ok(Start::After(current)),
        None if parsed.0 == 0 => Ok(Start::State { marked: false }),
        Some(false) | None => Ok(Start::After(parsed)),
    }
}

fn too_old(after: Revision, compacted: Revision) -> Status {
    Status::expired(format!("too old resource version: {after} ({compacted})"))
}

/// One open watch.
struct Watching {
    server: Arc<Apiserver>,
    encoder: Encoder,
    /// Frames to be sent before the next event is read.
    ready: VecDeque<Bytes>,
    /// `None`: nothing more comes, the watch ends once `ready` is empty.
    events: Option<Watch>,
    /// Events up to here are not sent: the client has them, or asked for a later start.
    after: Revision,
    bookmarks: bool,
    next_bookmark: Instant,
    ends: Instant,
    _open: OpenWatch,
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
            if let Some(chunk) = self.take_ready() {
                return Some(chunk);
            }
            let events = self.events.as_mut()?;
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(Ok(event)) => self.push(&event),
                    Some(Err(store::Error::Lagged)) => {
                        self.finish(Some(failure(&Status::expired("the watch fell too far behind: list again"))));
                    }
                    Some(Err(error)) => self.finish(Some(failure(&storage::unavailable(error)))),
                    None => self.finish(None),
                },
                () = self.server.ending() => self.finish(None),
                () = tokio::time::sleep_until(self.ends) => {
                    let last = if self.bookmarks { events.progress() } else { None };
                    let last = last.map(|revision| self.encoder.bookmark(revision.max(self.after), false));
                    self.finish(last);
                }
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark += BOOKMARK_INTERVAL;
                    if let Some(revision) = events.progress() {
                        let frame = self.encoder.bookmark(revision.max(self.after), false);
                        self.ready.push_back(frame);
                    }
                }
            }
        }
    }

    fn push(&mut self, event: &Event) {
        if event.revision <= self.after {
            return;
        }
        match self.encoder.event(event) {
            Ok(Some(frame)) => self.ready.push_back(frame),
            Ok(None) => {}
            Err(status) => self.finish(Some(failure(&status))),
        }
    }

    fn finish(&mut self, last: Option<Bytes>) {
        self.events = None;
        self.ready.extend(last);
    }

    /// What is ready, joined with the events that wait behind it.
    fn take_ready(&mut self) -> Option<Bytes> {
        let first = self.ready.pop_front()?;
        let mut length = first.len();
        let mut more = Vec::new();
        while length < CHUNK_LIMIT {
            if self.ready.is_empty() {
                match self.events.as_mut().and_then(|events| futures::FutureExt::now_or_never(events.next())) {
                    Some(Some(Ok(event))) => self.push(&event),
                    Some(Some(Err(error))) => self.finish(Some(failure(&match error {
                        store::Error::Lagged => Status::expired("the watch fell too far behind: list again"),
                        error => storage::unavailable(error),
                    }))),
                    Some(None) => self.finish(None),
                    None => break,
                }
                continue;
            }
            let frame = self.ready.pop_front().expect("not empty: checked above");
            length += frame.len();
            more.push(frame);
            if self.events.is_none() && self.ready.is_empty() {
                break;
            }
        }
        if more.is_empty() {
            return Some(first);
        }
        let mut joined = Vec::with_capacity(length);
        joined.extend_from_slice(&first);
        more.iter().for_each(|frame| joined.extend_from_slice(frame));
        Some(joined.into())
    }
}

/// Turns store events into frames.
struct Encoder {
    resource: Arc<Resource>,
    selection: Selection,
    form: Form,
    include: table::Include,
    columns_sent: bool,
}

impl Encoder {
    /// The frame an event becomes for this selection: an object that begins to match is ADDED, one that no longer does
    /// is DELETED with the state it has now, at the event's revision.
    fn event(&mut self, event: &Event) -> Result<Option<Bytes>, Status> {
        let matches =
            |bytes: Option<&Bytes>| bytes.is_some_and(|bytes| self.selection.matches_bytes(&self.resource, bytes));
        let before = matches(event.prev.as_ref().map(|prev| &prev.value));
        let now = matches(event.value.as_ref());
        let kind = match (before, now) {
            (false, false) => return Ok(None),
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        // A deletion shows the last state; a change out of the selection the state before it, as Kubernetes does.
        let (bytes, shared) = match (&event.value, &event.prev) {
            (Some(_), Some(prev)) if kind == "DELETED" => (&prev.value, None),
            (Some(value), _) => (value, Some(event)),
            (None, Some(prev)) => (&prev.value, Some(event)),
            (None, None) => return Ok(None),
        };
        self.object(kind, bytes, event.revision, shared).map(Some)
    }

    /// A frame with one object. `shared`: the event whose served bytes these are.
    fn object(
        &mut self,
        kind: &str,
        bytes: &Bytes,
        revision: Revision,
        shared: Option<&Event>,
    ) -> Result<Bytes, Status> {
        let object = match (self.form, shared) {
            (Form::Object, Some(event)) if self.resource.conversion.is_none() => event.served(storage::served),
            (Form::Object | Form::Metadata, _) => encode::item(&self.resource, self.form, bytes, revision)?,
            (Form::Table, _) => {
                let object = encode::versioned(&self.resource, bytes, revision)?;
                let row = table::row(&self.resource, &object, self.include, process::now());
                self.table(revision, &[row])
            }
        };
        Ok(frame(kind, &object))
    }

    fn bookmark(&mut self, revision: Revision, ends_initial_events: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial_events {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form {
            Form::Table => {
                // What marks the end of the initial events is in the row's object.
                let object =
                    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
                let cells: Vec<Value> = self.resource.columns.iter().map(|_| json!("")).collect();
                self.table(revision, &[json!({"cells": cells, "object": object})])
            }
            Form::Metadata => storage::write(
                &json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}),
            ),
            Form::Object => storage::write(&json!({
                "kind": self.resource.kind, "apiVersion": self.resource.gvr().api_version(), "metadata": metadata,
            })),
        };
        frame("BOOKMARK", &object)
    }

    fn table(&mut self, revision: Revision, rows: &[Value]) -> Bytes {
        let mut out = Vec::new();
        let metadata = json!({"resourceVersion": revision.to_string()});
        table::write(&mut out, &self.resource, !self.columns_sent, &metadata, rows);
        self.columns_sent = true;
        out.into()
    }
}

fn failure(status: &Status) -> Bytes {
    frame("ERROR", &serde_json::to_vec(status).expect("a Status is plain JSON"))
}

fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
    out.into()
}
