//! Where the API is and who we are: read from a kubeconfig, as any client does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

/// An API server. Cheap to clone.
#[derive(Clone)]
pub struct Target {
    /// `host:port`.
    pub authority: String,
    pub(super) name: ServerName<'static>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) token: Option<String>,
}

impl Target {
    /// From the current context of a kubeconfig; `server` replaces its URL.
    ///
    /// # Errors
    /// When the file, or a file it names, cannot be read or makes no sense.
    pub fn from_kubeconfig(path: &Path, server: Option<&str>) -> anyhow::Result<Target> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Value = serde_saphyr::from_str(&text).context("the kubeconfig is no YAML")?;
        let named = |list: &str, name: &Value| {
            let items = config[list].as_array().into_iter().flatten();
            items.into_iter().find(|item| item["name"] == *name).cloned().unwrap_or_default()
        };
        let context = named("contexts", &config["current-context"])["context"].clone();
        let cluster = named("clusters", &context["cluster"])["cluster"].clone();
        let user = named("users", &context["user"])["user"].clone();
        let folder = path.parent().unwrap_or(Path::new("."));
        let url = server.or(cluster["server"].as_str()).context("the kubeconfig names no server")?;
        let Some(authority) = url.strip_prefix("https://") else { bail!("{url}: give an https:// URL") };
        let authority = authority.trim_end_matches('/').to_owned();
        let host = authority.rsplit_once(':').map_or(&*authority, |(host, _)| host).trim_matches(['[', ']']);
        let mut roots = RootCertStore::empty();
        let ca = part(&cluster, "certificate-authority", folder)?.context("the kubeconfig has no authority")?;
        for certificate in rustls_pemfile::certs(&mut &*ca) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let certificate = part(&user, "client-certificate", folder)?;
        let tls = match (certificate, part(&user, "client-key", folder)?) {
            (Some(certificate), Some(key)) => {
                let chain = rustls_pemfile::certs(&mut &*certificate).collect::<Result<Vec<_>, _>>()?;
                let key: PrivateKeyDer<'static> =
                    rustls_pemfile::private_key(&mut &*key)?.context("the client key is no PEM")?;
                builder.with_client_auth_cert(chain, key)?
            }
            _ => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from(host.to_owned()).context("the server's name is no host")?;
        let token = user["token"].as_str().map(str::to_owned);
        Ok(Target { authority, name, tls: Arc::new(tls), token })
    }
}

/// `KEY-data` in base64, or the file that `KEY` names.
fn part(of: &Value, key: &str, folder: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(text) = of[format!("{key}-data")].as_str() {
        return Ok(Some(STANDARD.decode(text).with_context(|| format!("{key}-data is no base64"))?));
    }
    let Some(file) = of[key].as_str() else { return Ok(None) };
    let path: PathBuf = folder.join(file);
    Ok(Some(std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?))
}
