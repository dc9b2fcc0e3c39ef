//! Writes lists piece by piece: entries come from a held snapshot, bytes go out as the client takes them. What a list
//! costs in memory is one piece, however long it is.

use super::{
    encode::{self, Style},
    selection::Selection,
    table,
};
use crate::http::{
    gzip,
    negotiate::{Form, Media, MetaVersion},
    respond::bytes_of,
};
use api::{Gvk, Schema, Status, protobuf};
use bytes::Bytes;
use client::{Body, BodyError};
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;
use registry::Resource;
use serde_json::Value;
use std::sync::Arc;
use store::{Entry, Snapshot};

/// Entries taken from a snapshot at once.
const BATCH: usize = 64;
/// Entries looked at in one turn.
const TURN: usize = 512;
/// Bytes of one piece, more or less.
const PIECE: usize = 64 << 10;

/// Where the entries come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// They match the selection already.
    Picked(std::vec::IntoIter<Entry>),
    /// All that match after a key.
    Held { snapshot: Snapshot, after: Option<String> },
}

impl Source {
    /// The next entries; none at the end.
    pub(crate) fn batch(&mut self) -> Vec<Entry> {
        match self {
            Source::Picked(entries) => entries.take(BATCH).collect(),
            Source::Held { snapshot, after } => {
                let batch = snapshot.page(after.as_deref(), Some(BATCH)).entries;
                if let Some(last) = batch.last() {
                    *after = Some(last.key.to_string());
                }
                batch
            }
        }
    }
}

/// A list that is being written.
pub(crate) struct Writer {
    resource: Arc<Resource>,
    style: Style,
    selection: Selection,
    source: Source,
    /// Taken from the source, not yet written.
    batch: std::vec::IntoIter<Entry>,
    /// Before the first item, then empty.
    head: Vec<u8>,
    written: usize,
    done: bool,
    now: Timestamp,
}

impl Writer {
    /// `metadata` is the list's own.
    pub(crate) fn new(
        resource: Arc<Resource>,
        style: Style,
        selection: Selection,
        source: Source,
        metadata: &Value,
    ) -> Self {
        let json_head = |kind: &str, version: &str| {
            format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},"items":["#).into_bytes()
        };
        let head = match (style.accept.media, style.accept.form) {
            (Media::Protobuf, _) => protobuf::list_head(metadata, style.accept.version == MetaVersion::V1Beta1),
            (_, Form::Table) => table::head(&resource, style, table::Columns::Sent, metadata),
            (_, Form::Metadata) => json_head("PartialObjectMetadataList", style.accept.version.api_version()),
            (_, Form::Object) => json_head(&resource.list_kind, &resource.api_version()),
        };
        Self {
            resource,
            style,
            selection,
            source,
            batch: Vec::new().into_iter(),
            head,
            written: 0,
            done: false,
            now: process::now(),
        }
    }

    /// Appends items to the piece until it is full, the list ends, or enough entries were looked at for one turn.
    fn fill(&mut self, out: &mut Vec<u8>, full: usize) -> Result<(), Status> {
        out.append(&mut self.head);
        let picked = matches!(self.source, Source::Picked(_));
        for _ in 0..TURN {
            if self.done || out.len() >= full {
                break;
            }
            let entry = match self.batch.next() {
                Some(entry) => entry,
                None => {
                    self.batch = self.source.batch().into_iter();
                    let Some(entry) = self.batch.next() else {
                        self.done = true;
                        let json = self.style.accept.media != Media::Protobuf;
                        out.extend_from_slice(if json { b"]}" } else { protobuf::ENVELOPE_TAIL });
                        break;
                    };
                    entry
                }
            };
            if picked || self.selection.matches_bytes(&self.resource, &entry.value) {
                self.item(out, &entry)?;
            }
        }
        Ok(())
    }

