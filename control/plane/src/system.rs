//! Objects of kube-system that every cluster has.

use std::net::IpAddr;

use api::Gvr;
use client::Client;
use serde_json::json;

use crate::Error;

/// Creates what is missing: the `kube-dns` Service, whose address each node answers itself.
pub async fn create(client: &Client, dns: IpAddr) -> Result<(), Error> {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "clusterIP": dns,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    });
    let services = Gvr { group: String::new(), version: "v1".to_owned(), resource: "services".to_owned() };
    let failed = |source| Error::System { what: "Service kube-system/kube-dns", source };
    // Looked up first: creating it again would be refused for its address, which it holds itself.
    match client.get_value(&services, "kube-system", "kube-dns").await {
        Ok(_) => return Ok(()),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(failed(error)),
    }
    client.create_value(&services, "kube-system", &service).await.map(drop).map_err(failed)
}
