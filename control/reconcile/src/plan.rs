//! A plan: writes in order, as data.

use std::fmt;
use std::ops::Range;

use api::{Gvr, Key};
use cache::{Cached, Kind, key_of};
use jiff::Timestamp;
use serde_json::Value;

use crate::EventRecord;

/// What one reconcile of one key asks for. Writes are executed in order. When one fails, the rest is left out except
/// [`Action::UpdateStatus`] (a status says what was observed, so it is true whether or not the writes succeed), and
/// the key is tried again with backoff.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What to write, in order.
    pub writes: Vec<Write>,
    /// Look at the key again at this time even if nothing changes.
    pub requeue_at: Option<Timestamp>,
    /// What to record once every write has succeeded.
    pub events: Vec<EventRecord>,
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which object or collection.
    pub target: Target,
    /// What to do with it.
    pub action: Action,
    /// Recorded when the write succeeds; `{}` in the message becomes the object's name.
    pub on_success: Option<EventRecord>,
    /// Recorded when the write fails; `{}` in the message becomes the error.
    pub on_failure: Option<EventRecord>,
}

/// Which object a write concerns. The name is empty for a collection and for a create with `generateName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Group, version, resource.
    pub gvr: Gvr,
    /// Namespace and name.
    pub key: Key,
}

/// What a write does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates this object.
    Create(Value),
    /// Replaces the object; the body's resourceVersion must be the current one.
    Update(Value),
    /// Replaces the object's status; the body's resourceVersion must be the current one.
    UpdateStatus(Value),
    /// JSON merge patch. A uid or resourceVersion in the body's metadata is a precondition.
    Patch(Value),
    /// JSON merge patch of the status.
    PatchStatus(Value),
    /// Deletes the object.
    Delete(Preconditions),
    /// Deletes every object of this resource in the namespace.
    DeleteCollection,
    /// Removes a namespace's `kubernetes` finalizer, after a live look has found nothing left of these resources in it.
    Finalize {
        /// The namespace without the finalizer.
        namespace: Value,
        /// What must be gone.
        gone: Vec<Gvr>,
    },
}

/// Under which conditions, and how, an object is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// The object must have this uid.
    pub uid: Option<String>,
    /// The object must be at this resourceVersion.
    pub resource_version: Option<String>,
    /// Grace period in seconds; `None` leaves it to the object.
    pub grace_seconds: Option<i64>,
    /// What becomes of dependents; `None` leaves it to the server.
    pub propagation: Option<Propagation>,
}

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The garbage collector deletes them afterwards.
    Background,
    /// The garbage collector deletes them first.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// The word in DeleteOptions.
    pub fn as_str(self) -> &'static str {
        match self {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        }
    }
}

impl Plan {
    /// Nothing to do.
    pub fn none() -> Plan {
        Plan::default()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Asks for another look no later than `at`.
    pub fn requeue(&mut self, at: Timestamp) {
        self.requeue_at = Some(self.requeue_at.map_or(at, |known| known.min(at)));
    }
}

impl Write {
    fn new(gvr: Gvr, key: Key, action: Action) -> Write {
        Write { target: Target { gvr, key }, action, on_success: None, on_failure: None }
    }

    /// Any action on any resource.
    pub fn at(gvr: &Gvr, key: &Key, action: Action) -> Write {
        Write::new(gvr.clone(), key.clone(), action)
    }

    /// Creates an object.
    pub fn create<T: Cached>(object: &T) -> Write {
        Write::new(T::ROW.gvr(), key_of(object.metadata()), Action::Create(object.to_value()))
    }

    /// Replaces an object at the resourceVersion it carries.
    pub fn update<T: Cached>(object: &T) -> Write {
        Write::new(T::ROW.gvr(), key_of(object.metadata()), Action::Update(object.to_value()))
    }

    /// Replaces an object's status at the resourceVersion it carries.
    pub fn update_status<T: Cached>(object: &T) -> Write {
        Write::new(T::ROW.gvr(), key_of(object.metadata()), Action::UpdateStatus(object.to_value()))
    }

