//! Reads a kubeconfig: the current context's server, CA and credentials, embedded or in files beside it.

use crate::Identity;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What is needed to reach a cluster.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// `https://host:port`.
    pub server: String,
    /// The CA that signed the server's certificate.
    pub ca_pem: Vec<u8>,
    /// Who to be.
    pub identity: Identity,
    /// The context's namespace, or `default`.
    pub namespace: String,
}

/// Why a kubeconfig is not usable.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The file, or one it names, cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML, or not of a kubeconfig's shape.
    #[error("{path} is not a kubeconfig: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<serde_saphyr::Error>,
    },
    /// A context, cluster or user is named but not there.
    #[error("the kubeconfig has no {kind} named {name:?}")]
    Missing {
        /// context, cluster or user.
        kind: &'static str,
        /// The name looked for.
        name: String,
    },
    /// Embedded data is no base64.
    #[error("{field} in the kubeconfig is not base64: {source}")]
    Base64 {
        /// The field.
        field: &'static str,
        /// Why.
        source: base64::DecodeError,
    },
}

impl Kubeconfig {
    /// Reads the file and the files it names.
    pub fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let text = read(path)?;
        let file: File = serde_saphyr::from_slice(&text)
            .map_err(|source| KubeconfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let base = path.parent().unwrap_or(Path::new("."));
        let context = find(&file.contexts, "context", &file.current_context)?;
        let context = context.context.as_ref().cloned().unwrap_or_default();
        let cluster = find(&file.clusters, "cluster", &context.cluster)?;
        let cluster = cluster.cluster.as_ref().cloned().unwrap_or_default();
        let user = find(&file.users, "user", &context.user)?.user.as_ref().cloned().unwrap_or_default();
        let ca_pem = embedded(
            base,
            "certificate-authority-data",
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_deref(),
        )?;
        Ok(Self {
            server: cluster.server,
            ca_pem: ca_pem.unwrap_or_default(),
            identity: identity(base, &user)?,
            namespace: context.namespace.unwrap_or_else(|| "default".to_owned()),
        })
    }
}

fn identity(base: &Path, user: &User) -> Result<Identity, KubeconfigError> {
    let cert = embedded(
        base,
        "client-certificate-data",
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
    )?;
    let key = embedded(base, "client-key-data", user.client_key_data.as_deref(), user.client_key.as_deref())?;
    if let (Some(cert_pem), Some(key_pem)) = (cert, key) {
        return Ok(Identity::Certificate { cert_pem, key_pem });
    }
    if let Some(token) = &user.token {
        return Ok(Identity::Token(token.clone()));
    }
    match &user.token_file {
        Some(path) => {
            let token = read(&base.join(path))?;
            Ok(Identity::Token(String::from_utf8_lossy(&token).trim().to_owned()))
        }
        None => Ok(Identity::Anonymous),
    }
}

fn embedded(
    base: &Path,
    field: &'static str,
    text: Option<&str>,
    path: Option<&str>,
) -> Result<Option<Vec<u8>>, KubeconfigError> {
    match (text, path) {
        (Some(text), _) => {
            STANDARD.decode(text.trim()).map(Some).map_err(|source| KubeconfigError::Base64 { field, source })
        }
        (None, Some(path)) => read(&base.join(path)).map(Some),
        (None, None) => Ok(None),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KubeconfigError> {
    std::fs::read(path).map_err(|source| KubeconfigError::Read { path: path.to_owned(), source })
}

fn find<'a>(entries: &'a [Named], kind: &'static str, name: &str) -> Result<&'a Named, KubeconfigError> {
    entries
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| KubeconfigError::Missing { kind, name: name.to_owned() })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    contexts: Vec<Named>,
    #[serde(default)]
    clusters: Vec<Named>,
    #[serde(default)]
    users: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    context: Option<Context>,
    cluster: Option<Cluster>,
    user: Option<User>,
}

#[derive(Deserialize, Clone, Default)]
struct Context {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    user: String,
    namespace: Option<String>,
}

#[derive(Deserialize, Clone, Default)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    #[serde(default)]
    server: String,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize, Clone, Default)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
}

#[cfg(test)]
mod tests;
