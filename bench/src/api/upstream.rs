//! kube-apiserver as a control plane to measure beside ours: TLS, RBAC and etcd with fsync, as ours has them.

use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

/// Writes keys, certificates and the kubeconfig.
pub(super) fn write_files(dir: &Path, port: u16) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "bench");
    let ca_pem = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let issue = |name: &str, organization: &str| -> anyhow::Result<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
    };
    let (serving, serving_key) = issue("kube-apiserver", "bench")?;
    let (admin, admin_key) = issue("admin", "system:masters")?;
    let accounts = KeyPair::generate()?;
    for (name, text) in [
        ("ca.pem", ca_pem),
        ("serving.pem", serving),
        ("serving.key", serving_key),
        ("admin.pem", admin),
        ("admin.key", admin_key),
        ("accounts.key", accounts.serialize_pem()),
        ("accounts.pub", accounts.public_key_pem()),
    ] {
        std::fs::write(dir.join(name), text)?;
    }
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster":
            {"server": format!("https://127.0.0.1:{port}"), "certificate-authority": "ca.pem"}}],
        "users": [{"name": "admin", "user": {"client-certificate": "admin.pem", "client-key": "admin.key"}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "admin"}}],
    });
    std::fs::write(dir.join("kubeconfig"), kubeconfig.to_string())?;
    Ok(())
}

/// The command line.
pub(super) fn command(binary: &Path, dir: &Path, port: u16, etcd_port: u16) -> Command {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut command = Command::new(binary);
    command
        .arg("--authorization-mode=Node,RBAC")
        .arg("--bind-address=127.0.0.1")
        .arg("--service-cluster-ip-range=10.96.0.0/16")
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        // No controller makes the default accounts here.
        .arg("--disable-admission-plugins=ServiceAccount")
        // Every client of the measurement is one user.
        .args(["--max-requests-inflight=4000", "--max-mutating-requests-inflight=4000"])
        .arg(format!("--secure-port={port}"))
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .arg(format!("--cert-dir={}", file("certs")))
        .arg(format!("--client-ca-file={}", file("ca.pem")))
        .arg(format!("--tls-cert-file={}", file("serving.pem")))
        .arg(format!("--tls-private-key-file={}", file("serving.key")))
        .arg(format!("--service-account-key-file={}", file("accounts.pub")))
        .arg(format!("--service-account-signing-key-file={}", file("accounts.key")));
    command
}
