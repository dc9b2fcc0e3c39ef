//! Who set which field: `metadata.managedFields`, its upkeep by every write, and server-side apply, which decides by
//! it (KEP-555). Works over any [`Shape`]; the clock's text is an argument.

mod apply;
mod check;
mod diff;
mod element;
mod entry;
mod merge;
mod renew;
mod scale;
mod set;
#[cfg(test)]
mod tests;
mod update;
mod versions;

pub use apply::{ApplyError, apply};
pub use check::check;
pub use entry::{Operation, same_but_times};
pub use scale::{Replicas, from_scale, to_scale};
pub use set::FieldSet;
pub use update::update;
pub use versions::{Alike, Versions, apply_alike};

/// Managers of updates in one object; the oldest beyond this share one entry.
const MAX_UPDATE_MANAGERS: usize = 10;
/// The manager of that entry.
const OLD_UPDATES: &str = "ancient-changes";
/// The manager of what was there before the first apply of an object without an entry.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The annotation of client-side apply.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    pub manager: &'a str,
    /// Of the object as the request addresses it.
    pub api_version: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339.
    pub now: &'a str,
}

/// Fields that the server sets, which nobody owns: at the root, and below `metadata`.
const UNOWNED: [&str; 2] = ["apiVersion", "kind"];
const UNOWNED_METADATA: [&str; 9] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];
