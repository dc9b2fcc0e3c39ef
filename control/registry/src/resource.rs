//! Kinds of the group `resource.k8s.io`: devices, and claims on them.

pub mod claim;
pub mod deviceclass;
pub mod slice;
