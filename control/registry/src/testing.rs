//! What the data tests share.

mod generated;
mod kinds;

use api::{Gvk, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Resource, find_kind, metadata};

/// The moment tests run at.
pub(crate) fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().expect("a time")
}

pub(crate) fn resource(object: &Value) -> &'static std::sync::Arc<Resource> {
    let gvk: Gvk = meta::gvk(object);
    find_kind(&gvk).expect("a kind of the table")
}

/// What a create makes of an object.
pub(crate) fn created(mut object: Value) -> Value {
    let resource = resource(&object);
    api::schema::prune(&resource.schema().expect("built in"), &mut object);
    resource.strategy.default(&mut object);
    resource.strategy.prepare_create(&mut object);
    object
}

/// The errors of a create, one a line.
pub(crate) fn create_errors(object: Value) -> String {
    let object = created(object);
    lines(metadata::validate(resource(&object), &object))
}

/// What an update makes of an object, or its errors.
pub(crate) fn updated(old: &Value, change: impl FnOnce(&mut Value)) -> (Value, String) {
    let mut new = old.clone();
    change(&mut new);
    let resource = resource(old);
    metadata::carry_over(&mut new, old);
    resource.strategy.default(&mut new);
    resource.strategy.prepare_update(&mut new, old);
    let errors = lines(metadata::validate_update(resource, &new, old));
    (new, errors)
}

pub(crate) fn lines(errors: Vec<api::FieldError>) -> String {
    errors.iter().map(|e| format!("{e}\n")).collect()
}

/// A table row, cells apart by ` | `.
pub(crate) fn row(object: &Value) -> String {
    let resource = resource(object);
    let cells = resource.strategy.row(object, now());
    assert_eq!(cells.len(), resource.columns.len(), "as many cells as columns");
    let texts: Vec<String> = cells.iter().map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned)).collect();
    texts.join(" | ")
}
