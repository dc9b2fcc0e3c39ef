//! Rows of the group batch.

use super::{ALL, READ_WRITE, Row, subresource};
use crate::batch::{cronjob, job};

pub(super) static ROWS: &[Row] = &[
    Row {
        group: "batch",
        version: "v1",
        resource: "cronjobs",
        kind: "CronJob",
        singular: "cronjob",
        short_names: &["cj"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[subresource("status", "batch", "v1", "CronJob", READ_WRITE)],
        strategy: &cronjob::CronJob,
        columns: cronjob::COLUMNS,
        storage: ("batch", "cronjobs"),
        conversion: None,
    },
    Row {
        group: "batch",
        version: "v1",
        resource: "jobs",
        kind: "Job",
        singular: "job",
        short_names: &[],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[subresource("status", "batch", "v1", "Job", READ_WRITE)],
        strategy: &job::Job,
        columns: job::COLUMNS,
        storage: ("batch", "jobs"),
        conversion: None,
    },
];
