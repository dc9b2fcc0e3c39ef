//! Client certificates: CN is the user, each O a group. The TLS layer has verified the chain.

use super::{CREDENTIAL, User};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Who a client certificate says the peer is, and for how long it may say so: connections outlive certificates.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) user: User,
    not_before: i64,
    not_after: i64,
}

impl Certificate {
    pub(crate) fn holds_at(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now.as_second())
    }
}

/// The attribute of a subject that is the user's uid (of the Kubernetes arc, 1.3.6.1.4.1.57683).
const UID: &str = "1.3.6.1.4.1.57683.2";

/// The user a certificate names; `None` if it has no CN.
pub(crate) fn read(certificate: &CertificateDer<'_>) -> Option<Certificate> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups: Vec<String> =
        subject.iter_organization().filter_map(|organization| organization.as_str().ok().map(str::to_owned)).collect();
    if name.is_empty() {
        return None;
    }
    let mut user = User::new(name, groups);
    let uid = subject.iter_attributes().find(|attribute| attribute.attr_type().to_id_string() == UID);
    user.uid = uid.and_then(|attribute| attribute.as_str().ok()).unwrap_or_default().to_owned();
    let mut fingerprint = String::from("X509SHA256=");
    for byte in Sha256::digest(certificate.as_ref()) {
        let _ = write!(fingerprint, "{byte:02x}");
    }
    user.extra.insert(CREDENTIAL.to_owned(), vec![fingerprint]);
    let validity = parsed.validity();
    Some(Certificate { user, not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
}
