//! Options of the verbs.

use serde_json::{Value, json};

/// Which objects a list or a watch wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListParams {
    /// As in `kubectl get -l`; empty selects all.
    pub label_selector: String,
    /// As in `kubectl get --field-selector`; empty selects all.
    pub field_selector: String,
    /// Objects a page; 0 leaves it to the client ([`ListParams::PAGE`]).
    pub limit: u32,
}

impl ListParams {
    /// Objects a page when `limit` is 0.
    pub const PAGE: u32 = 500;

    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those whose labels match.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { label_selector: selector.into(), ..Self::default() }
    }

    /// Those whose fields match, e.g. `spec.nodeName=n1`.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: selector.into(), ..Self::default() }
    }
}

/// What becomes of the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They go later; the object goes at once.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        }
    }
}

/// What must hold for a delete to happen (else 409).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precondition {
    /// The object's uid.
    pub uid: Option<String>,
    /// The object's resourceVersion.
    pub resource_version: Option<String>,
}

/// Options of a delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteParams {
    /// Seconds; `None` takes the kind's default, 0 removes at once.
    pub grace: Option<i64>,
    /// Only if the object has this uid.
    pub uid: Option<String>,
    /// Only if the object has this resourceVersion.
    pub resource_version: Option<String>,
    /// `None` is the server's default (Background).
    pub propagation: Option<Propagation>,
}

impl DeleteParams {
    /// Removes at once (what a node does when a pod's containers are gone).
    pub fn now() -> Self {
        Self { grace: Some(0), ..Self::default() }
    }

    /// Only the object with this uid.
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// With this propagation policy.
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = Some(propagation);
        self
    }

    /// The request body.
    pub fn to_value(&self) -> Value {
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let Some(grace) = self.grace {
            options["gracePeriodSeconds"] = json!(grace);
        }
        if let Some(propagation) = self.propagation {
            options["propagationPolicy"] = json!(propagation.as_str());
        }
        if self.uid.is_some() || self.resource_version.is_some() {
            let mut preconditions = json!({});
            if let Some(uid) = &self.uid {
                preconditions["uid"] = json!(uid);
            }
            if let Some(version) = &self.resource_version {
                preconditions["resourceVersion"] = json!(version);
            }
            options["preconditions"] = preconditions;
        }
        options
    }
}

/// A patch with its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// RFC 6902: an array of operations.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' strategic merge: lists merge by key.
    Strategic(Value),
}

impl Patch {
    /// The request's content type.
    pub fn content_type(&self) -> &'static str {
        match self {
            Patch::Json(_) => "application/json-patch+json",
            Patch::Merge(_) => "application/merge-patch+json",
            Patch::Strategic(_) => "application/strategic-merge-patch+json",
        }
    }

    /// The request's body.
    pub fn value(&self) -> &Value {
        match self {
            Patch::Json(value) | Patch::Merge(value) | Patch::Strategic(value) => value,
        }
    }
}
