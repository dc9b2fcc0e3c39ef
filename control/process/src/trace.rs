//! Logs: one line a change on standard error, with fields.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why tracing could not start.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The filter does not parse.
    #[error("log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// It was started before.
    #[error("tracing: {0}")]
    Init(#[from] TryInitError),
}

/// Starts logging to standard error. `filter` is a level (`info`) or directives (`info,apiserver=debug`);
/// the environment's `GANNET_LOG` wins over it.
///
/// # Errors
/// When the filter does not parse, or a subscriber was installed before.
pub fn init_tracing(filter: &str, format: LogFormat) -> Result<(), TraceError> {
    let directives = std::env::var("GANNET_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter = EnvFilter::try_new(directives)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().finish().try_init()?,
    }
    Ok(())
}
