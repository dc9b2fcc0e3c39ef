//! Rows of the group apiextensions.k8s.io.

use super::{ALL, READ_WRITE, Row, subresource};

const GROUP: &str = "apiextensions.k8s.io";

pub(super) static ROWS: &[Row] = &[Row {
    group: GROUP,
    version: "v1",
    resource: "customresourcedefinitions",
    kind: "CustomResourceDefinition",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    namespaced: false,
    verbs: ALL,
    subresources: &[subresource("status", GROUP, "v1", "CustomResourceDefinition", READ_WRITE)],
    strategy: &crate::apiextensions::definition::CustomResourceDefinition,
    columns: crate::apiextensions::definition::COLUMNS,
    storage: (GROUP, "customresourcedefinitions"),
    conversion: None,
}];
