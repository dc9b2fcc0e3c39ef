//! A machine becomes a node: it shows the join token once, and keeps certificates and facts below `pki/node/`.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::Identity;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Uri};
use plane::families::Families;
use plane::join::{ClusterFacts, JoinReply, JoinRequest, PATH};
use plane::pki::{hex, write_private};
use rcgen::{CertificateParams, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::settings::Place;

/// Shortest and longest pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(15);

/// Where the token comes from.
pub enum Token {
    Given(String),
    /// May be written later than this process starts.
    File(PathBuf),
    None,
}

/// What a node is given.
pub struct Joined {
    pub identity: Identity,
    pub facts: ClusterFacts,
}

/// The token as the command line tells.
pub fn token(given: Option<&str>, file: Option<&Path>) -> Token {
    match (given, file) {
        (Some(token), _) => Token::Given(token.to_owned()),
        (None, Some(path)) => Token::File(path.to_path_buf()),
        (None, None) => Token::None,
    }
}

/// What the kept facts were given for; another place joins anew.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    node: String,
    address: Families<IpAddr>,
    facts: ClusterFacts,
}

/// The node's identity: that of an earlier join if it fits, else joins, again and again until the server answers.
pub async fn identity(data_dir: &Path, place: &Place, url: &str, token: &Token) -> anyhow::Result<Joined> {
    let directory = data_dir.join("pki/node");
    if let Some(joined) = kept(&directory, place, url) {
        return Ok(joined);
    }
    let mut pause = FIRST_PAUSE;
    let mut told = String::new();
    loop {
        let attempt = tokio::time::timeout(ATTEMPT, join(&directory, place, url, token)).await;
        let error = match attempt {
            Ok(Ok(joined)) => return Ok(joined),
            Ok(Err(Refusal::Final(error))) => return Err(error.context(format!("cannot join {url}"))),
            Ok(Err(Refusal::Later(error))) => format!("{error:#}"),
            Err(_) => format!("no answer in {} s", ATTEMPT.as_secs()),
        };
        if error != told {
            tracing::info!(url, %error, "waiting to join");
            told = error;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn kept(directory: &Path, place: &Place, url: &str) -> Option<Joined> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let kept: Kept = serde_json::from_str(&read("facts.json")?).ok()?;
    let fits = kept.url == url && kept.node == place.node_name && kept.address == place.node_ips;
    let identity = Identity {
        ca_pem: read("ca.crt")?,
        client_cert_pem: read("client.crt")?,
        client_key_pem: read("client.key")?,
        serving_cert_pem: read("serving.crt")?,
        serving_key_pem: read("serving.key")?,
    };
    fits.then_some(Joined { identity, facts: kept.facts })
}

/// Why a join failed: for good, or only now.
enum Refusal {
    Final(anyhow::Error),
    Later(anyhow::Error),
}

async fn join(directory: &Path, place: &Place, url: &str, token: &Token) -> Result<Joined, Refusal> {
    let token = match token {
        Token::Given(token) => token.clone(),
        Token::File(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read the token in {}", path.display()))
            .map_err(Refusal::Later)?,
        Token::None => return Err(Refusal::Final(anyhow::anyhow!("give --token or --token-file"))),
    };
    let (fingerprint, secret) = token
        .trim()
        .split_once('.')
        .context("a token is FINGERPRINT.SECRET; `gannet token` on the server prints it")
        .map_err(Refusal::Final)?;
    let ca_pem = pinned_ca(url, fingerprint).await?;
    let (client_key, client_request) = request().map_err(Refusal::Final)?;
    let (serving_key, serving_request) = request().map_err(Refusal::Final)?;
    let asked = JoinRequest {
        secret: secret.to_owned(),
        node: place.node_name.clone(),
        addresses: place.node_ips.list(),
        client_request,
        serving_request,
    };
    let reply = post(url, &ca_pem, &asked).await?;
    let identity = Identity {
        ca_pem,
        client_cert_pem: reply.client_certificate,
        client_key_pem: client_key,
        serving_cert_pem: reply.serving_certificate,
        serving_key_pem: serving_key,
    };
    keep(directory, place, url, &identity, &reply.facts).map_err(Refusal::Final)?;
    Ok(Joined { identity, facts: reply.facts })
}

fn request() -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::default().serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), request))
}