    fn item(&mut self, out: &mut Vec<u8>, entry: &Entry) -> Result<(), Status> {
        let (resource, accept) = (&self.resource, self.style.accept);
        if accept.media == Media::Protobuf {
            let object = encode::versioned(resource, &entry.value, entry.modified)?;
            match (accept.form, resource.schema()) {
                (Form::Metadata, _) | (_, None) => {
                    protobuf::partial_list_item(out, &object, accept.version == MetaVersion::V1Beta1);
                }
                (_, Some(schema)) => protobuf::list_item(out, schema, &object),
            }
            return Ok(());
        }
        if self.written > 0 {
            out.push(b',');
        }
        self.written += 1;
        match accept.form {
            Form::Table => {
                let object = encode::versioned(resource, &entry.value, entry.modified)?;
                let row = table::row(resource, &object, self.style, self.now);
                serde_json::to_writer(out, &row).expect("writing to memory does not fail");
                Ok(())
            }
            Form::Object | Form::Metadata => encode::json_into(out, resource, accept, &entry.value, entry.modified),
        }
    }

    /// The list as one piece.
    pub(crate) async fn whole(mut self) -> Result<Bytes, Status> {
        let mut out = Vec::new();
        while !self.done {
            self.fill(&mut out, usize::MAX)?;
            tokio::task::yield_now().await;
        }
        Ok(out.into())
    }

    /// A protobuf list tells its length first: it is written twice, the first time to be measured only.
    pub(crate) async fn measured(mut self) -> Result<Self, Status> {
        let (source, head) = (self.source.clone(), self.head.clone());
        let mut length = 0;
        let mut scratch = Vec::new();
        while !self.done {
            self.fill(&mut scratch, PIECE)?;
            length += scratch.len();
            scratch.clear();
            tokio::task::yield_now().await;
        }
        let mut again = self.enveloped(length - protobuf::ENVELOPE_TAIL.len());
        again.head.extend(head);
        Ok(Self { source, done: false, ..again })
    }

    fn enveloped(mut self, length: usize) -> Self {
        let gvk = match self.style.accept.form {
            Form::Metadata => {
                let version = self.style.accept.version.api_version().trim_start_matches("meta.k8s.io/");
                Gvk::new("meta.k8s.io", version, "PartialObjectMetadataList")
            }
            Form::Object | Form::Table => {
                Gvk::new(&self.resource.group, &self.resource.version, &self.resource.list_kind)
            }
        };
        self.head = protobuf::envelope_head(&gvk, length);
        self
    }
}

/// Whether objects of a resource have a protobuf form.
pub(crate) fn has_protobuf(resource: &Resource) -> bool {
    resource.schema().is_some_and(|schema: Schema| !schema.definition().message.is_empty())
}

/// Answers a list: as a whole if it is short, else as a stream, packed if the client takes that.
pub(crate) async fn respond(mut writer: Writer, packed: bool) -> Result<Response<Body>, Status> {
    let media = HeaderValue::from_static(writer.style.accept.media.name());
    let mut first = Vec::with_capacity(PIECE >> 2);
    while !writer.done && first.len() < gzip::LEAST {
        writer.fill(&mut first, gzip::LEAST)?;
        tokio::task::yield_now().await;
    }
    if writer.done && first.len() < gzip::LEAST {
        return Ok(bytes_of(200, media, first.into()));
    }
    let packer = packed.then(gzip::Packer::new);
    let state = Streaming { first: Some(first), writer, packer };
    let pieces = futures::stream::unfold(state, |mut state| async move {
        let piece = state.next().await?;
        Some((piece.map(Frame::data), state))
    });
    let mut response = bytes_of(200, media, Bytes::new());
    *response.body_mut() = StreamBody::new(pieces).boxed_unsync();
    if packed {
        gzip::mark(&mut response);
    }
    Ok(response)
}

/// The pieces of a list that is sent.
struct Streaming {
    first: Option<Vec<u8>>,
    writer: Writer,
    packer: Option<gzip::Packer>,
}

impl Streaming {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let mut piece = match self.first.take() {
                Some(first) => first,
                None if self.writer.done => return None,
                None => {
                    // Each piece is work; others get their turn between two.
                    tokio::task::yield_now().await;
                    let mut piece = Vec::with_capacity(PIECE + (PIECE >> 2));
                    if let Err(status) = self.writer.fill(&mut piece, PIECE) {
                        tracing::warn!(%status, "a list broke off");
                        self.writer.done = true;
                        return Some(Err(status.into()));
                    }
                    piece
                }
            };
            if let Some(packer) = &mut self.packer {
                piece = packer.pack(&piece, self.writer.done);
            }
            if !piece.is_empty() {
                return Some(Ok(piece.into()));
            }
        }
    }
}
