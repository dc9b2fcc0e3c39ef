//! What a call may fail with.

use crate::{body::BodyError, kubeconfig::KubeconfigError, tls::TlsError};
use api::Status;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a Status: the call reached it and was refused.
    #[error("{0}")]
    Status(Box<Status>),
    /// No connection, or it broke before a response came.
    #[error("cannot reach the API server: {0}")]
    Transport(#[source] BodyError),
    /// The connection broke while the body was being read.
    #[error("the response broke off: {0}")]
    Body(#[source] BodyError),
    /// No response in time.
    #[error("no response within {0:?}")]
    Timeout(std::time::Duration),
    /// The answer is not what the call asked for.
    #[error("cannot read the server's answer: {0}")]
    Decode(#[source] serde_json::Error),
    /// The object to be sent cannot be written as JSON.
    #[error("cannot write the request: {0}")]
    Encode(#[source] serde_json::Error),
    /// The answer is longer than the named limit.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// The path or a header value is not valid HTTP (an object name with a blank, for one).
    #[error("not a valid request: {0}")]
    Request(#[from] http::Error),
    /// The object has no name.
    #[error("the object has no metadata.name")]
    Unnamed,
    /// Certificates or keys are not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The kubeconfig is not usable.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
}

impl Error {
    /// The server's Status, if it answered.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Error::Status(status) => Some(status),
            Error::Transport(_)
            | Error::Body(_)
            | Error::Timeout(_)
            | Error::Decode(_)
            | Error::Encode(_)
            | Error::TooLarge { .. }
            | Error::Request(_)
            | Error::Unnamed
            | Error::Tls(_)
            | Error::Kubeconfig(_) => None,
        }
    }

    /// The HTTP code of the server's Status, or 0.
    pub fn code(&self) -> u16 {
        self.status().map_or(0, |status| status.code)
    }

    /// 404.
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// 409 because somebody else wrote the object first.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409 && status.reason == api::Reason::Conflict)
    }

    /// 409 because an object of that name is there.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409 && status.reason == api::Reason::AlreadyExists)
    }

    /// 410: the revision asked for has been compacted away.
    pub fn is_expired(&self) -> bool {
        self.code() == 410
    }

    /// 403.
    pub fn is_forbidden(&self) -> bool {
        self.code() == 403
    }

    /// 422: the server refuses the object's content.
    pub fn is_invalid(&self) -> bool {
        self.code() == 422
    }

    /// Another try of the same call may succeed (network trouble, overload, a server restart).
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Status(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
            Error::Transport(_) | Error::Body(_) | Error::Timeout(_) => true,
            Error::Decode(_)
            | Error::Encode(_)
            | Error::TooLarge { .. }
            | Error::Request(_)
            | Error::Unnamed
            | Error::Tls(_)
            | Error::Kubeconfig(_) => false,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error::Status(Box::new(status))
    }
}
