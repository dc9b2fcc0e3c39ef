//! What can go wrong between the node daemon and the runtime.

use tonic::Code;

/// A call of the runtime failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The runtime, or the way to it, answered with an error.
    #[error("{call}: {}", status.message())]
    Call {
        /// The interface's name of the call.
        call: &'static str,
        /// The answer.
        status: tonic::Status,
    },
    /// The runtime did not answer in time; what it did is unknown.
    #[error("{call}: no answer within {limit_seconds} s")]
    Timeout {
        /// The interface's name of the call.
        call: &'static str,
        /// What it was given.
        limit_seconds: u64,
    },
    /// The answer lacks what the interface promises.
    #[error("{call}: the answer has no {field}")]
    Incomplete {
        /// The interface's name of the call.
        call: &'static str,
        /// The absent field.
        field: &'static str,
    },
}

impl Error {
    /// The sandbox, container or image does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(Code::NotFound)
    }

    /// The runtime cannot be reached (for now).
    pub fn is_unavailable(&self) -> bool {
        self.code() == Some(Code::Unavailable)
    }

    /// The runtime does not know this call.
    pub fn is_unimplemented(&self) -> bool {
        self.code() == Some(Code::Unimplemented)
    }

    /// The call did not end within its limit, here or at the runtime.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout { .. }) || self.code() == Some(Code::DeadlineExceeded)
    }

    /// The runtime's own words, for events and statuses.
    pub fn message(&self) -> String {
        match self {
            Error::Call { status, .. } => status.message().to_owned(),
            Error::Timeout { .. } | Error::Incomplete { .. } => self.to_string(),
        }
    }

    fn code(&self) -> Option<Code> {
        match self {
            Error::Call { status, .. } => Some(status.code()),
            Error::Timeout { .. } | Error::Incomplete { .. } => None,
        }
    }
}

/// The socket's path cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("runtime socket {path}: {source}")]
pub struct ConnectError {
    /// The path as given.
    pub path: String,
    /// Why.
    #[source]
    pub source: tonic::transport::Error,
}
