//! The process as a whole: the only place that reads the clock, draws entropy and spawns tasks; also shutdown,
//! tracing and metrics. Every other crate gets time and randomness from here, so that a simulation can replace both
//! for its thread (see [`simulation`]).
//!
//! Tasks spawned here: `signals` (by [`shutdown_on_signals`]), which waits for SIGINT or SIGTERM and cancels the token.

mod clock;
mod entropy;
pub mod metrics;
mod shutdown;
pub mod simulation;
mod task;
mod trace;

pub use clock::{instant, now};
pub use entropy::{random_bytes, random_suffix, seed, uuid};
pub use shutdown::{Shutdown, shutdown_on_signals};
pub use task::{JoinHandle, spawn, spawn_blocking, spawn_thread};
pub use trace::{LogFormat, TraceError, init_tracing};

#[cfg(test)]
mod tests;
