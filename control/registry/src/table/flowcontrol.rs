//! Rows of the group flowcontrol.apiserver.k8s.io.

use super::{ALL, READ_WRITE, Row, subresource};
use crate::flowcontrol::{flowschema, prioritylevel};

pub(super) static ROWS: &[Row] = &[
    Row {
        group: "flowcontrol.apiserver.k8s.io",
        version: "v1",
        resource: "flowschemas",
        kind: "FlowSchema",
        singular: "flowschema",
        short_names: &[],
        categories: &[],
        namespaced: false,
        verbs: ALL,
        subresources: &[subresource("status", "flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", READ_WRITE)],
        strategy: &flowschema::FlowSchema,
        columns: flowschema::COLUMNS,
        storage: ("flowcontrol.apiserver.k8s.io", "flowschemas"),
        conversion: None,
    },
    Row {
        group: "flowcontrol.apiserver.k8s.io",
        version: "v1",
        resource: "prioritylevelconfigurations",
        kind: "PriorityLevelConfiguration",
        singular: "prioritylevelconfiguration",
        short_names: &[],
        categories: &[],
        namespaced: false,
        verbs: ALL,
        subresources: &[subresource(
            "status",
            "flowcontrol.apiserver.k8s.io",
            "v1",
            "PriorityLevelConfiguration",
            READ_WRITE,
        )],
        strategy: &prioritylevel::PriorityLevelConfiguration,
        columns: prioritylevel::COLUMNS,
        storage: ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
        conversion: None,
    },
];
