//! `Status`: the answer to a request that has no object to return, above all every error.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{FieldError, Gvk, Gvr};

#[cfg(test)]
mod tests;

/// Whether the request succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Success,
    Failure,
}

/// Why a request failed, for machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
    /// No reason, or one this version does not know.
    #[default]
    #[serde(rename = "", other)]
    Unknown,
}

/// The answer `Status` (kind `Status`, apiVersion `v1`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct Status {
    pub status: Outcome,
    /// HTTP status code.
    pub code: u16,
    pub reason: Reason,
    pub message: String,
    pub details: Option<Box<Details>>,
}

/// What the status is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource, or the kind for `Invalid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

/// One cause of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// The text after `Operation cannot be fulfilled on ...:` when a resourceVersion is stale.
pub const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    metadata: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    status: Option<Outcome>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(default, skip_serializing_if = "Reason::is_unknown")]
    reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<Box<Details>>,
    #[serde(default)]
    code: u16,
}

impl From<Wire> for Status {
    fn from(wire: Wire) -> Self {
        Self {
            status: wire.status.unwrap_or(Outcome::Failure),
            code: wire.code,
            reason: wire.reason,
            message: wire.message,
            details: wire.details,
        }
    }
}

impl From<Status> for Wire {
    fn from(status: Status) -> Self {
        Self {
            kind: "Status".to_owned(),
            api_version: "v1".to_owned(),
            metadata: serde_json::Map::new(),
            status: Some(status.status),
            message: status.message,
            reason: status.reason,
            details: status.details,
            code: status.code,
        }
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Reason {
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("Unknown"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

fn about(gvr: &Gvr, name: &str) -> Details {
    Details { name: name.to_owned(), group: gvr.group.clone(), kind: gvr.resource.clone(), ..Details::default() }
}

impl Status {
    /// A failure without details.
    #[must_use]
    pub fn failure(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self { status: Outcome::Failure, code, reason, message: message.into(), details: None }
    }

    /// Success without an object, as a delete answers it.
    #[must_use]
    pub fn success(gvr: &Gvr, name: &str, uid: &str) -> Self {
        let details = Details { uid: uid.to_owned(), ..about(gvr, name) };
        Self {
            status: Outcome::Success,
            code: 200,
            reason: Reason::Unknown,
            message: String::new(),
            details: Some(Box::new(details)),
        }
    }

    /// Sets the details.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// Adds one cause.
    #[must_use]
    pub fn with_cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let cause = Cause { reason: reason.to_owned(), message: message.to_owned(), field: field.to_owned() };
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// Asks the client to try again after so many seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    #[must_use]
    pub fn not_found(gvr: &Gvr, name: &str) -> Self {
        let message = format!("{} {name:?} not found", gvr.qualified());
        Self::failure(404, Reason::NotFound, message).with_details(about(gvr, name))
    }

    /// The path names no resource at all.
    #[must_use]
    pub fn no_such_resource() -> Self {
        Self::failure(404, Reason::NotFound, "the server could not find the requested resource")
            .with_details(Details::default())
    }

    #[must_use]
    pub fn already_exists(gvr: &Gvr, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", gvr.qualified());
        Self::failure(409, Reason::AlreadyExists, message).with_details(about(gvr, name))
    }

    /// `what` is the text after the colon; see [`MODIFIED`].
    #[must_use]
    pub fn conflict(gvr: &Gvr, name: &str, what: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {what}", gvr.qualified());
        Self::failure(409, Reason::Conflict, message).with_details(about(gvr, name))
    }

    /// The caller's resourceVersion is not the current one.
    #[must_use]
    pub fn modified(gvr: &Gvr, name: &str) -> Self {
        Self::conflict(gvr, name, MODIFIED)
    }

    #[must_use]
    pub fn invalid(gvk: &Gvk, name: &str, errors: Vec<FieldError>) -> Self {
        let mut texts: Vec<String> = Vec::with_capacity(errors.len());
        for error in &errors {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let listed = if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) };
        let message = if texts.is_empty() {
            format!("{} {name:?} is invalid", gvk.qualified())
        } else {
            format!("{} {name:?} is invalid: {listed}", gvk.qualified())
        };
        let causes = errors
            .into_iter()
            .map(|e| Cause { reason: e.kind.reason().to_owned(), message: e.body(), field: e.field })
            .collect();
        Self::failure(422, Reason::Invalid, message).with_details(Details {
            name: name.to_owned(),
            group: gvk.group.clone(),
            kind: gvk.kind.clone(),
            causes,
            ..Details::default()
        })
    }

    /// A well-formed request that cannot be applied (a JSON patch whose test fails).
    #[must_use]
    pub fn unprocessable(what: &str) -> Self {
        Self::failure(422, Reason::Invalid, "the server rejected our request due to an error in our request")
            .with_cause("UnexpectedServerResponse", what, "")
    }

    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, Reason::BadRequest, message)
    }

    /// `what` is the text after `is forbidden:`.
    #[must_use]
    pub fn forbidden(gvr: &Gvr, name: &str, what: &str) -> Self {
        let message = match (gvr.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {what}"),
            (false, true) => format!("{} is forbidden: {what}", gvr.qualified()),
            (false, false) => format!("{} {name:?} is forbidden: {what}", gvr.qualified()),
        };
        Self::failure(403, Reason::Forbidden, message).with_details(about(gvr, name))
    }

    #[must_use]
    pub fn unauthorized() -> Self {
        Self::failure(401, Reason::Unauthorized, "Unauthorized")
    }

    /// The resourceVersion, or the continue token, is older than the history kept (410).
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, Reason::Expired, message)
    }

    #[must_use]
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, Reason::Gone, message)
    }

    /// There is no such route: Kubernetes does not say more.
    #[must_use]
    pub fn method_not_allowed(_gvr: &Gvr, _verb: &str) -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::failure(405, Reason::MethodNotAllowed, message).with_details(Details::default())
    }

    #[must_use]
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", accepted.join(", "));
        Self::failure(406, Reason::NotAcceptable, message)
    }

    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(415, Reason::UnsupportedMediaType, message)
    }

    #[must_use]
    pub fn too_large(what: &str) -> Self {
        Self::failure(413, Reason::RequestEntityTooLarge, format!("Request entity too large: {what}"))
    }

    #[must_use]
    pub fn internal(what: impl fmt::Display) -> Self {
        let text = what.to_string();
        Self::failure(500, Reason::InternalError, format!("Internal error occurred: {text}")).with_cause("", &text, "")
    }

    #[must_use]
    pub fn timeout(what: &str) -> Self {
        Self::failure(504, Reason::Timeout, format!("Timeout: {what}")).with_details(Details::default())
    }

    /// The server could not finish in time; the client should try again.
    #[must_use]
    pub fn server_timeout(gvr: &Gvr, verb: &str) -> Self {
        let message = format!(
            "The {verb} operation against {} could not be completed at this time, please try again.",
            gvr.qualified()
        );
        Self::failure(500, Reason::ServerTimeout, message).with_details(about(gvr, ""))
    }

    /// A list or watch asked for a revision that is not written yet.
    #[must_use]
    pub fn too_large_resource_version(asked: u64, current: u64) -> Self {
        Self::timeout(&format!("Too large resource version: {asked}, current: {current}"))
            .with_cause("ResourceVersionTooLarge", "Too large resource version", "")
            .with_retry_after(1)
    }

    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::failure(429, Reason::TooManyRequests, message).with_retry_after(retry_after_seconds)
    }

    #[must_use]
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, Reason::ServiceUnavailable, message)
    }

    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.reason == Reason::NotFound || (self.reason.is_unknown() && self.code == 404)
    }

    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.reason == Reason::Conflict
    }

    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason == Reason::AlreadyExists
    }
}
