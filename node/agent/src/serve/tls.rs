//! Who may connect: holders of a client certificate of the cluster's CA.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::Config;

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read the {0} PEM: {1}")]
    Pem(&'static str, #[source] std::io::Error),
    #[error("the PEM text has no {0}")]
    Missing(&'static str),
    #[error("TLS configuration refused: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("the client CA is not usable: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// HTTP/1.1 only: upgrades do not exist in HTTP/2, and the API server keeps one connection a stream.
pub(super) fn server_config(config: &Config) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.client_ca_pem, "client CA")? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let chain = certificates(&config.serving_cert_pem, "serving certificate")?;
    let key: PrivateKeyDer<'static> = rustls_pemfile::private_key(&mut config.serving_key_pem.as_bytes())
        .map_err(|error| TlsError::Pem("serving key", error))?
        .ok_or(TlsError::Missing("private key"))?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// Whether the verified certificate's subject is of the organization `system:masters`.
pub(super) fn is_master(chain: Option<&[CertificateDer<'_>]>) -> bool {
    let Some(certificate) = chain.and_then(<[_]>::first) else { return false };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    parsed.subject().iter_organization().any(|name| name.as_str() == Ok("system:masters"))
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_pemfile::certs(&mut pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem(what, error))?;
    if found.is_empty() { Err(TlsError::Missing(what)) } else { Ok(found) }
}
