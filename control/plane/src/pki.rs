//! The cluster's keys and certificates: made once, kept under `pki/`, renewed when they near their end.
//!
//! | file | is |
//! |---|---|
//! | `ca.crt`, `ca.key` | the cluster's CA; signs everything below |
//! | `apiserver.crt`, `.key` | serving certificate of the API and of the fabric |
//! | `admin.crt`, `.key` | CN=kubernetes-admin O=system:masters, in the kubeconfig |
//! | `kubelet-client.crt`, `.key` | the API server as it calls nodes |
//! | `sa.key` | ES256 key that signs service account tokens |

mod files;
mod issue;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::{CertificateSigningRequestParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use ring::digest::{SHA256, digest};

pub use files::{read_or_create, write_private};
use issue::Subject;

/// A certificate chain and its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// Leaf first.
    pub cert_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

/// Everything the control plane proves itself with.
pub struct Pki {
    /// The CA's certificate.
    pub ca_pem: String,
    /// Serves the API and the fabric; the chain ends with the CA, so that a joining node can pin it.
    pub serving: Identity,
    /// The administrator.
    pub admin: Identity,
    /// The API server towards nodes.
    pub kubelet_client: Identity,
    /// Signs service account tokens (ES256, PKCS #8).
    pub sa_key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Names and addresses under which the API is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names.
    pub dns: BTreeSet<String>,
    /// Addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// Why there are no usable certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    /// A file holds something else.
    #[error("{path} is damaged: {source}; remove it to have a new one made")]
    Damaged { path: PathBuf, source: rcgen::Error },
    /// Signing failed.
    #[error("cannot issue a certificate for {subject}: {source}")]
    Issue { subject: String, source: rcgen::Error },
    /// What a node sent is no certificate request.
    #[error("not a certificate request: {0}")]
    Request(#[source] rcgen::Error),
    /// A PEM file without a certificate.
    #[error("{0} holds no certificate")]
    NoCertificate(PathBuf),
}

impl Pki {
    /// Reads what `dir` holds and makes what is missing, nears its end, or names other addresses than `names`.
    ///
    /// # Errors
    /// When files cannot be read or written, or are damaged.
    pub fn open(dir: &Path, names: &Names, now: Timestamp) -> Result<Self, Error> {
        files::private_directory(dir)?;
        let (issuer, ca_pem) = issue::open_ca(dir, now)?;
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        let mut serving = issue::open_leaf(
            dir,
            "apiserver",
            &Subject::new("kube-apiserver", None).names(names).usage(ExtendedKeyUsagePurpose::ServerAuth),
            &issuer,
            now,
        )?;
        serving.cert_pem.push_str(&ca_pem);
        let admin = Subject::new("kubernetes-admin", Some("system:masters")).usage(client.clone());
        let kubelet = Subject::new("kube-apiserver-kubelet-client", Some("system:masters")).usage(client);
        Ok(Self {
            admin: issue::open_leaf(dir, "admin", &admin, &issuer, now)?,
            kubelet_client: issue::open_leaf(dir, "kubelet-client", &kubelet, &issuer, now)?,
            sa_key_pem: issue::open_key(&dir.join("sa.key"))?.serialize_pem(),
            ca_pem,
            serving,
            issuer,
        })
    }

    /// Hex SHA-256 of the CA certificate's DER: what a join token starts with.
    pub fn ca_fingerprint(&self) -> String {
        let der = issue::certificate_der(&self.ca_pem).expect("the CA's certificate was parsed when it was opened");
        hex(digest(&SHA256, &der).as_ref())
    }

    /// Signs a node's request for a client certificate; only the key is taken from it, never the subject.
    ///
    /// # Errors
    /// When the request does not parse.
    pub fn sign_node_client(&self, node: &str, request_pem: &str, now: Timestamp) -> Result<String, Error> {
        let subject = Subject::new(&format!("system:node:{node}"), Some("system:nodes"))
            .usage(ExtendedKeyUsagePurpose::ClientAuth);
        self.sign(&subject, request_pem, now)
    }

    /// Signs a node's request for the certificate it serves its own API with.
    ///
    /// # Errors
    /// When the request does not parse.
    pub fn sign_node_serving(
        &self,
        node: &str,
        addresses: &[IpAddr],
        request_pem: &str,
        now: Timestamp,
    ) -> Result<String, Error> {
        let names = Names { dns: BTreeSet::from([node.to_owned()]), addresses: addresses.iter().copied().collect() };
        let subject = Subject::new(&format!("system:node:{node}"), Some("system:nodes"))
            .names(&names)
            .usage(ExtendedKeyUsagePurpose::ServerAuth);
        self.sign(&subject, request_pem, now)
    }

    fn sign(&self, subject: &Subject, request_pem: &str, now: Timestamp) -> Result<String, Error> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).map_err(Error::Request)?;
        request.params = subject.params(now)?;
        let issued = request.signed_by(&self.issuer);
        Ok(issued.map_err(|source| Error::Issue { subject: subject.common_name().to_owned(), source })?.pem())
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
