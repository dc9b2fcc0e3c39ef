//! Who the client is, and the TLS configuration that says so.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{fmt, sync::Arc};

/// How the client proves who it is.
#[derive(Clone, Default)]
pub enum Identity {
    /// A client certificate (chain) and its key, both PEM.
    Certificate {
        /// The certificate, followed by intermediates if any.
        cert_pem: Vec<u8>,
        /// PKCS#8, SEC1 or PKCS#1.
        key_pem: Vec<u8>,
    },
    /// A bearer token.
    Token(String),
    /// Nobody.
    #[default]
    Anonymous,
}

impl Identity {
    /// A client certificate from PEM bytes.
    pub fn certificate(cert_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        Identity::Certificate { cert_pem: cert_pem.into(), key_pem: key_pem.into() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Identity::Certificate { .. } => "Certificate",
            Identity::Token(_) => "Token",
            Identity::Anonymous => "Anonymous",
        })
    }
}

/// Why certificates or keys are not usable.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate in the PEM text.
    #[error("no certificate found in the {0} PEM")]
    NoCertificate(&'static str),
    /// No private key in the PEM text.
    #[error("no private key found in the client key PEM")]
    NoKey,
    /// The PEM text is damaged.
    #[error("cannot read the {0} PEM: {1}")]
    Pem(&'static str, #[source] std::io::Error),
    /// rustls refuses the certificate or the key.
    #[error("TLS configuration refused: {0}")]
    Rustls(#[from] rustls::Error),
}

/// A client configuration that trusts only this CA and shows the identity's certificate, if it is one.
pub fn client_config(ca_pem: &[u8], identity: &Identity) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem, "CA")? {
        roots.add(certificate)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match identity {
        Identity::Certificate { cert_pem, key_pem } => {
            builder.with_client_auth_cert(certificates(cert_pem, "client certificate")?, private_key(key_pem)?)?
        }
        Identity::Token(_) | Identity::Anonymous => builder.with_no_client_auth(),
    })
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found =
        rustls_pemfile::certs(&mut &*pem).collect::<Result<Vec<_>, _>>().map_err(|error| TlsError::Pem(what, error))?;
    if found.is_empty() { Err(TlsError::NoCertificate(what)) } else { Ok(found) }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    rustls_pemfile::private_key(&mut &*pem).map_err(|error| TlsError::Pem("client key", error))?.ok_or(TlsError::NoKey)
}
