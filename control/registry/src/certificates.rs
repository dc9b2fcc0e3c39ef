//! The kind of the group `certificates.k8s.io`.

pub mod csr;
