//! Rows of the group events.k8s.io.

use super::{ALL, Row};

pub(super) static ROWS: &[Row] = &[Row {
    group: "events.k8s.io",
    version: "v1",
    resource: "events",
    kind: "Event",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    namespaced: true,
    verbs: ALL,
    subresources: &[],
    strategy: &crate::events::event::NewEvent,
    columns: crate::events::event::COLUMNS,
    storage: ("core", "events"),
    conversion: Some(&crate::events::convert::CONVERSION),
}];
