//! Store events into frames, for one watch.

use super::shared::{Change, Recent};
use crate::{
    generic::{
        encode::{self, Style},
        selection::{Facts, Selection},
        table,
    },
    http::negotiate::{Form, Media},
    storage,
};
use api::{Revision, Status, protobuf};
use bytes::Bytes;
use registry::Resource;
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Entry, Event};

/// Turns store events into frames.
pub(super) struct Encoder {
    resource: Arc<Resource>,
    selection: Selection,
    style: Style,
    columns: table::Columns,
}

impl Encoder {
    pub(super) fn new(resource: Arc<Resource>, selection: Selection, style: Style) -> Self {
        Self { resource, selection, style, columns: table::Columns::Sent }
    }

    /// The frame an event becomes for this selection: an object that begins to match is ADDED, one that no longer does
    /// is DELETED with the state it had, at the event's revision.
    pub(super) fn event(&mut self, recent: &Recent, event: &Event) -> Result<Option<Bytes>, Status> {
        let rendered = recent.of(event, &self.resource);
        let (before, now) = if self.selection.is_everything() {
            (event.prev.is_some(), event.value.is_some())
        } else {
            let matches =
                |facts: Option<&Facts>| facts.is_some_and(|facts| self.selection.matches_facts(&self.resource, facts));
            (matches(rendered.before(event)), matches(rendered.now(event)))
        };
        let change = match (before, now) {
            (false, false) => return Ok(None),
            (false, true) => Change::Added,
            (true, true) => Change::Modified,
            (true, false) if event.value.is_none() => Change::Deleted,
            (true, false) => Change::Left,
        };
        let (style, columns) = (self.style, self.columns);
        let frame = rendered.frame((style, columns, change), || {
            // A deletion shows the last state; a change out of the selection the state before it.
            let bytes = match change {
                Change::Added | Change::Modified => event.value.as_ref(),
                Change::Deleted | Change::Left => event.prev.as_ref().map(|prev| &prev.value),
            };
            let bytes = bytes.expect("a change has the state it shows");
            self.render(change.name(), bytes, event.revision)
        })?;
        self.columns = table::Columns::Left;
        Ok(Some(frame))
    }

    /// The ADDED frame of an object that is there at the start.
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<Option<Bytes>, Status> {
        if !self.selection.matches_bytes(&self.resource, &entry.value) {
            return Ok(None);
        }
        let frame = self.render("ADDED", &entry.value, entry.modified)?;
        self.columns = table::Columns::Left;
        Ok(Some(frame))
    }

    fn render(&self, kind: &str, bytes: &Bytes, revision: Revision) -> Result<Bytes, Status> {
        let accept = self.style.accept;
        match (accept.media, accept.form) {
            (Media::Protobuf, _) => {
                let body = encode::protobuf_body(&self.resource, accept, bytes, revision)?;
                Ok(protobuf::watch_frame(kind, &body).into())
            }
            (_, Form::Table) => {
                let object = encode::versioned(&self.resource, bytes, revision)?;
                let row = table::row(&self.resource, &object, self.style, process::now());
                Ok(line(kind, bytes.len(), |out| out.extend(self.table(revision, &[row]))))
            }
            (_, Form::Object | Form::Metadata) => {
                let mut problem = None;
                let frame = line(kind, bytes.len(), |out| {
                    problem = encode::json_into(out, &self.resource, accept, bytes, revision).err();
                });
                problem.map_or(Ok(frame), Err)
            }
        }
    }

    pub(super) fn bookmark(&mut self, revision: Revision, ends_initial_events: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial_events {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let version = self.style.accept.version.api_version();
        let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": metadata});
        let object = match self.style.accept.form {
            Form::Table => {
                // What marks the end of the initial events is in the row's object.
                let cells: Vec<Value> = self.resource.columns.iter().map(|_| json!("")).collect();
                let table = self.table(revision, &[json!({"cells": cells, "object": partial})]);
                self.columns = table::Columns::Left;
                return line("BOOKMARK", 0, |out| out.extend(table));
            }
            Form::Metadata => partial,
            Form::Object => json!({
                "kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata,
            }),
        };
        self.value("BOOKMARK", &object)
    }

    pub(super) fn failure(&self, status: &Status) -> Bytes {
        let value: Value = serde_json::to_value(status).expect("a Status is plain JSON");
        self.value("ERROR", &value)
    }

    fn value(&self, kind: &str, object: &Value) -> Bytes {
        match (self.style.accept.media, protobuf::encode(object)) {
            (Media::Protobuf, Ok(body)) => protobuf::watch_frame(kind, &body).into(),
            (Media::Protobuf | Media::Json | Media::Yaml, _) => {
                line(kind, 0, |out| out.extend_from_slice(&storage::write(object)))
            }
        }
    }

    fn table(&self, revision: Revision, rows: &[Value]) -> Vec<u8> {
        let metadata = json!({"resourceVersion": revision.to_string()});
        table::write(&self.resource, self.style, self.columns, &metadata, rows)
    }
}

/// One line of JSON.
fn line(kind: &str, room: usize, object: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(room + 96);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    object(&mut out);
    out.extend_from_slice(b"}\n");
    out.into()
}
