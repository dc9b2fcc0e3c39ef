//! Rows of the group autoscaling.

use super::{ALL, READ_WRITE, Row, subresource};
use crate::autoscaling::{convert, horizontalpodautoscaler as scaler};

pub(super) static ROWS: &[Row] = &[
    Row {
        group: "autoscaling",
        version: "v1",
        resource: "horizontalpodautoscalers",
        kind: "HorizontalPodAutoscaler",
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[subresource("status", "autoscaling", "v1", "HorizontalPodAutoscaler", READ_WRITE)],
        strategy: &scaler::V1,
        columns: scaler::COLUMNS,
        storage: ("autoscaling", "horizontalpodautoscalers"),
        conversion: Some(&convert::CONVERSION),
    },
    Row {
        group: "autoscaling",
        version: "v2",
        resource: "horizontalpodautoscalers",
        kind: "HorizontalPodAutoscaler",
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[subresource("status", "autoscaling", "v2", "HorizontalPodAutoscaler", READ_WRITE)],
        strategy: &scaler::V2,
        columns: scaler::COLUMNS,
        storage: ("autoscaling", "horizontalpodautoscalers"),
        conversion: None,
    },
];
