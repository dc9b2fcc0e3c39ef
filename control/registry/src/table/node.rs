//! Rows of the group node.k8s.io.

use super::{ALL, Row};
use crate::node::runtimeclass;

pub(super) static ROWS: &[Row] = &[Row {
    group: "node.k8s.io",
    version: "v1",
    resource: "runtimeclasses",
    kind: "RuntimeClass",
    singular: "runtimeclass",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: ALL,
    subresources: &[],
    strategy: &runtimeclass::RuntimeClass,
    columns: runtimeclass::COLUMNS,
    storage: ("node.k8s.io", "runtimeclasses"),
    conversion: None,
}];
