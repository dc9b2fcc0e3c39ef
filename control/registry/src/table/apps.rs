//! Rows of the group apps.

use super::{ALL, READ_WRITE, Row, SCALE, subresource};

pub(super) static ROWS: &[Row] = &[
    Row {
        group: "apps",
        version: "v1",
        resource: "deployments",
        kind: "Deployment",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[SCALE, subresource("status", "apps", "v1", "Deployment", READ_WRITE)],
        strategy: &crate::apps::deployment::Deployment,
        columns: crate::apps::deployment::COLUMNS,
        storage: ("apps", "deployments"),
        conversion: None,
    },
    Row {
        group: "apps",
        version: "v1",
        resource: "replicasets",
        kind: "ReplicaSet",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[SCALE, subresource("status", "apps", "v1", "ReplicaSet", READ_WRITE)],
        strategy: &crate::apps::replicaset::ReplicaSet,
        columns: crate::apps::replicaset::COLUMNS,
        storage: ("apps", "replicasets"),
        conversion: None,
    },
];
