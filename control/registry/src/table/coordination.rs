//! Rows of the group coordination.k8s.io.

use super::{AGE, ALL, NAME, Row, text};
use crate::coordination::lease;

pub(super) static ROWS: &[Row] = &[Row {
    group: "coordination.k8s.io",
    version: "v1",
    resource: "leases",
    kind: "Lease",
    singular: "lease",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: ALL,
    subresources: &[],
    strategy: &lease::Lease,
    columns: &[NAME, text("Holder", "Who holds the lease"), AGE],
    storage: ("coordination.k8s.io", "leases"),
    conversion: None,
}];
