//! The life of one pod on its node, as a pure state machine.
//!
//! [`step`] takes the state, one event and the time, and returns the next state with the actions to carry out; the
//! node daemon executes the actions and reports what came of them as further events. Nothing here does I/O, reads a
//! clock or spawns: the same events at the same times always give the same actions.
//!
//! Beside the machine stand the pure parts of a kubelet: environment resolution ([`env`]), volume plans and their
//! file contents ([`volume`]), mounts ([`mount`]), node admission ([`admit`]), QoS ([`qos`]) and the reported status
//! ([`status`]).

pub mod action;
pub mod admit;
pub mod backoff;
pub mod env;
pub mod event;
pub mod lifecycle;
pub mod mount;
pub mod probe;
pub mod qos;
pub mod recover;
pub mod resources;
pub mod spec;
pub mod state;
pub mod status;
mod step;
pub mod volume;

pub use action::{Action, Note, NoteKind, ProbeKind};
pub use event::{Event, Exit, ImageFailure, Observed, ObservedContainer, ObservedSandbox, Phase};
pub use lifecycle::{Life, Lifecycle};
pub use spec::Role;
pub use state::{Container, Facts, Sandbox, State};
pub use step::step;
