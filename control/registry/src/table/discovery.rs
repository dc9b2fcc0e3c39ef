//! Rows of the group discovery.k8s.io.

use super::{AGE, ALL, NAME, Row, text};

pub(super) static ROWS: &[Row] = &[Row {
    group: "discovery.k8s.io",
    version: "v1",
    resource: "endpointslices",
    kind: "EndpointSlice",
    singular: "endpointslice",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: ALL,
    subresources: &[],
    strategy: &crate::discovery::endpointslice::EndpointSlice,
    columns: &[
        NAME,
        text("AddressType", "Kind of addresses"),
        text("Ports", "Ports of the endpoints"),
        text("Endpoints", "Addresses"),
        AGE,
    ],
    storage: ("discovery.k8s.io", "endpointslices"),
    conversion: None,
}];
