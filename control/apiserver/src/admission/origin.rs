//! What a request says beside its object, and what its answer will say beside it.

use super::Operation;
use crate::http::query::Query;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};

/// Of one request. The default is one of the server's own.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    field_manager: Option<String>,
    field_validation: Option<String>,
    warnings: Mutex<Vec<String>>,
}

impl Origin {
    pub(crate) fn new(query: &Query) -> Self {
        let text = |name: &str| query.get(name).map(str::to_owned);
        Self {
            field_manager: text("fieldManager"),
            field_validation: text("fieldValidation"),
            warnings: Mutex::default(),
        }
    }

    /// Adds a `Warning` header to the answer.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text.into());
    }

    /// Takes out what was warned of.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// CreateOptions and the like, as webhooks are told.
    pub(super) fn options(&self, operation: Operation, dry_run: bool) -> Value {
        let kind = match operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => return Value::Null,
        };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if dry_run {
            options["dryRun"] = json!(["All"]);
        }
        if operation != Operation::Delete {
            for (field, value) in [("fieldManager", &self.field_manager), ("fieldValidation", &self.field_validation)] {
                if let Some(value) = value {
                    options[field] = json!(value);
                }
            }
        }
        options
    }
}