    /// Merge-patches an object.
    pub fn patch(kind: Kind, key: &Key, body: Value) -> Write {
        Write::new(kind.gvr(), key.clone(), Action::Patch(body))
    }

    /// Merge-patches an object's status.
    pub fn patch_status(kind: Kind, key: &Key, body: Value) -> Write {
        Write::new(kind.gvr(), key.clone(), Action::PatchStatus(body))
    }

    /// Deletes an object.
    pub fn delete(kind: Kind, key: &Key, preconditions: Preconditions) -> Write {
        Write::new(kind.gvr(), key.clone(), Action::Delete(preconditions))
    }

    /// Deletes every object of a resource in a namespace.
    pub fn delete_collection(gvr: Gvr, namespace: &str) -> Write {
        let key = Key { namespace: namespace.to_owned(), name: String::new() };
        Write::new(gvr, key, Action::DeleteCollection)
    }

    /// Finalizes a namespace in which nothing of `gone` is left.
    pub fn finalize(namespace: &k8s_openapi::api::core::v1::Namespace, gone: Vec<Gvr>) -> Write {
        let key = key_of(&namespace.metadata);
        Write::new(Kind::Namespace.gvr(), key, Action::Finalize { namespace: namespace.to_value(), gone })
    }

    /// Records `event` when the write succeeds.
    pub fn on_success(mut self, event: EventRecord) -> Write {
        self.on_success = Some(event);
        self
    }

    /// Records `event` when the write fails.
    pub fn on_failure(mut self, event: EventRecord) -> Write {
        self.on_failure = Some(event);
        self
    }
}

/// The largest number of writes of a plan that are in flight at once.
pub const MAX_BATCH: usize = 64;

/// Cuts a plan's writes into batches; the writes of a batch may go out together, batches go one after the other.
/// Creates of one resource start slowly (1, 2, 4 ...), so that a mistake which fails every create (a quota, a bad
/// template) costs few requests; deletes of one resource go together; everything else goes alone.
pub fn batches(writes: &[Write]) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut start = 0;
    let mut slow_start = 1;
    while start < writes.len() {
        let run = writes[start..].iter().take_while(|write| same_run(&writes[start], write)).count();
        let continues = start > 0 && same_run(&writes[start - 1], &writes[start]);
        slow_start = if continues { slow_start * 2 } else { 1 };
        let size = match writes[start].action {
            Action::Create(_) => run.min(slow_start),
            Action::Delete(_) => run,
            Action::Update(_)
            | Action::UpdateStatus(_)
            | Action::Patch(_)
            | Action::PatchStatus(_)
            | Action::DeleteCollection
            | Action::Finalize { .. } => 1,
        }
        .clamp(1, MAX_BATCH);
        batches.push(start..start + size);
        start += size;
    }
    batches
}

fn same_run(a: &Write, b: &Write) -> bool {
    let same_action = matches!(
        (&a.action, &b.action),
        (Action::Create(_), Action::Create(_)) | (Action::Delete(_), Action::Delete(_))
    );
    same_action && a.target.gvr == b.target.gvr
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = &self.target.gvr.resource;
        let verb = match &self.action {
            Action::Create(_) => "create",
            Action::Update(_) => "update",
            Action::UpdateStatus(_) => "status",
            Action::Patch(_) => "patch",
            Action::PatchStatus(_) => "patch status",
            Action::Delete(_) => "delete",
            Action::DeleteCollection => "delete all",
            Action::Finalize { .. } => "finalize",
        };
        match &self.action {
            Action::Create(body) if self.target.key.name.is_empty() => {
                let prefix = body.pointer("/metadata/generateName").and_then(Value::as_str).unwrap_or_default();
                write!(f, "{verb} {resource} {}{prefix}*", self.target.key)
            }
            _ => write!(f, "{verb} {resource} {}", self.target.key),
        }
    }
}

#[cfg(test)]
mod tests;
