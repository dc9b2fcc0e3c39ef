//! The only place that spawns tasks.

use std::future::Future;

use tracing::Instrument as _;

pub use tokio::task::JoinHandle;

/// Runs `future` as a task of the current runtime; `name` is in the span of everything it logs.
///
/// # Panics
/// Outside a tokio runtime.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.instrument(tracing::error_span!("task", name)))
}

/// Runs `work` on the runtime's pool of blocking threads.
///
/// # Panics
/// Outside a tokio runtime.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
pub fn spawn_blocking<F, T>(name: &'static str, work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(move || tracing::error_span!("task", name).in_scope(work))
}

/// Runs `work` on a thread of its own, outside any runtime.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn_thread<F, T>(name: &'static str, work: F) -> std::io::Result<std::thread::JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).spawn(move || tracing::error_span!("thread", name).in_scope(work))
}
