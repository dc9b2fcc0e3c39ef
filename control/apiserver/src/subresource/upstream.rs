//! Calls to pods and Services on behalf of a client: one HTTP/1.1 connection a call, so that it can be upgraded. Whom
//! TLS shows there is not checked: the cluster's CA signs nodes, not what pods serve. The client is told as much by
//! having to ask for the proxy.

use api::{Reason, Status};
use client::Body;
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How a destination is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination {
    pub(super) scheme: Scheme,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

/// Sends a request and returns the answer's head; its body streams, or it can be upgraded.
pub(super) async fn send(
    to: &Destination,
    may_proxy_to: fn(IpAddr) -> bool,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let host = match to.ip {
        IpAddr::V4(ip) => format!("{ip}:{}", to.port),
        IpAddr::V6(ip) => format!("[{ip}]:{}", to.port),
    };
    if !may_proxy_to(to.ip) {
        return Err(Status::bad_request("address not allowed"));
    }
    let failed = |error: &dyn std::fmt::Display| {
        let what = format!("error trying to reach service: dial tcp {host}: {error}");
        Status::failure(503, Reason::ServiceUnavailable, what)
    };
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(&host).map_err(Status::internal)?);
    let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((to.ip, to.port)));
    let stream = connect.await.map_err(|_| failed(&"i/o timeout"))?.map_err(|error| failed(&error))?;
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    match to.scheme {
        Scheme::Http => exchange(stream, request).await.map_err(|error| failed(&error)),
        Scheme::Https => {
            let connector = TlsConnector::from(unchecked()?);
            let tls = tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(ServerName::from(to.ip), stream));
            let tls = tls.await.map_err(|_| failed(&"TLS handshake timeout"))?.map_err(|error| failed(&error))?;
            exchange(tls, request).await.map_err(|error| failed(&error))
        }
    }
}

/// Loopback, link-local and the like are not addresses of pods, but the control plane's own surroundings.
#[must_use]
pub fn is_proxyable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_link_local() || ip.is_broadcast())
        }
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()),
    }
}

async fn exchange<S>(stream: S, request: Request<Body>) -> Result<Response<Body>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    process::spawn("api-proxy-connection", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended");
        }
    });
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}

fn unchecked() -> Result<Arc<rustls::ClientConfig>, Status> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(Status::internal)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone { provider }))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes any certificate; signatures must be its own.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
