//! Who owns an object's fields, as each write changes it: the use of [`api::managed`] by the verbs.

use super::write::{Via, Write};
use api::managed::{self, FieldSet, Writer};
use api::meta;
use serde_json::Value;

/// How a write comes to its `managedFields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// From what it changes.
    Tracked,
    /// The object brings them: an apply has worked them out.
    Given,
}

/// Who the server's own writes belong to.
pub(crate) const SERVER: &str = "kube-apiserver";

/// Brings the owners of `new` up to date.
pub(crate) fn track(write: &Write<'_>, old: Option<&Value>, new: &mut Value) {
    match write.owners {
        Owners::Given => {}
        Owners::Tracked => {
            let now = api::time::format(process::now());
            let version = api_version(write);
            let writer = Writer { now: &now, ..writer(write, &version) };
            // A create does not set the status.
            let wiped = old.is_none() && write.resource.strategy.has_status();
            let status = if wiped { meta::object_mut(new).remove("status") } else { None };
            managed::update(old, new, write.resource.shape(), &writer);
            if let Some(status) = status {
                new["status"] = status;
            }
        }
    }
}

/// The writer of a write, without the time.
pub(crate) fn writer<'a>(write: &Write<'a>, api_version: &'a str) -> Writer<'a> {
    Writer { manager: write.manager, api_version, subresource: write.subresource, now: "" }
}

pub(crate) fn api_version(write: &Write<'_>) -> String {
    write.resource.gvr().api_version()
}

/// The fields of an applied object that a write does not reach: the status of one to the object, all but the status of
/// one to the status.
pub(crate) fn ignored(write: &Write<'_>, applied: &Value, live: Option<&Value>) -> FieldSet {
    match write.via {
        Via::Object if write.resource.strategy.has_status() => FieldSet::fields(&["status"]),
        Via::Object | Via::Server => FieldSet::default(),
        Via::Status | Via::Approval => {
            let objects = [Some(applied), live].into_iter().flatten().filter_map(Value::as_object);
            let names: Vec<&str> = objects
                .flat_map(|object| object.keys())
                .map(String::as_str)
                .filter(|name| !matches!(*name, "apiVersion" | "kind" | "metadata" | "status"))
                .collect();
            FieldSet::fields(&names)
        }
    }
}
