//! Who owns an object's fields, as each write changes it: the use of [`api::managed`] by the verbs.

use super::{
    conform::conform,
    decode::Decoded,
    write::{FieldValidation, Via, Write},
};
use crate::{Apiserver, custom::convert, kinds::Snapshot};
use api::managed::{self, FieldSet, Versions, Writer};
use api::{Status, meta, shape::Shape};
use registry::Resource;
use serde_json::Value;
use std::sync::Arc;

/// How a write comes to its `managedFields`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owners<'a> {
    /// From what it changes.
    Tracked,
    /// The object brings them: whoever writes has worked them out.
    Given,
    /// The write applies a manifest to the state that it finds.
    Applied { manifest: &'a Value, force: bool },
}

/// Who the server's own writes belong to.
pub(crate) const SERVER: &str = "kube-apiserver";

/// Brings the owners of `new` up to date.
pub(crate) async fn track(write: &Write<'_>, old: Option<&Value>, new: &mut Value) {
    match write.owners {
        Owners::Given | Owners::Applied { .. } => {}
        Owners::Tracked => {
            let now = api::time::format(process::now());
            let version = api_version(write);
            let writer = Writer { now: &now, ..writer(write, &version) };
            // A create does not set the status.
            let wiped = old.is_none() && write.resource.strategy.has_status();
            let status = if wiped { meta::object_mut(new).remove("status") } else { None };
            managed::update(old, new, &Served::of(write), &writer).await;
            if let Some(status) = status {
                new["status"] = status;
            }
        }
    }
}

/// The state after an apply, with its owners.
pub(crate) async fn applied(
    write: &Write<'_>,
    manifest: &Value,
    live: Option<&Value>,
    force: bool,
) -> Result<Value, Status> {
    let now = api::time::format(process::now());
    let version = api_version(write);
    let writer = Writer { now: &now, ..writer(write, &version) };
    let ignored = ignored(write, manifest, live);
    let result = managed::apply(live, manifest, &Served::of(write), &writer, &ignored, force).await?;
    // Nulls, which a manifest may apply, are absent from typed objects.
    conform(write.resource, Decoded::of(result), FieldValidation::Ignore, &mut Vec::new())
}

/// The versions of a kind that are served now.
struct Served<'a> {
    server: &'a Apiserver,
    resource: &'a Arc<Resource>,
    kinds: Arc<Snapshot>,
}

impl<'a> Served<'a> {
    fn of(write: &Write<'a>) -> Self {
        Self { server: write.server, resource: write.resource, kinds: write.server.kinds.snapshot() }
    }

    fn version(&self, api_version: &str) -> Option<&Arc<Resource>> {
        let same = |one: &&Arc<Resource>| one.storage == self.resource.storage && one.api_version() == api_version;
        Some(self.resource).filter(same).or_else(|| self.kinds.resources.iter().find(same))
    }
}

impl Versions for Served<'_> {
    type Error = Status;

    fn shape(&self, api_version: &str) -> Option<&dyn Shape> {
        self.version(api_version).map(|resource| resource.shape())
    }

    fn are_fixed(&self) -> bool {
        !self.resource.is_custom()
    }

    async fn convert(&self, object: Value, api_version: &str) -> Result<Value, Status> {
        let from = object["apiVersion"].as_str().and_then(|from| self.version(from));
        match (from, self.version(api_version)) {
            (Some(from), Some(to)) => convert::between(self.server, from, to, object).await,
            _ => Err(Status::internal(format_args!("there is no version {api_version:?}"))),
        }
    }
}

/// The writer of a write, without the time.
fn writer<'a>(write: &Write<'a>, api_version: &'a str) -> Writer<'a> {
    Writer { manager: write.manager, api_version, subresource: write.subresource, now: "" }
}

fn api_version(write: &Write<'_>) -> String {
    write.resource.gvr().api_version()
}

/// The fields of an applied object that a write does not reach: the status of one to the object, all but the status of
/// one to the status.
fn ignored(write: &Write<'_>, applied: &Value, live: Option<&Value>) -> FieldSet {
    match write.via {
        Via::Object if write.resource.strategy.has_status() => FieldSet::fields(&["status"]),
        Via::Object | Via::Scale | Via::Server | Via::Part(_) => FieldSet::default(),
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
