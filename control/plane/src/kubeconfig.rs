//! The administrator's kubeconfig.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::pki::Pki;

/// A kubeconfig (YAML) for the administrator at `server`, with one context named `name`.
pub fn render(name: &str, server: &str, pki: &Pki) -> String {
    let ca = STANDARD.encode(&pki.ca_pem);
    let certificate = STANDARD.encode(&pki.admin.cert_pem);
    let key = STANDARD.encode(&pki.admin.key_pem);
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: {name}\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
         contexts:\n\
         - name: {name}\n  context:\n    cluster: {name}\n    user: {name}-admin\n\
         current-context: {name}\n\
         users:\n\
         - name: {name}-admin\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n"
    )
}
