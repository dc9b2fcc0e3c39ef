//! Objects of kube-system that every cluster has.

use std::net::IpAddr;

use api::Gvr;
use client::{Client, Patch};
use serde_json::{Value, json};

use crate::Error;
use crate::families::Families;

/// Creates what is missing: the `kube-dns` Service, whose addresses each node answers itself. Where one address is missing because a second
/// family came later, it gets that.
pub async fn create(client: &Client, dns: Families<IpAddr>) -> Result<(), Error> {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "clusterIP": dns.first(),
            "clusterIPs": dns.list(),
            "ipFamilyPolicy": if dns.list().len() == 2 { "PreferDualStack" } else { "SingleStack" },
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
        Ok(found) if lacks_a_family(&found, dns) => {
            let patch = json!({"spec": {"clusterIPs": dns.list(), "ipFamilyPolicy": "PreferDualStack"}});
            let patched = client.patch_value(&services, "kube-system", "kube-dns", None, Patch::Merge(patch)).await;
            return patched.map(drop).map_err(failed);
        }
        Ok(_) => return Ok(()),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(failed(error)),
    }
    client.create_value(&services, "kube-system", &service).await.map(drop).map_err(failed)
}

/// Whether the Service is as it was made when there was one family only.
fn lacks_a_family(service: &Value, dns: Families<IpAddr>) -> bool {
    dns.list().len() == 2 && service["spec"]["clusterIPs"] == json!([dns.first()])
}
