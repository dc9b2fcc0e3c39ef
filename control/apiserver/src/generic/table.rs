//! Server-side tables: columns and cells come from the registry.

use super::encode::{Style, partial};
use crate::http::query::Query;
use api::Status;
use jiff::Timestamp;
use registry::Resource;
use serde_json::{Value, json};

/// What each row carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

/// Watches send the columns with their first event only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    Sent,
    Left,
}

impl Include {
    /// `includeObject`; Metadata by default.
    pub(crate) fn of(query: &Query) -> Result<Self, Status> {
        match query.get("includeObject") {
            None | Some("Metadata") => Ok(Include::Metadata),
            Some("None") => Ok(Include::None),
            Some("Object") => Ok(Include::Object),
            Some(other) => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
        }
    }
}

/// One row. `object` carries its resourceVersion.
pub(crate) fn row(resource: &Resource, object: &Value, style: Style, now: Timestamp) -> Value {
    let shown = match style.include {
        Include::None => Value::Null,
        Include::Metadata => partial(object, style.accept.version),
        Include::Object => object.clone(),
    };
    json!({"cells": resource.strategy.row(object, now), "object": shown})
}

/// The table up to its first row.
pub(crate) fn head(resource: &Resource, style: Style, columns: Columns, metadata: &Value) -> Vec<u8> {
    let column = |column: &registry::Column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    };
    let columns: Value = match columns {
        Columns::Sent => resource.columns.iter().map(column).collect(),
        Columns::Left => Value::Array(Vec::new()),
    };
    let version = style.accept.version.api_version();
    format!(r#"{{"kind":"Table","apiVersion":"{version}","metadata":{metadata},"columnDefinitions":{columns},"rows":["#)
        .into_bytes()
}

/// A whole table.
pub(crate) fn write(resource: &Resource, style: Style, columns: Columns, metadata: &Value, rows: &[Value]) -> Vec<u8> {
    let mut out = head(resource, style, columns, metadata);
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut out, row).expect("writing to memory does not fail");
    }
    out.extend_from_slice(b"]}");
    out
}