/// `facts.json` last: it is what makes the others valid.
fn keep(directory: &Path, place: &Place, url: &str, identity: &Identity, facts: &ClusterFacts) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    write_private(&directory.join("ca.crt"), &identity.ca_pem)?;
    write_private(&directory.join("client.crt"), &identity.client_cert_pem)?;
    write_private(&directory.join("client.key"), &identity.client_key_pem)?;
    write_private(&directory.join("serving.crt"), &identity.serving_cert_pem)?;
    write_private(&directory.join("serving.key"), &identity.serving_key_pem)?;
    let kept =
        Kept { url: url.to_owned(), node: place.node_name.clone(), address: place.node_ips, facts: facts.clone() };
    write_private(&directory.join("facts.json"), &serde_json::to_string_pretty(&kept)?)?;
    Ok(())
}

async fn post(url: &str, ca_pem: &str, asked: &JoinRequest) -> Result<JoinReply, Refusal> {
    let later = |error: client::Error| Refusal::Later(error.into());
    let client = client::Client::https(url, ca_pem.as_bytes(), &client::Identity::Anonymous).map_err(later)?;
    let body = serde_json::to_vec(asked).map_err(|error| Refusal::Final(error.into()))?;
    let request = Request::post(PATH).header(http::header::CONTENT_TYPE, "application/json").body(Bytes::from(body));
    let response = client.raw(request.map_err(|error| Refusal::Final(error.into()))?).await.map_err(later)?;
    let status = response.status();
    let body = client::collect(response.into_body()).await.map_err(|error| Refusal::Later(error.into()))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| Refusal::Final(error.into()));
    }
    let error = anyhow::anyhow!("{status}: {}", String::from_utf8_lossy(&body).trim());
    Err(if status.is_client_error() { Refusal::Final(error) } else { Refusal::Later(error) })
}

/// Connects, and returns the CA that the server's chain ends in if its fingerprint is the token's. Nothing is sent.
async fn pinned_ca(url: &str, fingerprint: &str) -> Result<String, Refusal> {
    let fault = |error: anyhow::Error| Refusal::Final(error);
    let uri: Uri = url.parse().with_context(|| format!("{url} is no URL")).map_err(fault)?;
    let host = uri.host().with_context(|| format!("{url} names no host")).map_err(fault)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(6443);
    let verifier = Arc::new(Pinned { fingerprint: fingerprint.to_owned(), found: Mutex::new(None) });
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Refusal::Final(error.into()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(host.clone()).map_err(|error| Refusal::Final(error.into()))?;
    let tcp = TcpStream::connect((host.as_str(), port))
        .await
        .with_context(|| format!("cannot reach {host}:{port}"))
        .map_err(Refusal::Later)?;
    let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    let found = verifier.found.lock().expect("no thread panics while it holds the lock").take();
    match (connected, found) {
        (Ok(_), Some(ca)) => Ok(ca),
        (Err(error), _) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(Refusal::Final(anyhow::Error::new(error).context("the server is not the one that the token is for")))
        }
        (Err(error), _) => Err(Refusal::Later(error.into())),
        (Ok(_), None) => Err(Refusal::Later(anyhow::anyhow!("the server showed no CA certificate"))),
    }
}

/// Trusts a chain that contains the one CA with this fingerprint, and is valid under it.
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    found: Mutex<Option<String>>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_pinned = |ca: &&CertificateDer<'_>| hex(digest(&SHA256, ca).as_ref()) == self.fingerprint;
        let unknown = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let ca = intermediates.iter().find(is_pinned).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let webpki = webpki.map_err(|error| rustls::Error::General(error.to_string()))?;
        let verified = webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        *self.found.lock().expect("no thread panics while it holds the lock") = Some(pem(ca));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// Checks a URL that a person typed.
pub fn check_url(url: &str) -> anyhow::Result<()> {
    let uri: Uri = url.parse().with_context(|| format!("--join {url}: not a URL"))?;
    if uri.scheme_str() != Some("https") || uri.host().is_none() {
        bail!("--join {url}: give https://HOST:6443");
    }
    Ok(())
}
