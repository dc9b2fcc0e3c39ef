//! Rows of the group scheduling.k8s.io.

use super::{ALL, Row};
use crate::scheduling::priorityclass;

pub(super) static ROWS: &[Row] = &[Row {
    group: "scheduling.k8s.io",
    version: "v1",
    resource: "priorityclasses",
    kind: "PriorityClass",
    singular: "priorityclass",
    short_names: &["pc"],
    categories: &[],
    namespaced: false,
    verbs: ALL,
    subresources: &[],
    strategy: &priorityclass::PriorityClass,
    columns: priorityclass::COLUMNS,
    storage: ("scheduling.k8s.io", "priorityclasses"),
    conversion: None,
}];
