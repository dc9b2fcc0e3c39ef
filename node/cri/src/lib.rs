//! The container runtime behind its unix socket: a thin typed client of the Container Runtime Interface, pure
//! conversion of pods into its configurations ([`convert`]), and an in-memory runtime behind the same trait for tests
//! and simulations ([`fake`]). The crate spawns no task of its own; the connection's belong to tonic.

mod error;
mod runtime;
mod runtime_api;

pub mod convert;
pub mod fake;

/// The interface's messages, package `runtime.v1`.
pub use rpc::cri as v1;

pub use error::{ConnectError, Error};
pub use runtime::Runtime;
pub use runtime_api::{ExecOutput, RuntimeApi};
