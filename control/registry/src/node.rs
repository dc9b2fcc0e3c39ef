//! The kind of the group `node.k8s.io`.

pub mod runtimeclass;
