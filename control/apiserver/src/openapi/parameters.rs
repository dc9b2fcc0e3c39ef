//! Parameters of operations, in both forms.

use super::schemas::Dialect;
use api::{
    Gvk, Schema,
    schema::{Body, Scalar, Type},
};
use serde_json::{Value, json};

/// Options in the query, by action.
pub(super) fn options(action: &str) -> &'static [&'static str] {
    match action {
        "list" => &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ],
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "delete" => &[
            "dryRun",
            "gracePeriodSeconds",
            "ignoreStoreReadErrorWithClusterBreakingPotential",
            "orphanDependents",
            "propagationPolicy",
        ],
        "deletecollection" => &[
            "continue",
            "dryRun",
            "fieldSelector",
            "gracePeriodSeconds",
            "ignoreStoreReadErrorWithClusterBreakingPotential",
            "labelSelector",
            "limit",
            "orphanDependents",
            "propagationPolicy",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
        ],
        _ => &[],
    }
}

/// One parameter of the query.
pub(super) fn query(name: &str, dialect: Dialect) -> Value {
    let kind = match name {
        "allowWatchBookmarks"
        | "force"
        | "ignoreStoreReadErrorWithClusterBreakingPotential"
        | "orphanDependents"
        | "sendInitialEvents"
        | "watch" => "boolean",
        "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    };
    parameter(name, "query", kind, dialect)
}

/// One part of the path.
pub(super) fn path(name: &str, dialect: Dialect) -> Value {
    let mut out = parameter(name, "path", "string", dialect);
    out["required"] = json!(true);
    out
}

fn parameter(name: &str, place: &str, kind: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::V2 => json!({"name": name, "in": place, "type": kind, "uniqueItems": true}),
        Dialect::V3 => json!({"name": name, "in": place, "schema": {"type": kind, "uniqueItems": true}}),
    }
}

/// The fields of an options kind (`PodExecOptions`) as parameters of the query.
pub(super) fn of_kind(kind: &str, dialect: Dialect) -> Vec<Value> {
    let Some(schema) = Schema::for_kind(&Gvk::new("", "v1", kind)) else { return Vec::new() };
    let Body::Object(fields) = &schema.definition().body else { return Vec::new() };
    fields
        .iter()
        .filter(|field| !matches!(field.name, "apiVersion" | "kind"))
        .map(|field| {
            let kind = match field.kind {
                Type::Scalar(Scalar::Boolean) => "boolean",
                Type::Scalar(Scalar::Int32 | Scalar::Int64) => "integer",
                _ => "string",
            };
            parameter(field.name, "query", kind, dialect)
        })
        .collect()
}
