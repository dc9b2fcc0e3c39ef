//! An API server alone, over a store in memory, to be tried with kubectl:
//! `cargo run -p apiserver --example serve -- DIR` writes `DIR/kubeconfig` and serves on 127.0.0.1:16443.

use apiserver::{Apiserver, Config, User, server_config};
use client::Identity;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::{path::PathBuf, sync::Arc};

const ADDRESS: &str = "127.0.0.1:16443";

fn certificate(ca: &Issuer<'_, KeyPair>, name: &str, organization: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    (params.signed_by(&key, ca).expect("signed").pem(), key.serialize_pem())
}

#[tokio::main]
async fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let ca_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "ca");
    let ca_pem = params.self_signed(&ca_key).expect("self-signed").pem();
    let ca = Issuer::new(params, ca_key);
    let (cert, key) = certificate(&ca, "kube-apiserver", "gannet");
    let (admin_cert, admin_key) = certificate(&ca, "kubernetes-admin", "system:masters");
    for (name, text) in [("ca.pem", &ca_pem), ("admin.pem", &admin_cert), ("admin.key", &admin_key)] {
        std::fs::write(dir.join(name), text).expect("the directory is writable");
    }
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gannet",
        "clusters": [{"name": "gannet", "cluster": {"server": format!("https://{ADDRESS}"), "certificate-authority": "ca.pem"}}],
        "users": [{"name": "admin", "user": {"client-certificate": "admin.pem", "client-key": "admin.key"}}],
        "contexts": [{"name": "gannet", "context": {"cluster": "gannet", "user": "admin"}}],
    });
    std::fs::write(dir.join("kubeconfig"), kubeconfig.to_string()).expect("the directory is writable");
    let server = Apiserver::new(Config {
        store: store::memory(),
        service_cidrs: vec!["10.96.0.0/16".parse().expect("a range")],
        node_port_range: 30000..=32767,
        client_ca_pem: ca_pem.clone().into_bytes(),
        sa_key_pem: KeyPair::generate().expect("a key").serialize_pem().into_bytes(),
        issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
        kubelet_client: Identity::certificate(admin_cert, admin_key),
        kubelet_ca_pem: ca_pem.clone().into_bytes(),
        extra: None,
        advertise: "192.0.2.1:6443".parse().expect("an address"),
        goaway_chance: 0.0,
        event_ttl: apiserver::EVENT_TTL,
        may_proxy_to: apiserver::is_proxyable,
    })
    .await
    .expect("the server starts");
    // What the serviceaccount controller does in a whole cluster.
    let client = server.transport(User::gannet());
    let account = json!({"metadata": {"name": "default"}});
    client.create_value(&api::Gvr::new("", "v1", "serviceaccounts"), "default", &account).await.expect("created");
    let listener = tokio::net::TcpListener::bind(ADDRESS).await.expect("the port is free");
    let tls = server_config(cert.as_bytes(), key.as_bytes(), ca_pem.as_bytes()).expect("good certificates");
    println!("KUBECONFIG={}", dir.join("kubeconfig").display());
    let shutdown = process::shutdown_on_signals().expect("signals");
    Arc::clone(&server).serve(listener, tls, shutdown).await;
}
