//! Objects into answers, in the form and medium the client accepts.

use super::{Context, table};
use crate::{
    http::{
        negotiate::{Accept, Form, Media, MetaVersion},
        respond,
    },
    storage::{self, Stored},
};
use api::{Revision, Status, meta, protobuf};
use bytes::Bytes;
use client::Body;
use http::Response;
use registry::Resource;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

/// How one request wants its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) accept: Accept,
    pub(crate) include: table::Include,
}

impl Style {
    /// What the request asks for; 400 for an `includeObject` that means nothing.
    pub(crate) fn of(context: &Context<'_>) -> Result<Self, Status> {
        Ok(Self { accept: context.accept, include: table::Include::of(&context.query)? })
    }
}

/// Answers one object.
pub(crate) fn object(context: &Context<'_>, code: u16, stored: &Stored) -> Result<Response<Body>, Status> {
    let bytes = match context.accept.form {
        Form::Object => stored.served(),
        Form::Metadata => storage::write(&partial(&stored.versioned(), context.accept.version)),
        Form::Table => {
            let style = Style::of(context)?;
            let object = stored.versioned();
            let row = table::row(&context.resource, &object, style, process::now());
            let metadata = json!({"resourceVersion": meta::resource_version(&object)});
            table::write(&context.resource, style, table::Columns::Sent, &metadata, &[row]).into()
        }
    };
    media(context, code, bytes)
}

/// Answers JSON bytes in the medium that is wanted.
pub(crate) fn media(context: &Context<'_>, code: u16, bytes: Bytes) -> Result<Response<Body>, Status> {
    respond::in_media(code, context.accept.media, bytes)
}

/// The object's metadata alone.
pub(crate) fn partial(object: &Value, version: MetaVersion) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": version.api_version(),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| Value::Object(Map::new())),
    })
}

/// The part of stored bytes that metadata answers need.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// One object's stored bytes as JSON in an object or metadata form, with the resourceVersion, appended.
pub(crate) fn json_into(
    out: &mut Vec<u8>,
    resource: &Resource,
    accept: Accept,
    bytes: &Bytes,
    revision: Revision,
) -> Result<(), Status> {
    let bytes = storage::view(resource, bytes)?;
    match accept.form {
        Form::Object | Form::Table => meta::splice_revision_into(out, &bytes, revision),
        Form::Metadata => {
            let head: Head<'_> = serde_json::from_slice(&bytes).map_err(Status::internal)?;
            let metadata = head.metadata.map_or("{}", RawValue::get);
            let version = accept.version.api_version();
            let text = format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"{version}","metadata":{metadata}}}"#);
            meta::splice_revision_into(out, text.as_bytes(), revision);
        }
    }
    Ok(())
}

/// One object's stored bytes as a protobuf body, with its envelope.
pub(crate) fn protobuf_body(
    resource: &Resource,
    accept: Accept,
    bytes: &Bytes,
    revision: Revision,
) -> Result<Vec<u8>, Status> {
    let object = versioned(resource, bytes, revision)?;
    body_of(&object, accept)
}

/// A value as a body of its own.
pub(crate) fn body_of(object: &Value, accept: Accept) -> Result<Vec<u8>, Status> {
    match (accept.media, accept.form) {
        (Media::Protobuf, Form::Metadata) => {
            Ok(protobuf::encode(&partial(object, accept.version)).map_err(Status::internal)?)
        }
        (Media::Protobuf, Form::Object | Form::Table) => protobuf::encode(object).map_err(Status::internal),
        (Media::Json | Media::Yaml, _) => Ok(serde_json::to_vec(object).expect("a JSON value is writable")),
    }
}

/// Stored bytes as a value with its resourceVersion.
pub(crate) fn versioned(resource: &Resource, bytes: &Bytes, revision: Revision) -> Result<Value, Status> {
    Ok(Stored::new(resource, bytes, revision)?.versioned())
}

/// Answers a list of objects that are not in the store.
pub(crate) fn values(context: &Context<'_>, objects: &[Value], revision: Revision) -> Result<Response<Body>, Status> {
    let metadata = json!({"resourceVersion": revision.to_string()});
    let list = |kind: &str, version: &str, items: Vec<Value>| {
        storage::write(&json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}))
    };
    let (resource, version) = (&context.resource, context.accept.version);
    let bytes = match context.accept.form {
        Form::Object => list(&resource.list_kind, &resource.api_version(), objects.to_vec()),
        Form::Metadata => {
            let items = objects.iter().map(|object| partial(object, version)).collect();
            list("PartialObjectMetadataList", version.api_version(), items)
        }
        Form::Table => {
            let (style, now) = (Style::of(context)?, process::now());
            let rows: Vec<Value> = objects.iter().map(|object| table::row(resource, object, style, now)).collect();
            table::write(resource, style, table::Columns::Sent, &metadata, &rows).into()
        }
    };
    media(context, 200, bytes)
}
