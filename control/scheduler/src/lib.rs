//! The scheduler: which node a pod goes to, decided in one pure function from a snapshot of nodes and their load.
//!
//! [`schedule`] filters (which nodes can take the pod, and why the others cannot) and scores (which of them it suits
//! best). The [`Snapshot`] follows the View change by change and knows the pods that are assumed: bound by us, not yet
//! seen in the View. The [`Queue`] says which pod is next.

pub mod affinity;
pub mod decide;
pub mod filter;
pub mod queue;
pub mod resources;
pub mod score;
pub mod snapshot;

pub use decide::{Decision, Profile, schedule};
pub use queue::Queue;
pub use resources::Resources;
pub use snapshot::{NodeLoad, Snapshot};

/// The scheduler that pods ask for if they ask for none.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

#[cfg(test)]
mod tests;
