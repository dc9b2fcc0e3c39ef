//! Objects into answers, in the form and medium the client accepts.

use super::{Context, table};
use crate::{
    http::{
        negotiate::{Form, Media},
        respond,
    },
    storage::{self, Stored},
};
use api::{Revision, Status};
use bytes::Bytes;
use client::Body;
use http::{HeaderValue, Response};
use registry::Resource;
use serde_json::{Map, Value, json};

/// Answers one object.
pub(crate) fn object(context: &Context<'_>, code: u16, stored: &Stored) -> Result<Response<Body>, Status> {
    let bytes = match context.accept.form {
        Form::Object => stored.served(),
        Form::Metadata => storage::write(&partial(&stored.versioned())),
        Form::Table => {
            let include = table::Include::of(&context.query)?;
            let mut out = Vec::new();
            let row = table::row(&context.resource, &stored.versioned(), include, process::now());
            table::write(
                &mut out,
                &context.resource,
                true,
                &json!({"resourceVersion": stored.revision.to_string()}),
                &[row],
            );
            out.into()
        }
    };
    media(context, code, bytes)
}

/// Answers JSON bytes, as YAML if that is wanted.
pub(crate) fn media(context: &Context<'_>, code: u16, bytes: Bytes) -> Result<Response<Body>, Status> {
    match context.accept.media {
        Media::Json => Ok(respond::json_bytes(code, bytes)),
        Media::Yaml => {
            let value: Value = storage::parse(&bytes)?;
            let text = serde_saphyr::to_string(&value).map_err(Status::internal)?;
            Ok(respond::bytes_of(code, HeaderValue::from_static("application/yaml"), text.into()))
        }
    }
}

/// The object's metadata alone.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| Value::Object(Map::new())),
    })
}

/// One object's stored bytes in a form, for lists and watches.
pub(crate) fn item(resource: &Resource, form: Form, bytes: &Bytes, revision: Revision) -> Result<Bytes, Status> {
    match form {
        Form::Object => Ok(storage::served(&storage::view(resource, bytes)?, revision)),
        Form::Metadata => Ok(storage::write(&partial(&versioned(resource, bytes, revision)?))),
        Form::Table => {
            let object = versioned(resource, bytes, revision)?;
            Ok(storage::write(&table::row(resource, &object, table::Include::Metadata, process::now())))
        }
    }
}

/// Stored bytes as a value with its resourceVersion.
pub(crate) fn versioned(resource: &Resource, bytes: &Bytes, revision: Revision) -> Result<Value, Status> {
    Ok(Stored::new(resource, bytes, revision)?.versioned())
}
