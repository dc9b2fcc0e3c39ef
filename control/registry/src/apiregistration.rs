//! The kind of the group `apiregistration.k8s.io`.

pub mod apiservice;
