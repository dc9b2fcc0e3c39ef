//! Rows of the group apiregistration.k8s.io.

use super::{ALL, READ_WRITE, Row, subresource};
use crate::apiregistration::apiservice;

pub(super) static ROWS: &[Row] = &[Row {
    group: "apiregistration.k8s.io",
    version: "v1",
    resource: "apiservices",
    kind: "APIService",
    singular: "apiservice",
    short_names: &[],
    categories: &["api-extensions"],
    namespaced: false,
    verbs: ALL,
    subresources: &[subresource("status", "apiregistration.k8s.io", "v1", "APIService", READ_WRITE)],
    strategy: &apiservice::ApiService,
    columns: apiservice::COLUMNS,
    storage: ("apiregistration.k8s.io", "apiservices"),
    conversion: None,
}];
