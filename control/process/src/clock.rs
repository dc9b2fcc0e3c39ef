//! The clock: wall time for what is written down, monotonic time for what is measured.

use crate::simulation;

/// The wall-clock time. In a simulation: the simulated time of this thread.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
pub fn now() -> jiff::Timestamp {
    simulation::now().unwrap_or_else(jiff::Timestamp::now)
}

/// The monotonic time. It is tokio's, so a paused runtime stops it.
pub fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
