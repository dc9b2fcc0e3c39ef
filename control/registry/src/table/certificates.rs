//! Rows of the group certificates.k8s.io.

use super::{ALL, READ_WRITE, Row, subresource};
use crate::certificates::csr;

pub(super) static ROWS: &[Row] = &[Row {
    group: "certificates.k8s.io",
    version: "v1",
    resource: "certificatesigningrequests",
    kind: "CertificateSigningRequest",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    categories: &[],
    namespaced: false,
    verbs: ALL,
    subresources: &[
        subresource("approval", "certificates.k8s.io", "v1", "CertificateSigningRequest", READ_WRITE),
        subresource("status", "certificates.k8s.io", "v1", "CertificateSigningRequest", READ_WRITE),
    ],
    strategy: &csr::CertificateSigningRequest,
    columns: csr::COLUMNS,
    storage: ("certificates.k8s.io", "certificatesigningrequests"),
    conversion: None,
}];
