//! The kind of the group `scheduling.k8s.io`.

pub mod priorityclass;
