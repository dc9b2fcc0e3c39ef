//! The contract between a control loop and whoever runs it. A [`Controller`] decides in a pure function from one
//! [`cache::View`]; the [`Plan`] it returns is data. The [`Queue`] says which key is due, and holds a key back until
//! the View has caught up with the key's own last write. [`Recorder`] turns event records into Event objects.

pub mod controller;
pub mod event;
pub mod plan;
pub mod queue;

pub use controller::Controller;
pub use event::{EventRecord, EventType, EventWrite, Recorder};
pub use plan::{Action, Plan, Preconditions, Propagation, Target, Write, batches};
pub use queue::{Backoff, Outcome, Queue};
