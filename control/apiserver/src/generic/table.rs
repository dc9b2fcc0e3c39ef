//! Server-side tables: columns and cells come from the registry.

use super::encode;
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
pub(crate) fn row(resource: &Resource, object: &Value, include: Include, now: Timestamp) -> Value {
    let mut row = json!({"cells": resource.strategy.row(object, now)});
    match include {
        Include::None => row["object"] = Value::Null,
        Include::Metadata => row["object"] = encode::partial(object),
        Include::Object => row["object"] = object.clone(),
    }
    row
}

/// Writes a whole table. Watches send the columns with their first event only.
pub(crate) fn write(out: &mut Vec<u8>, resource: &Resource, with_columns: bool, metadata: &Value, rows: &[Value]) {
    let columns: Vec<Value> = if with_columns {
        let column = |column: &registry::Column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        };
        resource.columns.iter().map(column).collect()
    } else {
        Vec::new()
    };
    let table = json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    });
    serde_json::to_writer(out, &table).expect("writing to memory does not fail");
}
