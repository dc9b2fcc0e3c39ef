//! ControllerRevisions: what a workload looked like at a revision.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, or_none, text as column};
use crate::validate::number;
use crate::validate::template::immutable;
use crate::value::{has, number as int, set};

/// Strategy of ControllerRevisions.
pub struct ControllerRevision;

pub const COLUMNS: &[Column] =
    &[NAME, column("Controller", "Whose revision it is"), count("Revision", "Number of the revision"), AGE];

impl Strategy for ControllerRevision {
    /// The number is required: an absent one is the zero that Kubernetes' clients send and show.
    fn default(&self, revision: &mut Value) {
        if !has(revision, "revision") {
            set(revision, "revision", 0);
        }
    }

    fn validate(&self, revision: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let Some(n) = int(revision, "revision").filter(|n| *n < 0) {
            errors.push(FieldError::invalid("revision", n, number::NOT_NEGATIVE));
        }
        if !has(revision, "data") {
            errors.push(FieldError::required("data", "data is mandatory"));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        immutable(&new["data"], &old["data"], "data")
    }

    fn row(&self, revision: &Value, now: Timestamp) -> Vec<Value> {
        let owner = meta::controller(revision).map(|owner| {
            let (group, _) = api::names::split_api_version(&owner.api_version);
            format!("{}/{}", api::names::qualified(&owner.kind.to_lowercase(), group), owner.name)
        });
        vec![
            meta::name(revision).into(),
            or_none(owner.unwrap_or_default()).into(),
            int(revision, "revision").unwrap_or(0).into(),
            age(revision, now),
        ]
    }
}
