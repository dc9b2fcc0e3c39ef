//! Kinds of the group `flowcontrol.apiserver.k8s.io`.

pub mod flowschema;
pub mod prioritylevel;
