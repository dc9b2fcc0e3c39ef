//! Orderly end: one token, given to every task.

use tokio::signal::unix::{SignalKind, signal};

/// Cancelled once, when the process shall end. Clones share the state; children end with their parent.
pub type Shutdown = tokio_util::sync::CancellationToken;

/// A token that SIGINT or SIGTERM cancels. A second signal ends the process at once with status 130.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn shutdown_on_signals() -> std::io::Result<Shutdown> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = Shutdown::new();
    let token = shutdown.clone();
    crate::spawn("signals", async move {
        for turn in 0..2 {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if turn == 1 {
                std::process::exit(130);
            }
            tracing::info!(signal = name, "shutting down");
            token.cancel();
        }
    });
    Ok(shutdown)
}
