//! The server's TLS configuration.

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use std::sync::Arc;

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text is damaged.
    #[error("cannot read the {0} PEM: {1}")]
    Pem(&'static str, #[source] std::io::Error),
    /// Nothing of that kind in the PEM text.
    #[error("the PEM text has no {0}")]
    Missing(&'static str),
    /// rustls refuses it.
    #[error("TLS configuration refused: {0}")]
    Rustls(#[from] rustls::Error),
    /// The CA cannot verify clients.
    #[error("the client CA is not usable: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A configuration with optional client certificates: none means a bearer token or nobody; one that the CA did not
/// sign fails the handshake. Offers HTTP/2 and HTTP/1.1.
pub fn server_config(cert_pem: &[u8], key_pem: &[u8], client_ca_pem: &[u8]) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(client_ca_pem, "client CA")? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(cert_pem, "serving certificate")?, private_key(key_pem)?)?;
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Protocols offered, in order.
pub(crate) const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found =
        rustls_pemfile::certs(&mut &*pem).collect::<Result<Vec<_>, _>>().map_err(|error| TlsError::Pem(what, error))?;
    if found.is_empty() { Err(TlsError::Missing(what)) } else { Ok(found) }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    rustls_pemfile::private_key(&mut &*pem)
        .map_err(|error| TlsError::Pem("serving key", error))?
        .ok_or(TlsError::Missing("private key"))
}
