//! Client certificates: CN is the user, each O a group. The TLS layer has verified the chain.

use super::User;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The user a certificate names; `None` if it has no CN.
pub(crate) fn user(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups: Vec<String> =
        subject.iter_organization().filter_map(|organization| organization.as_str().ok().map(str::to_owned)).collect();
    (!name.is_empty()).then(|| User::new(name, groups))
}
