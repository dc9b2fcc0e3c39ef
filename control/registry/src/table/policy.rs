//! Rows of the group policy.

use super::{ALL, READ_WRITE, Row, subresource};
use crate::policy::poddisruptionbudget as budget;

pub(super) static ROWS: &[Row] = &[Row {
    group: "policy",
    version: "v1",
    resource: "poddisruptionbudgets",
    kind: "PodDisruptionBudget",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    categories: &[],
    namespaced: true,
    verbs: ALL,
    subresources: &[subresource("status", "policy", "v1", "PodDisruptionBudget", READ_WRITE)],
    strategy: &budget::PodDisruptionBudget,
    columns: budget::COLUMNS,
    storage: ("policy", "poddisruptionbudgets"),
    conversion: None,
}];
